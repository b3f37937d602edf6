"""The [opcua] section of a plant file."""

import subprocess
import sys

import pytest

from drivers.opcua.config import OpcUaSection, parse_server
from scan.problem import TickworkError


def test_section_when_empty_then_is_closed_by_default() -> None:
    section = parse_server({})
    assert section == OpcUaSection(insecure=False, anonymous=False, trust_all=False, host="127.0.0.1")


def test_section_when_wrong_then_names_every_mistake() -> None:
    with pytest.raises(TickworkError) as caught:
        parse_server({"port": 0, "anonymus": True, "hosts": "a", "insecure": "yes"})
    messages = {problem.message for problem in caught.value.problems}
    assert len(messages) == 4
    assert any("anonymus" in message for message in messages)


def test_config_when_imported_then_no_protocol_library_is_loaded() -> None:
    code = "import sys, drivers.opcua.config; sys.exit('asyncua' in sys.modules or 'pymodbus' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
