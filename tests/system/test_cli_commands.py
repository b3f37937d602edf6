"""The command line as people and scripts use it: exit codes, JSON, sentences instead of tracebacks."""

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import pytest

from runtime.cli import app
from tests.runtime.fake_supervisor import EnrolServer, FakeSupervisor, enrolled
from tests.runtime.node_process import ROOT, write_plant

pytestmark = pytest.mark.system


class Run:
    """``tickwork …`` with a home of its own."""

    def __init__(self, home: pathlib.Path) -> None:
        self.home = home

    def __call__(self, *arguments: str, code: int = 0, stdin: str = "", **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "runtime.cli", *arguments], capture_output=True, text=True, input=stdin, cwd=ROOT,
            timeout=150, check=False,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), "COLUMNS": "200"} | environment,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        return done.stdout + done.stderr

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self(*arguments, "--json", code=code))


@pytest.fixture
def tickwork(tmp_path: pathlib.Path) -> Run:
    return Run(tmp_path / "home")


def test_help_when_asked_then_all_commands_explain_themselves(tickwork: Run) -> None:
    text = tickwork("--help")
    names = ("check", "build", "run", "status", "watch", "deploy", "supervise", "demo", "doctor", "explain")
    assert all(f" {name} " in text for name in names)
    assert "Exit codes" in text
    for command in app.registered_commands + [
        one for group in app.registered_groups for one in _commands(group)
    ]:
        assert command.callback is not None
        assert command.callback.__doc__, command.callback


def _commands(group: Any) -> list[Any]:
    return list(group.typer_instance.registered_commands)


def test_check_when_the_plant_is_good_then_it_says_what_it_is(tickwork: Run) -> None:
    assert "water: no errors" in tickwork("check", "examples/water")
    assert tickwork.json("check", "examples/water")["ok"] is True


def test_check_when_the_program_is_wrong_then_places_and_exit_code_tell(
    tickwork: Run, tmp_path: pathlib.Path
) -> None:
    folder = write_plant(tmp_path / "p", program="PROGRAM Main\nVAR x : INT; END_VAR\nx := y;\nEND_PROGRAM\n")
    text = tickwork("check", str(folder), code=1)
    assert "main.st:3:6" in text
    assert "    x := y;\n         ^" in text
    found = tickwork.json("check", str(folder), code=1)
    assert found["ok"] is False
    assert found["problems"][0]["place"]["line"] == 3
    tickwork("build", str(folder), code=1)


def test_check_when_an_output_has_no_device_then_it_warns(tickwork: Run, tmp_path: pathlib.Path) -> None:
    plant = (ROOT / "examples" / "water" / "plant.toml").read_text()
    program = (
        "PROGRAM Main\nVAR lamp AT %QX50.0 : BOOL; level AT %IW0 : INT; END_VAR\nlamp := level > 5;\nEND_PROGRAM\n"
        "CONFIGURATION C RESOURCE R ON Any TASK T(INTERVAL := T#10ms, PRIORITY := 1); PROGRAM Main WITH T : Main;\n"
        "END_RESOURCE END_CONFIGURATION\n"
    )
    text = tickwork("check", str(write_plant(tmp_path / "p", plant=plant, program=program)))
    assert "warning[PL1014]" in text
    assert "lamp" in text
    assert "level" not in text.replace("level > 5", "")


def test_build_when_done_twice_then_the_artifact_is_the_same(tickwork: Run, tmp_path: pathlib.Path) -> None:
    digests = set()
    for name in ("a.twa", "b.twa"):
        found = tickwork.json("build", "examples/water", "-o", str(tmp_path / name))
        digests.add(found["digest"])
    assert len(digests) == 1
    assert (tmp_path / "a.twa").read_bytes() == (tmp_path / "b.twa").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["nonsense"], 2, "nonsense"),
        (["check", "/nowhere"], 1, "PL1006"),
        (["status", "--state", "/nowhere"], 3, "CL3007"),
        (["watch", "--node", "nothing-runs"], 3, "CL3007"),
        (["write", "a", "1"], 3, "CL1003"),
        (["force", "a", "1"], 2, "--reason"),
        (["explain", "PL1O02"], 1, "PL1002"),
        (["deploy", "examples/water", "--to", "http://127.0.0.1:9"], 1, "CL2001"),
        (["enrol", "examples/water", "--token", "x", "--to", "ftp://x"], 1, "LK3002"),
        (["enrol", "examples/water", "--token", "x", "--to", "http://127.0.0.1:9"], 3, "LK3003"),
        (["enrol", "examples/water", "--token-file", "/nowhere", "--to", "http://127.0.0.1:9"], 1, "CL1005"),
    ],
)
def test_command_when_it_cannot_work_then_one_sentence_and_an_exit_code(
    tickwork: Run, arguments: list[str], code: int, text: str
) -> None:
    assert text in tickwork(*arguments, code=code)


