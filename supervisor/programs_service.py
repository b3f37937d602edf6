"""``services.Programs``: projects with an editable draft and versions that never change.

A version lists its files by digest of their text; a text is stored once, however many versions have it.
"""

from __future__ import annotations

import asyncio
import difflib
import hashlib
import re
from collections.abc import Callable

import msgspec
from sqlite_utils import Database

from scan.problem import Place, fail
from supervisor import audit
from supervisor.archive import check_files, check_path, read_zip
from supervisor.artifacts import Artifacts
from supervisor.compiler import Compiler, ProgramTests
from supervisor.config_store import ConfigStore, Row, one, rows
from supervisor.language import Language
from supervisor.language_worker import Help, Question
from supervisor.model import Actor, CheckReport, FileDiff, Project, ProjectDetail, Role, SourceFile, Version
from supervisor.problems import exists_already, not_found, not_understood, require

PROJECTS_MAX = 1000
DIFF_CONTEXT_LINES = 3
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_. -]{0,62}")
_HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@")
Digests = dict[str, str]  # path -> digest of the text


class ProgramService:
    def __init__(
        self,
        store: ConfigStore,
        compiler: Compiler,
        language: Language,
        artifacts: Artifacts,
        now_ns: Callable[[], int],
    ) -> None:
        self._store = store
        self._compiler = compiler
        self._artifacts = artifacts
        self._now_ns = now_ns
        self._language = language

    # ------------------------------------------------------------ reading

    async def projects(self, actor: Actor) -> tuple[Project, ...]:
        require(actor, Role.VIEWER)
        return await self._store.run(
            lambda db: tuple(_project(db, row) for row in rows(db, "SELECT * FROM project ORDER BY name"))
        )

    async def project(self, actor: Actor, project_id: int) -> ProjectDetail:
        require(actor, Role.VIEWER)
        return await self._store.run(lambda db: _detail(db, _row(db, project_id)))

    async def version(self, actor: Actor, project_id: int, number: int) -> tuple[SourceFile, ...]:
        require(actor, Role.VIEWER)
        return await self._store.run(lambda db: _texts(db, _files_of(db, project_id, number)))

    async def diff(self, actor: Actor, project_id: int, old: int, new: int) -> tuple[FileDiff, ...]:
        require(actor, Role.VIEWER)

        def work(db: Database) -> tuple[tuple[SourceFile, ...], tuple[SourceFile, ...]]:
            return _texts(db, _files_of(db, project_id, old)), _texts(db, _files_of(db, project_id, new))

        before, after = await self._store.run(work)
        return await asyncio.to_thread(_diff, before, after)

    # ------------------------------------------------------------ the draft

    async def create(self, actor: Actor, name: str, files: tuple[SourceFile, ...]) -> ProjectDetail:
        require(actor, Role.ENGINEER)
        if not _NAME.fullmatch(name):
            raise not_understood(
                "a name of letters, digits, spaces, '.', '_' and '-', at most 63 characters", name
            )
        files = check_files(files)

        def work(db: Database) -> ProjectDetail:
            if one(db, "SELECT id FROM project WHERE name=?", name):
                raise exists_already("project", name)
            if len(rows(db, "SELECT id FROM project")) >= PROJECTS_MAX:
                raise fail("SV1007", "there are too many projects", expected=f"at most {PROJECTS_MAX}")
            now = self._now_ns()
            number = db.table("project").insert(
                {"name": name, "draft": _store_texts(db, files), "changed_ns": now, "changed_by": actor.name,
                 "created_ns": now}
            ).last_pk  # fmt: skip
            audit.record(
                db, actor, "project.create", f"project {name}", now_ns=now, new=f"{len(files)} files"
            )
            return _detail(db, _row(db, int(number or 0)))

        return await self._store.run(work)

    async def upload(self, actor: Actor, name: str, archive: bytes) -> ProjectDetail:
        require(actor, Role.ENGINEER)
        files = await asyncio.to_thread(read_zip, archive)
        found = await self._store.run(lambda db: one(db, "SELECT * FROM project WHERE name=?", name))
        if found is None:
            return await self.create(actor, name, files)

        def work(db: Database) -> ProjectDetail:
            self._write_draft(
                db, actor, found, _store_texts(db, files), "project.upload", f"{len(files)} files"
            )
            return _detail(db, _row(db, found["id"]))

        return await self._store.run(work)

    async def save(
        self, actor: Actor, project_id: int, path: str, text: str, *, draft_digest: str = ""
    ) -> Project:
        require(actor, Role.ENGINEER)
        check_path(path)
        text = text.replace("\r\n", "\n")  # forms send CRLF

        def work(db: Database) -> Project:
            row = _row(db, project_id)
            if draft_digest and draft_digest != _digest(row["draft"]):
                raise fail(
                    "SV1006",
                    "the draft was changed by somebody else meanwhile",
                    found=f"last change by {row['changed_by']}",
                    remedy="load the page again, look at what changed, then repeat your change",
                )
            others = tuple(file for file in _texts(db, _draft(row)) if file.path != path)
            draft = _store_texts(db, check_files((*others, SourceFile(path, text))))
            self._write_draft(db, actor, row, draft, "project.save", path)
            return _project(db, _row(db, project_id))

        return await self._store.run(work)

    async def remove(self, actor: Actor, project_id: int, path: str) -> Project:
        require(actor, Role.ENGINEER)

        def work(db: Database) -> Project:
            row = _row(db, project_id)
            draft = _draft(row)
            if draft.pop(path, None) is None:
                raise not_found("file", path)
            self._write_draft(db, actor, row, _json(draft), "project.remove", path)
            return _project(db, _row(db, project_id))

        return await self._store.run(work)

    def _write_draft(self, db: Database, actor: Actor, row: Row, draft: str, action: str, what: str) -> None:
        now = self._now_ns()
        db.table("project").update(row["id"], {"draft": draft, "changed_ns": now, "changed_by": actor.name})
        audit.record(
            db, actor, action, f"project {row['name']}", now_ns=now,
            old=_digest(row["draft"])[:12], new=f"{what} {_digest(draft)[:12]}",
        )  # fmt: skip

    # ------------------------------------------------------------ check and publish

    async def check(self, actor: Actor, project_id: int, files: tuple[SourceFile, ...] = ()) -> CheckReport:
        require(actor, Role.VIEWER)
        row, draft = await self._store.run(lambda db: _with_texts(db, project_id))
        edited = {file.path: file for file in files}
        merged = {file.path: file for file in draft} | edited
        return await self._compiler.check(check_files(tuple(merged.values())), _digest(row["draft"]))

    async def test(self, actor: Actor, project_id: int, files: tuple[SourceFile, ...] = ()) -> ProgramTests:
        require(actor, Role.VIEWER)
        return await self._compiler.test(await self._merged(project_id, files))

    async def help(self, actor: Actor, project_id: int, edited: SourceFile, place: Place, what: str) -> Help:
        require(actor, Role.VIEWER)
        files = {file.path: file.text for file in await self._merged(project_id, (edited,))}
        return await self._language.ask(Question(what, files, edited.path, place.line, place.column))

    async def _merged(self, project_id: int, files: tuple[SourceFile, ...]) -> tuple[SourceFile, ...]:
        """The draft with files that are being edited in place of its own."""
        _, draft = await self._store.run(lambda db: _with_texts(db, project_id))
        merged = {file.path: file for file in draft} | {file.path: file for file in files}
        return check_files(tuple(merged.values()))

    async def publish(self, actor: Actor, project_id: int, message: str) -> Version:
        require(actor, Role.ENGINEER)
        row, files = await self._store.run(lambda db: _with_texts(db, project_id))
        artifact = await self._compiler.build(files)
        digest = (await self._artifacts.take_in(artifact)).digest

        def work(db: Database) -> Version:
            now = self._now_ns()
            newest = one(db, "SELECT max(number) AS number FROM version WHERE project_id=?", project_id)
            number = int((newest or {}).get("number") or 0) + 1
            db.table("version").insert(
                {"project_id": project_id, "number": number, "message": message[:500], "created_ns": now,
                 "created_by": actor.name, "files": row["draft"], "artifact": digest}
            )  # fmt: skip
            audit.record(db, actor, "project.publish", f"project {row['name']}", now_ns=now,
                         new=f"version {number}, artifact {digest[:12]}", reason=message[:500])  # fmt: skip
            return Version(project_id, number, message[:500], now, actor.name, digest)

        return await self._store.run(work)


