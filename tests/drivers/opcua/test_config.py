"""The [opcua] section of a plant file."""

import subprocess
import sys

import pytest

from drivers.opcua.config import OpcUaSection, apply_rules, parse_server
from scan.abi import IecType, Symbol
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


def test_variables_when_the_plant_file_names_them_then_get_what_it_says() -> None:
    section = parse_server(
        {
            "history": ["Main.*"],
            "variable": [
                {"path": "Main.*", "access": "rw", "unit": "bar"},
                {
                    "path": "Main.level",
                    "low": 0,
                    "high": 10.0,
                    "write": "engineer",
                    "description": "of the tank",
                },
            ],
        }
    )
    symbols = [
        Symbol(path, IecType.REAL, 64, 4, comment="old") for path in ("Main.level", "Main.flow", "Other")
    ]
    level, flow, other = apply_rules(symbols, section.variables)
    assert (level.access, level.unit, level.low, level.high) == ("rw", "bar", 0.0, 10.0)
    assert (level.write_role, level.comment) == ("engineer", "of the tank")
    assert (flow.access, flow.unit, flow.comment, flow.write_role) == ("rw", "bar", "old", "")
    assert other == symbols[2]


def test_variables_when_wrong_then_every_mistake_is_named() -> None:
    tables = [
        {"path": "a", "access": "w"},
        {"unit": "bar"},
        {"path": "b", "low": 2, "high": 1},
        {"path": "c", "lo": 1},
    ]
    with pytest.raises(TickworkError) as caught:
        parse_server({"variable": tables})
    assert len(caught.value.problems) == 4
