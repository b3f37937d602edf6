"""The compiler's process: ``python -m runtime.build_job --folder F | --artifact A …``, results as JSON lines.

Everything that loads the compiler is here; the command line uses the same functions in its own process.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

import programs
from runtime.plant import FILE_NAME, Plant, load_plant, parse_plant
from runtime.state import write_atomically
from scan.abi import Symbol, encode_application
from scan.iomap import Channel
from scan.problem import Place, Problem, TickworkError

Tell = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found. ``summary`` is for people and only meaningful if ``ok``."""

    problems: tuple[Problem, ...]
    summary: str = ""

    @property
    def ok(self) -> bool:
        return not any(problem.severity == "error" for problem in self.problems)


def check_plant(plant: Plant) -> Report:
    """Checks the program of a plant folder, and that its inputs and outputs meet devices."""
    if not plant.sources:
        return Report((), "the plant file is fine; there is no program yet")
    result = programs.check_folder(plant.folder)
    problems = tuple(_in_folder(problem, plant.folder) for problem in result.problems)
    if result.program is None:
        return Report(problems)
    refused = programs.check_blocks(result.program)
    if refused:
        return Report((*problems, *(_in_folder(problem, plant.folder) for problem in refused)))
    artifact = build_folder(plant.folder)
    symbols = artifact.symbols()
    problems += unconnected(plant, symbols)
    tasks = ", ".join(f"{task.name} every {task.period_ns / 1e6:g} ms" for task in result.program.tasks)
    return Report(problems, f"no errors; {len(symbols)} variables; tasks: {tasks or 'none'}")


def _in_folder(problem: Problem, folder: pathlib.Path) -> Problem:
    """The compiler names sources relative to the plant; who reads a message may be anywhere."""
    path = folder / problem.place.file
    if not problem.place.file or not path.exists():
        return problem
    return msgspec.structs.replace(
        problem, place=msgspec.structs.replace(problem.place, file=str(path.absolute()))
    )


def unconnected(plant: Plant, symbols: Iterable[Symbol]) -> tuple[Problem, ...]:
    """A warning for each located input or output that no device reads or writes; none without any device."""
    if not plant.devices:
        return ()
    io_map = plant.io_map()
    covered = {"%I": _bits(io_map.inputs), "%Q": _bits(io_map.outputs)}
    firsts = {"%I": _first(symbols, "%I"), "%Q": _first(symbols, "%Q")}
    found = []
    for symbol in symbols:
        area = symbol.location[:2].upper()
        if area not in covered:
            continue
        base = symbol.offset - firsts[area]
        wanted = {(base, symbol.bit)} if symbol.bit >= 0 else {(base + at, 0) for at in range(symbol.size)}
        if not wanted & covered[area]:
            found.append(
                Problem(
                    "PL1014",
                    f"no device {'fills' if area == '%I' else 'takes'} {symbol.path} at {symbol.location}",
                    Place(symbol.file, symbol.line),
                    remedy="correct the address, or add the point to a [[device]] of the plant file",
                    severity="warning",
                )
            )
    return tuple(found)


def _bits(channels: Iterable[Channel]) -> set[tuple[int, int]]:
    """(byte, bit) of everything that the channels cover; whole bytes count as all their bits."""
    return {
        (channel.offset + at, bit)
        for channel in channels
        for at in range(max(channel.size, 1))
        for bit in ((channel.bit,) if channel.bit >= 0 else range(8))
    }


def _first(symbols: Iterable[Symbol], area: str) -> int:
    """Offset in the block where %I or %Q begins: that of any located symbol less its own byte address."""
    for symbol in symbols:
        if symbol.location[:2].upper() == area and (byte := _byte(symbol.location)) is not None:
            return symbol.offset - byte
    return 0


def _byte(location: str) -> int | None:
    """Byte address of a direct address: %IX3.1 -> 3, %QW1 -> 2 (IEC 61131-3 §6.5.5, by size of the element)."""
    size = {"X": 1, "B": 1, "W": 2, "D": 4, "L": 8}.get(location[2:3].upper())
    digits = location[3:] if size else location[2:]
    first = digits.split(".")[0]
    return int(first) * (size or 1) if first.isdigit() else None


def artifact_of(folder: pathlib.Path) -> bytes:
    """The artifact of a plant folder. Raises the problems of plant file and program."""
    load_plant(folder)
    try:
        return build_folder(folder).data
    except TickworkError as error:
        raise TickworkError(*(_in_folder(problem, folder) for problem in error.problems)) from error


def build_folder(folder: pathlib.Path) -> programs.Artifact:
    """Raises the problems of the program."""
    settings, plant, sources = programs.read_folder(folder)
    return programs.build_files(plant, sources, settings)


def open_plant(data: bytes, path: pathlib.Path) -> Plant:
    """The plant file inside an artifact."""
    return parse_plant(programs.open_artifact(data).plant_text, folder=path.parent, file=FILE_NAME)


def run(options: argparse.Namespace, tell: Tell) -> None:
    """One job: artifact (from a folder, or given) to native code, both kept by digest."""
    if options.folder:
        tell("progress", text="checking the program")
        data = artifact_of(options.folder)
    else:
        data = options.artifact.read_bytes()
    artifact = programs.open_artifact(data)
    kept = options.artifacts / f"{artifact.digest}.twa"
    if not kept.exists():
        write_atomically(kept, data)
    tell("progress", text="making machine code")
    application = programs.compile_artifact(
        artifact,
        cache_dir=options.cache,
        progress=lambda done, count: tell("progress", text=f"machine code: {done} of {count} parts"),
    )
    path = options.cache / f"{artifact.digest[:32]}.app"
    write_atomically(path, encode_application(application), durable=False)
    plant = path.with_suffix(".toml")
    write_atomically(plant, artifact.plant_text.encode(), durable=False)
    tell("built", artifact=artifact.digest, application=str(path), plant=str(plant))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m runtime.build_job")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--folder", type=pathlib.Path)
    source.add_argument("--artifact", type=pathlib.Path)
    parser.add_argument("--artifacts", type=pathlib.Path, required=True)
    parser.add_argument("--cache", type=pathlib.Path, required=True)

    def tell(event: str, **fields: object) -> None:
        sys.stdout.buffer.write(msgspec.json.encode({"event": event, **fields}) + b"\n")
        sys.stdout.buffer.flush()

    try:
        run(parser.parse_args(), tell)
    except TickworkError as error:
        tell("problems", problems=[msgspec.to_builtins(problem) for problem in error.problems])
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