# ---------------------------------------------------------------- rows and texts


def _row(db: Database, project_id: int) -> Row:
    row = one(db, "SELECT * FROM project WHERE id=?", project_id)
    if row is None:
        raise not_found("project", project_id)
    return row


def _project(db: Database, row: Row) -> Project:
    newest = one(
        db, "SELECT number, files FROM version WHERE project_id=? ORDER BY number DESC LIMIT 1", row["id"]
    )
    return Project(
        row["id"],
        row["name"],
        newest["number"] if newest else 0,
        row["changed_ns"],
        row["changed_by"],
        _digest(row["draft"]),
        newest is None or newest["files"] != row["draft"],
    )


def _detail(db: Database, row: Row) -> ProjectDetail:
    found = rows(db, "SELECT * FROM version WHERE project_id=? ORDER BY number DESC", row["id"])
    versions = tuple(
        Version(v["project_id"], v["number"], v["message"], v["created_ns"], v["created_by"], v["artifact"])
        for v in found
    )
    return ProjectDetail(_project(db, row), _texts(db, _draft(row)), versions)


def _with_texts(db: Database, project_id: int) -> tuple[Row, tuple[SourceFile, ...]]:
    row = _row(db, project_id)
    return row, _texts(db, _draft(row))


def _draft(row: Row) -> Digests:
    return msgspec.json.decode(row["draft"], type=Digests)


