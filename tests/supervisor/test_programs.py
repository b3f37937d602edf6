"""Projects: drafts, versions, checks of sources from anywhere, archives that are not what they seem."""

from __future__ import annotations

import io
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scan.problem import TickworkError
from supervisor.archive import FILE_BYTES_MAX, check_path, read_zip
from supervisor.model import Role, SourceFile

PLANT = SourceFile("plant.toml", '[node]\nname = "water"\n')
MAIN = SourceFile(
    "main.st",
    """PROGRAM Main
VAR
    Level : REAL;
END_VAR
Level := Level + 1.0;
END_PROGRAM
CONFIGURATION Plant
    RESOURCE Cpu ON Cpu
        TASK Fast(INTERVAL := T#10ms, PRIORITY := 1);
        PROGRAM Instance WITH Fast : Main;
    END_RESOURCE
END_CONFIGURATION
""",
)
BROKEN = SourceFile("main.st", MAIN.text.replace("Level + 1.0", "Levle + 1.0"))


def packed(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as pack:
        for name, data in files.items():
            pack.writestr(name, data)
    return buffer.getvalue()


@pytest.fixture
async def project(supervisor, admin):
    return (await supervisor.services.programs.create(admin, "water", (PLANT, MAIN))).project


async def test_check_when_program_is_right_then_ok(supervisor, admin, project):
    report = await supervisor.services.programs.check(admin, project.id)
    assert report.ok, report.problems
    assert report.draft_digest == project.draft_digest


async def test_check_when_edited_text_is_wrong_then_problem_at_its_line_and_draft_unchanged(
    supervisor, admin, project
):
    report = await supervisor.services.programs.check(admin, project.id, (BROKEN,))
    assert not report.ok
    assert (report.problems[0].place.file, report.problems[0].place.line) == ("main.st", 5)
    assert (await supervisor.services.programs.check(admin, project.id)).ok


async def test_publish_when_program_is_right_then_version_with_artifact(
    supervisor, admin, project, make_node
):
    version = await supervisor.services.programs.publish(admin, project.id, "first")
    assert (version.number, version.message) == (1, "first")
    assert (await supervisor.services.programs.project(admin, project.id)).project.dirty is False
    node = await make_node()
    made = await supervisor.services.deployments.create(admin, targets=("water-1",), project_id=project.id)
    assert (made.application, made.version, made.artifact) == ("water", 1, version.artifact)
    (plan,) = await supervisor.services.deployments.plan(
        admin, targets=(node.node_id,), project_id=project.id
    )
    assert {("tag", "removed", "Main.Pump"), ("device", "removed", "plant")} <= {
        (c.kind, c.change, c.name) for c in plan.changes
    }


async def test_publish_when_program_is_wrong_then_problems_and_no_version(supervisor, admin, project):
    await supervisor.services.programs.save(admin, project.id, "main.st", BROKEN.text)
    with pytest.raises(TickworkError) as error:
        await supervisor.services.programs.publish(admin, project.id, "no")
    assert error.value.problems[0].place.file == "main.st"
    assert (await supervisor.services.programs.project(admin, project.id)).versions == ()


async def test_save_when_draft_changed_meanwhile_then_refused(supervisor, admin, project):
    seen = project.draft_digest
    await supervisor.services.programs.save(admin, project.id, "main.st", "// one", draft_digest=seen)
    with pytest.raises(TickworkError) as error:
        await supervisor.services.programs.save(admin, project.id, "main.st", "// two", draft_digest=seen)
    assert error.value.code == "SV1006"


async def test_diff_when_line_changed_then_both_sides_with_numbers(supervisor, admin, project):
    await supervisor.services.programs.publish(admin, project.id, "first")
    await supervisor.services.programs.save(admin, project.id, "main.st", MAIN.text.replace("1.0", "2.0"))
    (changed,) = await supervisor.services.programs.diff(admin, project.id, 1, 0)
    marks = [(mark, old, new) for mark, old, new, _ in changed.lines if mark in "+-"]
    assert (changed.path, changed.change, marks) == ("main.st", "changed", [("-", 5, 0), ("+", 0, 5)])


async def test_upload_when_archive_has_a_top_folder_then_it_is_left_out(supervisor, admin):
    archive = packed(
        {"plant/plant.toml": PLANT.text.encode(), "plant/main.st": b"// x", "plant/.git/x.txt": b"no"}
    )
    detail = await supervisor.services.programs.upload(admin, "w", archive)
    assert [file.path for file in detail.files] == ["main.st", "plant.toml"]
    again = await supervisor.services.programs.upload(admin, "w", packed({"plant.toml": b"", "b.st": b""}))
    assert again.project.id == detail.project.id
    assert [file.path for file in again.files] == ["b.st", "plant.toml"]


OUTSIDE = ["../x.st", "/x.st", "a/../../x.st", "a\\..\\x.st", "a/./b.st", "a//b.st", "x.st/"]
ODD = ["", ".hidden.st", "x.py", "x.exe", "con\0.st", "é" * 300 + ".st"]


@pytest.mark.parametrize("path", OUTSIDE + ODD)
def test_path_when_not_plain_then_refused(path):
    with pytest.raises(TickworkError) as error:
        check_path(path)
    assert error.value.code == "SV4008"


@pytest.mark.parametrize(
    "archive",
    [
        b"",
        b"no archive",
        packed({"../evil.st": b"x"}),
        packed({"/etc/evil.st": b"x"}),
        packed({"bomb.st": b"\0" * (FILE_BYTES_MAX + 1)}),
        packed({f"f{n}.st": b" " * (FILE_BYTES_MAX - 1) for n in range(20)}),
        packed({f"f{n}.st": b"" for n in range(600)}),
        packed({"a.st": b"\xff\xfe"}),
        packed({"a.st": b"x", "A.st": b"y"}),
        packed({"a.st": b"x", "a.st/b.st": b"y"}),
    ],
    ids=[
        "empty",
        "noise",
        "traversal",
        "absolute",
        "bomb",
        "many bombs",
        "many files",
        "no text",
        "same",
        "both",
    ],
)
def test_read_zip_when_hostile_then_refused_with_one_code(archive):
    with pytest.raises(TickworkError) as error:
        read_zip(archive)
    assert error.value.code in ("SV4001", "SV4008")


@given(data=st.binary(max_size=400), cut=st.integers(0, 300), flip=st.integers(0, 300))
@settings(max_examples=200, deadline=None)
def test_read_zip_when_bytes_are_damaged_then_files_or_one_of_our_errors(data, cut, flip):
    good = bytearray(packed({"plant.toml": b"[node]", "main.st": b"PROGRAM"}))
    flipped = bytearray(good)
    flipped[flip % len(good)] ^= 0x5A
    for archive in (data, bytes(good[:cut]), bytes(flipped)):
        try:
            assert isinstance(read_zip(archive), tuple)
        except TickworkError as error:
            assert error.code in ("SV4001", "SV4008")


async def test_program_when_used_over_the_api_then_from_file_to_deployment(supervisor, make_node):
    node = await make_node()
    http = await supervisor.http(Role.ENGINEER)
    files = [{"path": f.path, "text": f.text} for f in (PLANT, MAIN)]
    made = (await http.post("/api/v1/projects", json={"name": "water", "files": files})).json()
    number = made["project"]["id"]
    bad = await http.put(f"/api/v1/projects/{number}/files", params={"path": "../x.st"}, json={"text": ""})
    assert (bad.status_code, bad.json()["code"]) == (422, "SV4008")
    report = (await http.post(f"/api/v1/projects/{number}/check", json={})).json()
    assert report["ok"], report
    version = await http.post(f"/api/v1/projects/{number}/versions", json={"message": "go"})
    assert version.status_code == 201
    made = await http.post("/api/v1/deployments", params={"targets": node.name, "project_id": number})
    assert made.json()["targets"][0]["state"] == "sent"
