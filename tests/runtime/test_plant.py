"""Plant files: what they mean, and what is said of each mistake."""

import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.plant import FILE_NAME, load_plant, parse_plant
from scan.problem import Problem, TickworkError

WATER = pathlib.Path(__file__).parents[2] / "examples" / "water"
FOLDER = pathlib.Path("/plants/pump-house")


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(TickworkError) as raised:
        parse_plant(text, folder=FOLDER)
    return raised.value.problems


def test_plant_when_file_is_empty_then_defaults_hold() -> None:
    plant = parse_plant("", folder=FOLDER)
    assert plant.name == "pump-house"
    assert plant.sources == ("*.st",)
    assert plant.supervisor is None
    assert plant.opcua is None
    assert plant.io_map().inputs == ()


def test_plant_when_the_example_is_read_then_its_channels_are_mapped() -> None:
    plant = load_plant(WATER)
    assert plant.name == "water"
    assert [device.name for device in plant.devices] == ["plant"]
    assert plant.io_map().inputs_size >= 17
    assert plant.source_files()


def test_plant_when_all_sections_are_given_then_each_is_taken() -> None:
    plant = parse_plant(
        """
[node]
name = "n1"
[program]
sources = []
[[task]]
name = "Fast"
period_ms = 2.5
cpu = 1
overrun_limit = 5
overrun_action = "fault"
[scan]
on_fault = "restart"
on_crash = "restart-cold"
cpus = "1,3-4"
[supervisor]
url = "https://s.example:1/"
tags = ["Main.*"]
exclude = ["*.internal"]
[[supervisor.deadband]]
tags = ["*level*"]
absolute = 0.5
[retain]
interval_ms = 500
on_corrupt = "initial"
[metrics]
port = 9100
[online-change]
health = "Main.ok"
renames = { "Main.a" = "Main.b" }
[opcua]
port = 5000
""",
        folder=FOLDER,
    )
    assert plant.tasks[0].period_ns == 2_500_000
    assert plant.tasks[0].priority is None
    assert plant.tasks[0].watchdog_ms is None
    assert (plant.tasks[0].cpu, plant.tasks[0].overrun_limit) == (1, 5)
    assert plant.tasks[0].overrun_action == "fault"
    assert (plant.scan.on_fault, plant.scan.on_crash) == ("restart", "restart-cold")
    assert plant.retain.on_corrupt == "initial"
    assert plant.metrics_port == 9100
    assert (plant.change.health, plant.change.renames) == ("Main.ok", (("Main.a", "Main.b"),))
    assert plant.scan.cpus == (1, 3, 4)
    assert plant.supervisor is not None
    assert plant.supervisor.url == "https://s.example:1"
    assert plant.supervisor.selects("MAIN.level")
    assert not plant.supervisor.selects("Main.INTERNAL")
    assert plant.opcua is not None
    assert plant.opcua.port == 5000


def test_problems_when_several_keys_are_wrong_then_all_come_with_their_lines() -> None:
    found = problems('[node]\nnam = "x"\n[scan]\nstart = "runn"\nwatchdog_ms = 0\n[supervisor]\nurl = 5\n')
    assert [(one.code, one.place.line) for one in found] == [
        ("PL1002", 2), ("PL1004", 4), ("PL1005", 5), ("PL1004", 7)
    ]  # fmt: skip
    assert found[0].remedy == "did you mean `name`?"
    assert found[1].source_line == 'start = "runn"'


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a = [", "PL1001"),
        ("[node]\nname = 'Not Good'", "PL1008"),
        ("[[task]]\nperiod_ms = 1", "PL1003"),
        ("[[task]]\nname='A'\n[[task]]\nname='a'", "PL1009"),
        ("[[task]]\nname='A'\noverrun_action='ignore'", "PL1004"),
        ("[[task]]\nname='A'\nwatchdog_ms=0", "PL1005"),
        ("[scan]\non_crash='never'", "PL1004"),
        ("[online-change]\nrenames = { a = 1 }", "PL1004"),
        ("[online-change]\nrenames = 'a'", "PL1004"),
        ("[metrics]\nport = 70000", "PL1005"),
        ("[supervisor]\nurl = 'ftp://x'", "PL1010"),
        ("[supervisor]\nurl = 'http://[::1'", "PL1010"),
        ("[supervisor]\nurl = 'http://10.0.0.1'", "PL1011"),
        ("[scan]\ncpus = 'one'", "PL1004"),
        ("[scan]\nrealtime = 1", "PL1004"),
        ("device = 5", "PL1004"),
        ("[[device]]\nname='d'\nprotocol='nope'", "DV1006"),
        ("[opcua]\nprot = 1", "DV1001"),
    ],
)
def test_problem_when_one_thing_is_wrong_then_its_code_tells(text: str, code: str) -> None:
    assert problems(text)[0].code == code


def test_problem_when_two_devices_fill_one_input_then_both_are_named() -> None:
    text = "".join(
        f'[[device]]\nname="{name}"\nprotocol="modbus-tcp"\nhost="127.0.0.1"\n'
        '[[device.read]]\nfunction="input-registers"\naddress=0\ncount=2\nto="%IW0"\nperiod_ms=100\n'
        for name in ("one", "two")
    )
    assert [one.code for one in problems(text)] == ["PL1012"]


def test_plain_http_when_allowed_or_loopback_then_it_is_taken() -> None:
    for text in ("url='http://127.0.0.1:1'", "url='http://10.0.0.1:1'\nallow_plain=true"):
        assert parse_plant(f"[supervisor]\n{text}", folder=FOLDER).supervisor is not None


def test_load_when_there_is_no_plant_then_it_says_where(tmp_path: pathlib.Path) -> None:
    with pytest.raises(TickworkError) as raised:
        load_plant(tmp_path)
    assert raised.value.code == "PL1006"
    assert str(tmp_path / FILE_NAME) in str(raised.value)


def test_load_when_the_file_is_not_utf8_then_it_says_so(tmp_path: pathlib.Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"name = \xff")
    with pytest.raises(TickworkError) as raised:
        load_plant(tmp_path)
    assert raised.value.code == "PL1001"


def test_sources_when_a_pattern_finds_nothing_then_it_is_a_problem(tmp_path: pathlib.Path) -> None:
    (tmp_path / FILE_NAME).write_text('[program]\nsources = ["*.st"]\n')
    with pytest.raises(TickworkError) as raised:
        load_plant(tmp_path).source_files()
    assert raised.value.code == "PL1007"


@given(st.text(max_size=300))
def test_parse_when_any_text_then_a_plant_or_problems(text: str) -> None:
    try:
        parse_plant(text, folder=FOLDER)
    except TickworkError as error:
        assert error.problems


_sections = st.sampled_from(["node", "program", "scan", "supervisor", "retain", "recorder", "state", "opcua"])
_keys = st.sampled_from(["name", "sources", "cpus", "url", "tags", "port", "interval_ms", "minutes", "x"])
_values = st.sampled_from(["1", "-1", "1e9", '"t"', "true", "[]", "[1]", "{}", '["a"]', "1979-05-27", "nan"])


@given(st.dictionaries(_sections, st.dictionaries(_keys, _values, max_size=4), max_size=4))
def test_parse_when_values_have_any_type_then_a_plant_or_problems(tables: dict[str, dict[str, str]]) -> None:
    lines = []
    for section, pairs in tables.items():
        lines += [f"[{section}]", *(f"{key} = {value}" for key, value in pairs.items())]
    try:
        parse_plant("\n".join(lines), folder=FOLDER)
    except TickworkError as error:
        assert all(problem.place.line for problem in error.problems)