def test_status_when_nothing_runs_then_it_says_so(tickwork: Run) -> None:
    assert "no node runs here" in tickwork("status")
    assert tickwork.json("status") == {"nodes": []}


def test_explain_when_a_code_is_given_then_its_page_comes(tickwork: Run) -> None:
    assert "Unknown key" in tickwork("explain", "pl1002")
    assert "PL1002" in tickwork("explain")
    assert "## Fix" in tickwork.json("explain", "PL1002")["page"]


def test_doctor_when_run_then_needs_and_wishes_are_told(tickwork: Run) -> None:
    found = tickwork.json("doctor", "--seconds", "0")
    assert all(one["good"] for one in found["needs"])
    assert any(one["name"] == "real-time scheduling" for one in found["wishes"])
    assert found["latency"] is None
    text = tickwork("doctor", "--seconds", "0")
    for number, remedy in enumerate(found["remedies"], start=1):
        assert f"{number}. {remedy}" in text.replace("\n", " ")


def test_doctor_when_it_measures_then_scan_and_cyclictest_are_side_by_side(tickwork: Run) -> None:
    cache = os.environ.get("TICKWORK_CACHE", str(pathlib.Path.home() / ".cache" / "tickwork"))
    text = tickwork("doctor", "--seconds", "2", "--json", TICKWORK_CACHE=cache)
    found = json.loads(text[text.index("{") :])["latency"]
    for one in (found["scan"], found["cyclictest"]):
        assert one["wakeups"] > 500, found
        assert 0 < one["p50_us"] <= one["p99_us"] <= one["p999_us"] <= one["max_us"]


def test_doctor_when_a_unit_is_asked_for_then_it_gives_the_rights_that_it_names(tickwork: Run) -> None:
    unit = tickwork("doctor", "--unit")
    assert "LimitRTPRIO=95" in unit
    assert "Type=notify" in unit
    assert " run /etc/tickwork/%i " in unit


def test_login_when_the_supervisor_is_away_then_no_key_is_stored(tickwork: Run) -> None:
    text = tickwork("login", "--to", "http://127.0.0.1:9", "--key-stdin", stdin="secret-key\n", code=3)
    assert "secret-key" not in text
    assert not list(tickwork.home.rglob("credentials.json"))


def test_enrol_when_the_token_is_good_then_the_node_remembers_its_supervisor(
    tickwork: Run, tmp_path: pathlib.Path
) -> None:
    state = tmp_path / "state"
    (tmp_path / "token").write_text("one-time\n")
    with EnrolServer(200, enrolled(FakeSupervisor())) as server:
        arguments = ("enrol", "examples/water", "--to", server.url, "--state", str(state))
        found = tickwork.json(*arguments, "--token-file", str(tmp_path / "token"))
    assert found["node_id"] == "node-1"
    assert server.requests[0]["token"] == "one-time"
    assert server.requests[0]["node"] == "water"
    assert server.requests[0]["path"] == "/link/enrol"
    assert (state / "identity" / "node.key").stat().st_mode & 0o077 == 0
    assert "one-time" not in (state / "identity" / "enrolment.json").read_text()


def test_enrol_when_the_supervisor_refuses_then_its_own_words_are_shown(
    tickwork: Run, tmp_path: pathlib.Path
) -> None:
    body = json.dumps({"problems": [{"code": "SV1002", "message": "the token was used already"}]}).encode()
    with EnrolServer(403, body) as server:
        text = tickwork(
            "enrol",
            "examples/water",
            "--to",
            server.url,
            "--token",
            "x",
            "--state",
            str(tmp_path / "s"),
            code=1,
        )
    assert "SV1002" in text
    assert "used already" in text


def test_opcua_user_when_the_password_is_short_then_it_is_refused(
    tickwork: Run, tmp_path: pathlib.Path
) -> None:
    arguments = ("opcua", "user", "ann", "--role", "operator", "--password-stdin", "--state", str(tmp_path))
    assert "CL2003" in tickwork(*arguments, stdin="short\n", code=1)
    assert "ann may use OPC UA" in tickwork(*arguments, stdin="four words make one\n")
    users = tmp_path / "opcua" / "users.toml"
    assert "four words" not in users.read_text()
    assert users.stat().st_mode & 0o077 == 0


def test_demo_when_a_port_is_taken_then_it_says_which(tickwork: Run) -> None:
    with EnrolServer(200, b"") as server:
        port = server.url.rpartition(":")[2]
        text = tickwork("demo", "--port", port, code=1)
    assert "CL4001" in text
    assert port in text
