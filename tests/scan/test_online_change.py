"""Online change: what is carried over, what starts anew, and the way back from a trial."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scan import IecType, NodeState, Symbol, VirtualEngine
from scan.native import load_engine
from scan.online_change import Move, make_plan, merge_moves
from tests.scan.toy import Toy, count, counter, fault_when, load, store

MS = 1_000_000
LINT = IecType.LINT


def grown(**changes: object) -> Toy:
    """``counter`` with variables before, between and after those that it had."""
    toy = counter()
    variables = {"New": (LINT, "Main", 33), **toy.variables, "Last": (IecType.INT, "Main", 4)}
    return dataclasses.replace(toy, variables=variables, **changes)


def test_swap_when_layout_grows_then_values_are_found_again_and_new_ones_initial() -> None:
    engine = VirtualEngine(counter().build())
    for scan in range(5):
        engine.scan(scan * MS, inputs=(scan).to_bytes(8, "little"))
    engine.write("Level", 70)
    plan = engine.swap(grown().build(), 5 * MS)
    assert plan.initial == ("New", "Last")
    assert (engine.read("Count"), engine.read("Level"), engine.read("New"), engine.read("Last")) == (
        5,
        70,
        33,
        4,
    )
    assert engine.read("Out") == 4  # outputs do not jump at the exchange
    engine.scan(5 * MS)
    assert (engine.read("Count"), engine.read("First")) == (6, 1)


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        (IecType.SINT, IecType.LINT, -128), (IecType.INT, IecType.DINT, -32768), (IecType.USINT, IecType.INT, 255),
        (IecType.UINT, IecType.ULINT, 65535), (IecType.DINT, IecType.LREAL, -(2**31)),
        (IecType.UINT, IecType.REAL, 65535), (IecType.UDINT, IecType.LREAL, 2**32 - 1),
        (IecType.REAL, IecType.LREAL, -1.5), (IecType.WORD, IecType.LWORD, 0xFFFF),
    ],
)  # fmt: skip
def test_swap_when_a_type_grows_then_the_number_stays(old: IecType, new: IecType, value: float) -> None:
    engine = VirtualEngine(Toy({"X": (old, "Main", 0), "Y": (old, "G", 0)}, {"Main": ""}).build())
    engine.write("X", value)
    engine.write("Y", value)
    plan = engine.swap(
        Toy(
            {"Pad": (IecType.BOOL, "Main", 1), "X": (new, "Main", 0), "Y": (new, "G", 0)}, {"Main": ""}
        ).build(),
        0,
    )
    assert (engine.read("X"), engine.read("Y"), engine.read("Pad")) == (value, value, True)
    assert plan.initial == ("Pad",)


@pytest.mark.parametrize(
    ("old", "new"),
    [(IecType.DINT, IecType.INT), (IecType.INT, IecType.UINT), (IecType.UINT, IecType.INT),
     (IecType.DINT, IecType.REAL), (IecType.LREAL, IecType.REAL), (IecType.LINT, IecType.LREAL),
     (IecType.WORD, IecType.UDINT), (IecType.INT, IecType.TIME)],
)  # fmt: skip
def test_swap_when_a_type_could_lose_values_then_initial(old: IecType, new: IecType) -> None:
    engine = VirtualEngine(Toy({"X": (old, "Main", 1)}, {"Main": ""}).build())
    assert engine.swap(Toy({"X": (new, "Main", 0)}, {"Main": ""}).build(), 0).initial == ("X",)
    assert engine.read("X") == 0


def test_swap_when_type_changes_then_initial_value() -> None:
    toy = counter()
    other = dataclasses.replace(toy, variables={**toy.variables, "Level": (IecType.INT, "G", 3)})
    engine = VirtualEngine(toy.build())
    engine.write("Level", 70)
    engine.swap(other.build(), 0)
    assert engine.read("Level") == 3


def test_swap_when_renamed_then_value_moves_to_the_new_name() -> None:
    toy = counter()
    variables = {("Height" if name == "Level" else name): one for name, one in toy.variables.items()}
    engine = VirtualEngine(toy.build())
    engine.write("Level", 70)
    plan = engine.swap(dataclasses.replace(toy, variables=variables).build(), 0, renames={"Height": "Level"})
    assert engine.read("Height") == 70
    assert plan.dropped == ()


def test_swap_when_variables_go_then_they_are_told() -> None:
    engine = VirtualEngine(grown().build())
    plan = engine.swap(counter().build(), 0)
    assert plan.dropped == ("New", "Last")


def test_swap_when_forced_then_force_follows_its_variable() -> None:
    engine = VirtualEngine(counter().build())
    engine.force("Mark", 500)
    engine.force("Count", 9)
    engine.scan(0)
    engine.swap(grown().build(), MS)
    engine.scan(MS)
    assert (engine.read("Mark"), engine.read("Count")) == (500, 9)
    engine.unforce("Count")
    engine.scan(2 * MS)
    engine.scan(3 * MS)
    assert engine.read("Count") == 11


def test_swap_when_reference_then_it_follows_its_target_or_becomes_null() -> None:
    def toy(names: list[str]) -> Toy:
        variables = dict.fromkeys(names, (LINT, "Main", 0))
        variables |= {"Kept": (IecType.REF, "Main", 0), "Gone": (IecType.REF, "Main", 0)}
        return Toy(variables, {"Main": ""})

    old, new = toy(["A", "B", "C"]).build(), toy(["X", "Y", "C"]).build()
    engine = VirtualEngine(old)
    places = {symbol.path: symbol.offset for symbol in old.symbols}
    engine.write("Kept", places["C"])
    engine.write("Gone", places["A"])
    engine.swap(new, 0)
    places = {symbol.path: symbol.offset for symbol in new.symbols}
    assert (engine.read("Kept"), engine.read("Gone")) == (places["C"], 0)


def failing() -> Toy:
    """A new version that faults in its third scan."""
    toy = counter()
    variables = {**toy.variables, "Age": (LINT, "Main", 0)}
    body = (
        toy.bodies["Main"]
        + count("Age", "g")
        + "  %gc = icmp sge i64 %g, 3\n  %gx = zext i1 %gc to i64\n"
        + fault_when("%gx", 1003, 9)
    )
    return dataclasses.replace(toy, variables=variables, bodies={"Main": body})


def test_trial_when_new_program_faults_then_old_one_is_back_with_its_state() -> None:
    engine = VirtualEngine(counter().build())
    for scan in range(4):
        engine.scan(scan * MS)
    engine.swap(failing().build(), 4 * MS, trial_scans=100)
    assert engine.state == NodeState.TRIAL
    faults = [engine.scan((4 + scan) * MS).fault for scan in range(3)]
    assert [fault.code if fault else "" for fault in faults] == ["", "", "RF1003"]
    assert engine.follow()
    assert engine.state == NodeState.RUNNING
    assert engine.read("Count") == 4
    assert engine.scan(7 * MS).fault is None
    assert engine.read("Count") == 5


def test_trial_when_it_ends_well_then_new_program_stays_for_good() -> None:
    engine = VirtualEngine(counter().build())
    engine.scan(0)
    engine.swap(failing().build(), MS, trial_scans=2)
    for scan in range(2):
        engine.scan((1 + scan) * MS)
    assert engine.state == NodeState.RUNNING
    result = engine.scan(3 * MS)
    assert result.fault is not None and engine.state == NodeState.FAULT
    assert not engine.follow()


def test_plan_when_enumeration_loses_a_value_then_not_carried() -> None:
    def toy(values: tuple[tuple[str, int], ...]) -> Symbol:
        return Symbol("Mode", IecType.INT, 200, 2, enum_values=values)

    base = counter().build()

    def plan(old: Symbol, new: Symbol) -> tuple[str, ...]:
        return make_plan(dataclass_replace(base, old), dataclass_replace(base, new), {"Main": 0}).initial

    two, three = (("Off", 0), ("On", 1)), (("Off", 0), ("On", 1), ("Auto", 2))
    assert plan(toy(two), toy(three)) == ()
    assert plan(toy(three), toy(two)) == ("Mode",)


def dataclass_replace(application, symbol: Symbol):  # type: ignore[no-untyped-def]
    import msgspec

    return msgspec.structs.replace(application, symbols=(symbol,))


# ---------------------------------------------------------------- properties

KINDS = [IecType.BOOL, IecType.INT, IecType.DINT, IecType.LINT]
NAMES = [f"V{index}" for index in range(12)]
LAYOUTS = st.dictionaries(
    st.sampled_from(NAMES),
    st.tuples(st.sampled_from(KINDS), st.sampled_from(["G", "Main"]), st.integers(0, 1)),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(old=LAYOUTS, new=LAYOUTS, values=st.lists(st.integers(0, 1), min_size=12, max_size=12))
def test_swap_when_any_layouts_then_each_variable_is_carried_or_initial(
    old: dict[str, tuple[IecType, str, int]], new: dict[str, tuple[IecType, str, int]], values: list[int]
) -> None:
    engine = VirtualEngine(Toy(old, {"Main": ""}).build(), native=load_engine())
    written = dict(zip(NAMES, values, strict=True))
    for name in old:
        engine.write(name, written[name])
    engine.swap(Toy(new, {"Main": ""}).build(), 0)
    for name, (kind, _, initial) in new.items():
        integers = [IecType.INT, IecType.DINT, IecType.LINT]
        former = old[name][0] if name in old else None
        grew = former in integers and kind in integers and integers.index(former) < integers.index(kind)
        assert engine.read(name) == (written[name] if former == kind or grew else initial)


MOVES = st.lists(
    st.builds(Move, st.integers(0, 200), st.integers(0, 200), st.integers(1, 8), st.just(-1), st.just(-1)),
    max_size=30,
)


@given(MOVES)
def test_merge_when_any_moves_then_the_same_bytes_go_to_the_same_places(moves: list[Move]) -> None:
    def bytes_of(list_of_moves: tuple[Move, ...]) -> list[tuple[int, int]]:
        return sorted((move.source + i, move.target + i) for move in list_of_moves for i in range(move.size))

    assert bytes_of(merge_moves(moves)) == bytes_of(tuple(moves))


def test_swap_when_program_is_empty_of_state_then_nothing_moves_but_images() -> None:
    old = Toy({"In": (LINT, "I", 0), "Out": (LINT, "Q", 0)}, {"Main": load("i", "In") + store("Out", "%i")})
    engine = VirtualEngine(old.build())
    engine.scan(0, inputs=(6).to_bytes(8, "little"))
    engine.swap(Toy({"Other": (LINT, "Main", 1)}, {"Main": ""}).build(), MS)
    engine.scan(MS)
    outputs = engine.application.outputs.offset
    assert int.from_bytes(engine.block[outputs : outputs + 8].tobytes(), "little") == 6


@pytest.mark.parametrize("scans", [1, 1000])
def test_replay_when_checkpoint_is_restored_then_digests_agree(scans: int) -> None:
    engine, twin = (VirtualEngine(counter().build()) for _ in range(2))
    for scan in range(10):
        engine.scan(scan * MS, inputs=(scan * 3).to_bytes(8, "little"))
    twin.restore(engine.block.tobytes(), scan=10)
    for scan in range(10, 10 + scans):
        engine.scan(scan * MS)
        twin.scan(scan * MS)
    assert engine.digest() == twin.digest()