def _files_of(db: Database, project_id: int, number: int) -> Digests:
    """Of a version; number 0 is the draft."""
    if number == 0:
        return _draft(_row(db, project_id))
    row = one(db, "SELECT files FROM version WHERE project_id=? AND number=?", project_id, number)
    if row is None:
        raise not_found("version", number)
    return msgspec.json.decode(row["files"], type=Digests)


def _texts(db: Database, files: Digests) -> tuple[SourceFile, ...]:
    found = []
    for path, digest in files.items():
        row = one(db, "SELECT text FROM source WHERE digest=?", digest)
        found.append(SourceFile(path, row["text"] if row else ""))
    return tuple(found)


def _store_texts(db: Database, files: tuple[SourceFile, ...]) -> str:
    digests = {}
    for file in files:
        digest = hashlib.sha256(file.text.encode()).hexdigest()
        db.execute("INSERT OR IGNORE INTO source VALUES(?,?)", [digest, file.text])
        digests[file.path] = digest
    return _json(digests)


def _json(digests: Digests) -> str:
    return msgspec.json.encode(dict(sorted(digests.items()))).decode()


def _digest(draft: str) -> str:
    return hashlib.sha256(draft.encode()).hexdigest()


# ---------------------------------------------------------------- differences


def _diff(before: tuple[SourceFile, ...], after: tuple[SourceFile, ...]) -> tuple[FileDiff, ...]:
    old = {file.path: file.text.splitlines() for file in before}
    new = {file.path: file.text.splitlines() for file in after}
    found = []
    for path in sorted(old.keys() | new.keys()):
        if old.get(path) != new.get(path):
            change = "changed" if path in old and path in new else "added" if path in new else "removed"
            found.append(FileDiff(path, change, _lines(old.get(path, []), new.get(path, []))))  # type: ignore[arg-type]
    return tuple(found)


def _lines(old: list[str], new: list[str]) -> tuple[tuple[str, int, int, str], ...]:
    result: list[tuple[str, int, int, str]] = []
    at_old = at_new = 0
    for line in list(difflib.unified_diff(old, new, n=DIFF_CONTEXT_LINES, lineterm=""))[2:]:
        mark, text = line[:1], line[1:]
        hunk = _HUNK.match(line)
        if hunk:
            at_old, at_new = int(hunk[1]), int(hunk[2])
            result.append(("@", at_old, at_new, line))
            continue
        result.append((mark, at_old if mark != "+" else 0, at_new if mark != "-" else 0, text))
        at_old += mark != "+"
        at_new += mark != "-"
    return tuple(result)
