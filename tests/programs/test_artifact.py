"""Artifacts: deterministic, and nothing but a whole and unchanged one is accepted."""

from __future__ import annotations

import io
import zipfile

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from programs.artifact import MEMBERS_MAX, Artifact, open_artifact, pack, sign
from scan.abi import IecType, Symbol
from scan.problem import TickworkError

KEY = bytes(range(32))


def sample(**changes: object) -> Artifact:
    given_ = {
        "name": "water",
        "program": "ab" * 32,
        "dialect": "iec",
        "generator": 1,
        "plant": b"[node]\nname = 'water'\n",
        "sources": {"main.st": b"PROGRAM Main END_PROGRAM", "lib/a.st": b"(* a *)"},
        "symbols": (Symbol("Main.x", IecType.INT, 64, 2),),
    }
    return pack(**(given_ | changes))  # type: ignore[arg-type]


def code_of(data: bytes, **more: object) -> str:
    with pytest.raises(TickworkError) as caught:
        open_artifact(data, **more)  # type: ignore[arg-type]
    return caught.value.code


def rezip(files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def members(artifact: Artifact) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(artifact.data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_pack_when_contents_are_equal_then_bytes_are_equal() -> None:
    other = sample(sources={"lib/a.st": b"(* a *)", "main.st": b"PROGRAM Main END_PROGRAM"})
    assert sample().data == other.data and sample().digest == other.digest
    assert sample(dialect="codesys").digest != sample().digest


def test_open_when_whole_then_contents_come_back() -> None:
    artifact = open_artifact(sample().data)
    assert artifact.manifest.name == "water" and artifact.signer == ""
    assert artifact.sources() == {"main.st": b"PROGRAM Main END_PROGRAM", "lib/a.st": b"(* a *)"}
    assert artifact.symbols()[0].path == "Main.x" and "name" in artifact.plant_text


def test_open_when_signed_then_the_signer_is_known_and_can_be_demanded() -> None:
    signed = sign(sample(), KEY)
    public = Ed25519PrivateKey.from_private_bytes(KEY).public_key().public_bytes_raw().hex()
    assert open_artifact(signed.data, trusted={public}).signer == public
    assert sign(signed, KEY).data == signed.data
    assert code_of(signed.data, trusted={"00" * 32}) == "AR1006"
    assert code_of(sample().data, trusted={public}) == "AR1006"


def test_open_when_a_member_changed_then_refused() -> None:
    files = members(sign(sample(), KEY))
    assert code_of(rezip({**files, "sources/main.st": b"PROGRAM Evil END_PROGRAM"})) == "AR1004"
    assert code_of(rezip({**files, "sources/more.st": b""})) == "AR1004"
    assert code_of(rezip({name: data for name, data in files.items() if name != "plant.toml"})) == "AR1004"
    changed = files["manifest.json"].replace(b"water", b"wader")
    assert code_of(rezip({**files, "manifest.json": changed})) == "AR1006"


@pytest.mark.parametrize(
    "path", ["../x", "/etc/passwd", "a/../../b", "a\\b", "c:x", "a//b", "./a", "x" * 300]
)
def test_open_when_a_path_leads_elsewhere_then_refused(path: str) -> None:
    assert code_of(rezip({**members(sample()), path: b""})) == "AR1003"


def test_open_when_members_expand_then_refused_before_reading() -> None:
    assert code_of(rezip({"bomb": bytes(10_000_000)}, zipfile.ZIP_DEFLATED)) == "AR1001"
    many = rezip({f"f{number}": b"" for number in range(MEMBERS_MAX + 1)})
    assert code_of(many) == "AR1002"


def test_open_when_a_size_is_claimed_that_is_not_there_then_refused() -> None:
    data = bytearray(rezip({"manifest.json": b"{}"}))
    central = data.rindex(b"PK\x01\x02")
    data[central + 24 : central + 28] = (2**31).to_bytes(4, "little")
    assert code_of(bytes(data)) == "AR1002"


def test_open_when_no_zip_then_refused() -> None:
    assert code_of(b"") == code_of(b"PK\x03\x04") == "AR1001"
    assert code_of(rezip({"a": b""})) == "AR1005"


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_open_when_bytes_are_mutated_then_an_artifact_or_a_problem(data: st.DataObject) -> None:
    raw = bytearray(sign(sample(), KEY).data)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    for candidate in (bytes(raw), bytes(raw[:cut])):
        try:
            artifact = open_artifact(candidate)
        except TickworkError as error:
            assert error.code.startswith("AR")
        else:
            assert artifact.sources() == sample().sources()


@given(st.binary(max_size=300))
def test_open_when_bytes_are_random_then_a_problem(data: bytes) -> None:
    assert code_of(data).startswith("AR")
