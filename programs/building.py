"""From a plant's folder to a checked program, an artifact, an application.

Of ``plant.toml`` only what decides the program is read here: [program] (sources, dialect), [[task]] and the name. The
runtime reads and checks the whole file.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from programs import hir
from programs.artifact import PLANT, Artifact, open_artifact, pack
from programs.blocks_compile import compile_block, versions
from programs.check import CheckResult, check
from programs.check_mocks import Mocks
from programs.layout import BLOCK_SIZE_MAX, BlockLayout, TooLargeError
from programs.layout_symbols import SymbolTable
from programs.libraries import is_vendored, read_vendored, split
from programs.native import GENERATOR_VERSION, Progress, compile_program
from programs.native_cache import Cache
from programs.native_target import Target, host_target
from programs.source import Source, SourceSet
from programs.user_blocks import SUFFIX, read_blocks
from scan.abi import Application, decode_application, encode_application
from scan.problem import Place, Problem, TickworkError, fail

SOURCE_PATTERNS = ("*.st",)
SOURCE_FILES_MAX = 5_000
SOURCE_BYTES_MAX = 20_000_000


class TaskChange(msgspec.Struct, frozen=True):
    """[[task]] in the plant file: another period or priority for a task of the program."""

    name: str
    period_ms: float | None = None
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """The part of the plant file that decides the program."""

    name: str
    sources: tuple[str, ...]
    dialect: str
    tasks: tuple[TaskChange, ...]


def read_settings(text: str, name: str) -> Settings:
    """``name`` is used where the file gives none. Raises TickworkError AR2001 on a file that cannot be read."""
    try:
        table = tomllib.loads(text)
        program = table.get("program", {})
        return Settings(
            name=msgspec.convert(table.get("node", {}).get("name", name), str),
            sources=msgspec.convert(program.get("sources", list(SOURCE_PATTERNS)), tuple[str, ...]),
            dialect=msgspec.convert(program.get("dialect", "iec"), str),
            tasks=msgspec.convert(table.get("task", []), tuple[TaskChange, ...]),
        )
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, AttributeError, RecursionError) as error:
        raise fail(
            "AR2001", "The plant file cannot be read", place=Place(PLANT), found=str(error),
            remedy="correct the line that the message names; see docs/plant-file.md",
        ) from error  # fmt: skip


def read_folder(folder: Path) -> tuple[Settings, bytes, dict[str, bytes]]:
    """Settings, plant file and sources (by path relative to the folder). Raises TickworkError AR2001 to AR2003."""
    plant = folder / PLANT
    try:
        text = plant.read_bytes()
    except OSError as error:
        raise fail(
            "AR2001", f"There is no plant in {folder}", place=Place(str(plant)), found=error.strerror or str(error),
            expected=PLANT, remedy="name the folder that holds plant.toml",
        ) from error  # fmt: skip
    settings = read_settings(text.decode("utf-8", "replace"), folder.resolve().name)
    return settings, text, _read_sources(folder, settings) | read_vendored(folder)


def _read_sources(folder: Path, settings: Settings) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for pattern in settings.sources:
        try:
            paths = sorted(
                path
                for path in folder.glob(pattern)
                if path.is_file() and not is_vendored(path.relative_to(folder).as_posix())
            )
        except (ValueError, NotImplementedError) as error:
            raise _no_sources(pattern) from error
        if not paths:
            raise _no_sources(pattern)
        for path in paths:
            try:
                name = path.resolve().relative_to(folder.resolve()).as_posix()
                found[name] = path.read_bytes()
            except (OSError, ValueError) as error:
                raise fail(
                    "AR2003", "A source cannot be read", place=Place(str(path)), found=str(error),
                    remedy="sources must be readable and lie inside the plant's folder",
                ) from error  # fmt: skip
    size = sum(map(len, found.values()))
    if len(found) > SOURCE_FILES_MAX or size > SOURCE_BYTES_MAX:
        raise fail(
            "AR1002", "The sources are too large",
            expected=f"{SOURCE_FILES_MAX} files, {SOURCE_BYTES_MAX} bytes at most",
            found=f"{len(found)} files, {size} bytes", remedy="name fewer files in [program] sources",
        )  # fmt: skip
    return found


def _no_sources(pattern: str) -> TickworkError:
    return fail(
        "AR2002", f"No source matches {pattern!r}", place=Place(PLANT), expected="at least one file for each pattern",
        remedy="correct `sources` in [program] of plant.toml, or add the file",
    )  # fmt: skip


def program_digest(settings: Settings, sources: Mapping[str, bytes]) -> str:
    """Identity of a program's behaviour: sources, the settings above and the generator's version."""
    digest = hashlib.sha256()
    parts = [settings.name, settings.dialect, repr(settings.tasks), f"generator {GENERATOR_VERSION}"]
    for path, data in sorted(sources.items()):
        parts += [path, hashlib.sha256(data).hexdigest()]
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def check_sources(
    settings: Settings, sources: Mapping[str, bytes], *, mocks: Mocks | None = None
) -> CheckResult:
    """Parse and check; task settings of the plant file are applied to the program. ``mocks``: for tests."""
    texts = SourceSet()
    parts = split(sources, texts)
    added: list[Source] = [
        texts.add(path, data) for path, data in sorted(parts.own.items()) if not path.endswith(SUFFIX)
    ]
    blocks, found = read_blocks(parts.own)
    found = [*found, *parts.problems]
    result = check(
        added,
        dialect=settings.dialect,
        name=settings.name,
        blocks=blocks,
        mocks=mocks,
        libraries=parts.libraries,
    )
    if found:
        # With a library missing every use of it would be a further error.
        result = CheckResult((*found, *(() if parts.problems else result.problems)), None)
    if result.program is None:
        return result
    problems = _change_tasks(result.program, settings.tasks)
    if problems:
        return replace(result, problems=(*result.problems, *problems), program=None)
    return result


def _change_tasks(program: hir.Program, changes: tuple[TaskChange, ...]) -> tuple[Problem, ...]:
    tasks = {task.name.upper(): task for task in program.tasks}
    problems = []
    for change in changes:
        task = tasks.get(change.name.upper())
        if task is None:
            problems.append(
                Problem(
                    "AR2004", f"The program has no task {change.name}", Place(PLANT), found=change.name,
                    expected=", ".join(one.name for one in program.tasks) or "no [[task]] at all",
                    remedy="correct the name in [[task]], or declare the task in a CONFIGURATION",
                )
            )  # fmt: skip
            continue
        if change.period_ms is not None:
            task.period_ns = round(change.period_ms * 1e6)
        if change.priority is not None:
            task.priority = change.priority
    return tuple(problems)


def check_folder(folder: Path) -> CheckResult:
    """Check the program of a plant's folder. Raises TickworkError AR2001 to AR2003 if it cannot be read."""
    settings, _, sources = read_folder(folder)
    return check_sources(settings, sources)


