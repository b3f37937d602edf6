"""Commands on recordings: replay, trace."""

from __future__ import annotations

import datetime
import pathlib
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from runtime import console
from runtime.cli_node import JsonOption
from scan.abi import Application
from scan.compare import Comparison, compare
from scan.condition import Condition
from scan.problem import fail
from scan.replay import Mismatch, Recording, Report, open_recording, replay
from scan.trace import Change, Moment, Trace, find_symbol
from scan.values import format_value
from scan.virtual import ProgramFault

app = typer.Typer()

VARIABLES_SHOWN = 8
STEPS_MAX = 10_000
OPEN_LOOP = "open-loop: the recorded inputs do not react to what the other program puts out"

RecordingArgument = Annotated[
    pathlib.Path, typer.Argument(help="A segment (*.twr), or the folder `recordings` of a node's state.")
]


@app.command("replay")
def replay_command(
    recording: RecordingArgument,
    program: Annotated[
        pathlib.Path | None,
        typer.Option("--program", "-p", help="Plant folder or artifact to run beside the recorded program."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Run a recording again and check that each state comes out bit for bit; or compare another program with it.

    Exit code 1 when a state differs. Example: tickwork replay ~/.local/state/tickwork/water/recordings
    """
    console.use_json(json)
    read = open_recording(recording)
    if program is not None:
        other = _application(program)
        with _bar("comparing") as told:
            result = compare(read, other, progress=told)
        _show_comparison(result, _first_writers(result, other, program))
        return
    with _bar("replaying") as told:
        report = replay(read, progress=told)
    _show_report(read, report)
    if report.mismatches:
        console.leave(console.PROBLEMS)


class _bar:  # noqa: N801 - used as a function
    """A progress bar where somebody watches."""

    def __init__(self, text: str) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        hidden = console.is_json() or not console.err.is_terminal
        self._progress = Progress(*columns, console=console.err, transient=True, disable=hidden)
        self._task = self._progress.add_task(text, total=None)

    def __enter__(self) -> Any:
        self._progress.start()
        return lambda done, total: self._progress.update(self._task, completed=done, total=total)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


def _application(source: pathlib.Path) -> Application:
    import programs

    with console.progress(f"building {source}"):
        return programs.compile_artifact(source.read_bytes() if source.is_file() else source)


def _show_report(recording: Recording, report: Report) -> None:
    if console.is_json():
        console.give(
            {
                "scans": report.scans, "checkpoints": report.checkpoints, "changes": report.changes,
                "gaps": report.gaps, "damaged": recording.damaged, "speed": round(report.speed, 1),
                "recorded_ns": report.recorded_ns, "elapsed_ns": report.elapsed_ns,
                "mismatches": report.mismatches,
                "faults": [{"scan": scan, "fault": fault} for scan, fault in report.faults],
            }
        )  # fmt: skip
        return
    recorded_s, elapsed_s = report.recorded_ns / 1e9, report.elapsed_ns / 1e9
    console.say(
        f"{report.scans:,} scans of {recorded_s:,.1f} s in {elapsed_s:.2f} s: {report.speed:,.0f} times real time"
    )
    console.say(f"{report.checkpoints} checkpoints met bit for bit, {len(report.mismatches)} missed")
    for name in recording.damaged:
        console.say(f"{name}: its end is torn or damaged; what stands before it was replayed")
    if report.changes:
        console.say(f"{report.changes} online changes and ways back from a trial were made again")
    if report.gaps:
        console.say(f"{report.gaps} gaps; after each one the replay went on at the next checkpoint")
    for scan, fault in report.faults:
        console.say(f"scan {scan}: {_fault_text(fault)}")
    for mismatch in report.mismatches:
        console.say(_mismatch_text(mismatch))


def _fault_text(fault: ProgramFault | None) -> str:
    if fault is None:
        return "a recorded fault that came from time, not from the program, and does not recur here"
    return f"the recorded fault {fault.code} in {fault.pou} ({fault.file}:{fault.line}) happens again"


def _mismatch_text(mismatch: Mismatch) -> str:
    if mismatch.fault is not None:
        fault = mismatch.fault
        return (
            f"scan {mismatch.scan}: a fault that was not recorded: {fault.code} ({fault.file}:{fault.line})"
        )
    shown = ", ".join(mismatch.variables[:VARIABLES_SHOWN]) or "bytes without a variable"
    more = len(mismatch.variables) - VARIABLES_SHOWN
    return f"scan {mismatch.scan} differs: {shown}" + (f" and {more} more" if more > 0 else "")


def _first_writers(result: Comparison, other: Application, program: pathlib.Path) -> dict[str, str]:
    """Where the other program wrote the variables that differed first."""
    from runtime.trace_writer import Sources

    if result.first is None:
        return {}
    sources, first, found = Sources(program), result.first, {}
    for path in result.first_variables[:VARIABLES_SHOWN]:
        writer = sources.writer_of(path, first.before, first.after, first.runs, other.inputs)
        if writer is not None:
            found[path] = f"{writer.pou} ({writer.file}:{writer.line})"
    return found


def _show_comparison(result: Comparison, writers: dict[str, str]) -> None:
    outputs = sorted(result.outputs.values(), key=lambda one: (one.first_scan or 1 << 62, one.path))
    if console.is_json():
        console.give(
            {
                "open_loop": True, "scans": result.scans, "first_scan": result.first_scan,
                "first_variables": result.first_variables, "first_writers": writers, "outputs": outputs,
                "unmapped": result.unmapped, "commands_left_out": result.commands_left_out,
                "faults": [{"scan": scan, "fault": fault} for scan, fault in result.faults],
            }
        )  # fmt: skip
        return
    table = Table("output", "first scan", "time", "scans that differ", "largest difference")
    for one in outputs:
        if one.differing:
            share = f"{100 * one.differing / result.scans:.2f} %"
            table.add_row(one.path, str(one.first_scan), _time(one.first_wall_ns), share, f"{one.largest:g}")
    console.say(f"{result.scans:,} scans compared ({OPEN_LOOP})")
    if result.first_scan:
        console.say(f"first difference: scan {result.first_scan} in {', '.join(result.first_variables)}")
        for path, writer in writers.items():
            console.say(f"  {path} written by {writer}")
    if table.row_count:
        console.out.print(table)
    else:
        console.say("no output differs")
    if result.unmapped:
        console.say(f"not in the other program: {', '.join(result.unmapped[:VARIABLES_SHOWN])}")
    if result.commands_left_out:
        console.say(
            f"{result.commands_left_out} recorded writes and forces mean nothing to the other program"
        )
    for scan, fault in result.faults:
        console.say(f"scan {scan}: the other program fails with {fault.code} ({fault.file}:{fault.line})")


def _time(wall_ns: int) -> str:
    moment = datetime.datetime.fromtimestamp(wall_ns // 10**9, datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{wall_ns // 1000 % 10**6:06}Z"


def _time_ns(text: str) -> int:
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise fail(
            "SC4008", "this is no time", expected="such as 2026-01-31T13:45:10.250Z", found=text
        ) from None
    if moment.tzinfo is None:
        moment = moment.astimezone()
    return int(moment.timestamp()) * 10**9 + moment.microsecond * 1000


# ---------------------------------------------------------------- trace


@app.command()
def trace(
    recording: RecordingArgument,
    variables: Annotated[
        list[str] | None, typer.Argument(help="Variables to show; without any: all of them.")
    ] = None,
    scan: Annotated[int, typer.Option("--scan", "-n", help="Scan to look at; default: the last one.")] = 0,
    time: Annotated[
        str, typer.Option("--time", help="Time to look at instead, such as 2026-01-31T13:45:10.25Z.")
    ] = "",
    when: Annotated[
        str, typer.Option("--when", help='First scan, from --scan on, in which "pump AND NOT valve" holds.')
    ] = "",
    back: Annotated[int, typer.Option(help="Show so many scans before it too.", min=0, max=STEPS_MAX)] = 0,
    forward: Annotated[int, typer.Option(help="And so many after it.", min=0, max=STEPS_MAX)] = 0,
    why: Annotated[
        str, typer.Option("--why", help="Variable: when did it last change until then, and who wrote it?")
    ] = "",
    program: Annotated[
        pathlib.Path | None,
        typer.Option("--program", "-p", help="Plant folder or artifact that ran, to name the statement."),
    ] = None,
    lines: Annotated[
        bool, typer.Option("--lines", help="Name the lines that each shown scan executed.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Look into a recording: values at a scan, steps around it, the first scan of a condition, the last writer.

    Examples: tickwork trace recordings level valve --when "pump AND NOT valve" --back 3
    tickwork trace recordings --why valve
    """
    console.use_json(json)
    tracer = Trace(open_recording(recording))
    moment = _moment(tracer, scan, time, when)
    number = moment.scan
    if why:
        symbol = moment.engine.symbol(why)
        change = tracer.last_change(symbol.path, number)
        _show_change(recording, symbol.path, number, change, program)
        return
    executed = _Executed(recording, tracer, number - back, program) if lines else None
    if executed is not None:
        moment = _moment(tracer, number, "", "")
    _show_moments(tracer, moment, variables or [], back, forward, executed)


def _moment(tracer: Trace, scan: int, time: str, when: str) -> Moment:
    """The moment that the options name."""
    if time:
        found: Moment | None = tracer.at_time(_time_ns(time))
    elif when:
        start = tracer.at(scan or tracer.span[0])
        condition = Condition(when, start.engine.symbol)
        found = tracer.first(lambda moment: condition.holds(moment.read), scan)
    else:
        found = tracer.at(scan or tracer.span[1])
    if found is None:
        console.say(f"there is no such scan: {when}")
        if console.is_json():
            console.give({"scan": None, "condition": when})
        console.leave(console.PROBLEMS)
    return found


class _Executed:
    """The lines that each shown scan executed; none where the sources are not to be had."""

    def __init__(
        self, recording: pathlib.Path, tracer: Trace, first: int, program: pathlib.Path | None
    ) -> None:
        from runtime.trace_writer import Sources, find_sources

        moment, before = tracer.step(max(first, tracer.span[0]))
        self._before: bytes | None = before.tobytes()
        self._begin = moment.scan
        application = moment.checkpoint.application
        self._sources = Sources(program) if program is not None else find_sources(recording, application)

    def of(self, moment: Moment) -> dict[str, list[int]]:
        """Of a moment; they are asked in their order, as each begins with the state that the one before left."""
        before, self._before = self._before, moment.engine.block.tobytes()
        if self._sources is None or before is None or moment.scan < self._begin:
            return {}
        if self._sources.digest != moment.checkpoint.application:
            return {}  # another program ran then
        return self._sources.executed(moment, before)


def _show_moments(
    tracer: Trace,
    moment: Moment,
    variables: list[str],
    back: int,
    forward: int,
    executed: _Executed | None,
) -> None:
    center = moment.scan
    paths = [moment.engine.symbol(path).path for path in variables]
    paths = paths or [one.path for one in moment.engine.application.symbols if one.access != "none"]
    rows = []
    for one in _around(tracer, moment, back, forward):
        lines = {"lines": executed.of(one)} if executed is not None else {}
        rows.append({**_row(one, paths), **lines})
    if console.is_json():
        first, last = tracer.span
        console.give({"scan": center, "first": first, "last": last, "scans": rows})
        return
    for row in rows if executed is not None else ():
        for file, numbers in row["lines"].items():
            console.say(f"scan {row['scan']}, {file}: {', '.join(map(str, numbers))}")
    if len(rows) == 1:
        console.say(f"scan {center}, {rows[0]['time']}, task {', '.join(moment.tasks)}")
        table = Table("variable", "value")
        for path in paths:
            table.add_row(path, rows[0]["values"][path])
    else:
        table = Table("scan", "time", *paths)
        for row in rows:
            mark = ">" if row["scan"] == center else " "
            table.add_row(f"{mark}{row['scan']}", row["time"], *(row["values"][path] for path in paths))
    console.out.print(table)


def _around(tracer: Trace, moment: Moment, back: int, forward: int) -> Any:
    if not back and not forward:
        yield moment
        return
    center = moment.scan
    for one in tracer.moments(center - back):
        if one.scan > center + forward:
            return
        yield one


def _row(moment: Moment, paths: list[str]) -> dict[str, Any]:
    symbols = {path: find_symbol(moment.engine, path) for path in paths}  # another program may have run
    values = {path: format_value(one, moment.read(path)) if one else "-" for path, one in symbols.items()}
    return {"scan": moment.scan, "time": _time(moment.wall_ns), "tasks": moment.tasks, "values": values}


def _show_change(
    recording: pathlib.Path, path: str, until: int, change: Change | None, program: pathlib.Path | None
) -> None:
    if change is None:
        console.say(f"{path} keeps its value from the beginning of the recording to scan {until}")
        if console.is_json():
            console.give({"variable": path, "scan": None})
        return
    symbol = change.moment.engine.symbol(path)
    before = "new" if change.before is None else format_value(symbol, change.before)
    after = format_value(symbol, change.after)
    who = _who(recording, path, change, program)
    if console.is_json():
        console.give(
            {
                "variable": path, "scan": change.moment.scan, "time": _time(change.moment.wall_ns),
                "before": before, "after": after, "tasks": change.moment.tasks, **who,
            }
        )  # fmt: skip
        return
    console.say(f"{path}: {before} -> {after} in scan {change.moment.scan}, {_time(change.moment.wall_ns)}")
    console.say(f"written by {who['writer']}")


def _who(recording: pathlib.Path, path: str, change: Change, program: pathlib.Path | None) -> dict[str, Any]:
    """Who wrote it, as far as that can be known here."""
    from runtime.trace_writer import Sources, find_sources

    symbol = change.moment.engine.symbol(path)
    inputs = change.moment.engine.application.inputs
    task = ", ".join(change.moment.tasks)
    if change.exchanged:
        return {"writer": "the online change before this scan"}
    if change.in_gap:
        return {"writer": "something before this scan that is not recorded: there is a gap"}
    if change.commanded:
        return {"writer": "a write or force of an operator"}
    if change.released and inputs.offset <= symbol.offset < inputs.offset + inputs.size:
        return {"writer": "the field, as a force on this input ended"}
    if inputs.offset <= symbol.offset < inputs.offset + inputs.size:
        return {"writer": "the field (it is an input)"}
    application = change.moment.checkpoint.application
    sources = Sources(program) if program is not None else find_sources(recording, application)
    if sources is None:
        return {"writer": f"task {task} (--program PLANT names the statement)"}
    writer = sources.writer(change, path)
    if writer is None:
        return {"writer": f"task {task}, by no statement: a force began or ended"}
    text = f"{writer.pou} ({writer.file}:{writer.line}) in task {task}"
    text += ", as a force on it ended" if change.released else ""
    return {"writer": text, "pou": writer.pou, "file": writer.file, "line": writer.line}