def check_blocks(program: hir.Program, cache_dir: Path | None = None) -> tuple[Problem, ...]:
    """What has no machine code of the plant's blocks in Python (ST5003): they are compiled for it, never run."""
    problems: list[Problem] = []
    for block in program.blocks.values():
        try:
            compile_block(block, Cache(cache_dir))
        except TickworkError as error:
            problems += error.problems
    return tuple(problems)


def checked(
    settings: Settings, sources: Mapping[str, bytes], *, mocks: Mocks | None = None
) -> tuple[hir.Program, tuple[Problem, ...]]:
    """The program and its warnings. Raises TickworkError with all problems if there is an error among them."""
    result = check_sources(settings, sources, mocks=mocks)
    if result.program is None:
        raise TickworkError(*result.problems)
    return result.program, tuple(result.problems)


def build(folder: Path) -> Artifact:
    """Check a plant's program and pack it. Raises TickworkError with the problems of the program."""
    settings, plant, sources = read_folder(folder)
    return build_files(plant, sources, settings)


def build_files(plant: bytes, sources: Mapping[str, bytes], settings: Settings | None = None) -> Artifact:
    """As ``build``, from the texts themselves; ``sources`` by relative path."""
    settings = settings or read_settings(plant.decode("utf-8", "replace"), "plant")
    program, _ = checked(settings, sources)
    symbols = SymbolTable(_layout(program)).collect()
    return pack(
        name=settings.name, program=program_digest(settings, sources), dialect=settings.dialect,
        generator=GENERATOR_VERSION, plant=plant, sources=sources, symbols=symbols,
    )  # fmt: skip


def _layout(program: hir.Program) -> BlockLayout:
    try:
        return BlockLayout(program)
    except TooLargeError as error:
        raise fail(
            "ST5004", "The variables of the program need too much memory",
            expected=f"{BLOCK_SIZE_MAX} bytes at most", found=f"{error} bytes", remedy="make arrays smaller",
        ) from error  # fmt: skip


def compile_sources(
    settings: Settings, sources: Mapping[str, bytes], *, cache_dir: Path | None = None,
    target: Target | None = None, progress: Progress | None = None,
) -> Application:  # fmt: skip
    """Check and compile to native code for this machine (or ``target``)."""
    cache = Cache(cache_dir)
    target = target or host_target()
    digest = program_digest(settings, sources)
    key = hashlib.sha256(f"application {digest} {versions()} {target}".encode()).hexdigest()
    known = _known(cache.get(key))
    if known is not None:
        return known
    program, _ = checked(settings, sources)
    _layout(program)
    application = compile_program(program, digest=digest, cache=cache, target=target, progress=progress)
    cache.put(key, encode_application(application))
    return application


def _known(data: bytes | None) -> Application | None:
    """An application from the cache; what another version has left there counts as missing."""
    if data is None:
        return None
    try:
        return decode_application(data)
    except msgspec.MsgspecError:
        return None


def compile_artifact(
    source: Artifact | bytes | Path, *, cache_dir: Path | None = None, progress: Progress | None = None
) -> Application:
    """Native code of an artifact, its bytes, or a plant's folder. Raises TickworkError with all problems."""
    if isinstance(source, Path):
        settings, _, sources = read_folder(source)
    else:
        artifact = open_artifact(source) if isinstance(source, bytes) else source
        settings = read_settings(artifact.plant_text, artifact.manifest.name)
        sources = artifact.sources()
    return compile_sources(settings, sources, cache_dir=cache_dir, progress=progress)
