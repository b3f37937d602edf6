"""Tables of the configuration file, as migrations: each runs once, in order, and is never edited afterwards."""

from __future__ import annotations

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from supervisor.alarm_schema import TABLES as ALARM_TABLES
from supervisor.notify_schema import TABLES as NOTIFY_TABLES

MIGRATIONS = Migrations("tickwork_supervisor")

_FIRST = """
CREATE TABLE setting(key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE user(
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE COLLATE NOCASE, full_name TEXT NOT NULL, role TEXT NOT NULL,
    enabled INTEGER NOT NULL, password TEXT NOT NULL, created_ns INTEGER NOT NULL,
    last_login_ns INTEGER NOT NULL DEFAULT 0, failures INTEGER NOT NULL DEFAULT 0,
    locked_until_ns INTEGER NOT NULL DEFAULT 0);
CREATE TABLE session(
    digest TEXT PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES user(id) ON DELETE CASCADE, csrf TEXT NOT NULL,
    created_ns INTEGER NOT NULL, used_ns INTEGER NOT NULL, expires_ns INTEGER NOT NULL, address TEXT NOT NULL);
CREATE TABLE api_key(
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, digest TEXT NOT NULL UNIQUE, role TEXT NOT NULL, nodes TEXT NOT NULL,
    created_by TEXT NOT NULL, created_ns INTEGER NOT NULL, expires_ns INTEGER NOT NULL,
    last_used_ns INTEGER NOT NULL DEFAULT 0, revoked INTEGER NOT NULL DEFAULT 0);
CREATE TABLE enrolment_token(
    id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, node TEXT NOT NULL, created_by TEXT NOT NULL,
    created_ns INTEGER NOT NULL, expires_ns INTEGER NOT NULL, used_ns INTEGER NOT NULL DEFAULT 0,
    used_by TEXT NOT NULL DEFAULT '');
CREATE TABLE node(
    node_id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, public_key TEXT NOT NULL, version TEXT NOT NULL,
    enrolled_ns INTEGER NOT NULL, revoked_ns INTEGER NOT NULL DEFAULT 0, seen_ns INTEGER NOT NULL DEFAULT 0,
    status BLOB);
CREATE TABLE described(
    node_id TEXT NOT NULL REFERENCES node(node_id), digest TEXT NOT NULL, describe BLOB NOT NULL,
    at_ns INTEGER NOT NULL, PRIMARY KEY(node_id, digest));
CREATE TABLE project(
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, draft TEXT NOT NULL, changed_ns INTEGER NOT NULL,
    changed_by TEXT NOT NULL, created_ns INTEGER NOT NULL);
CREATE TABLE version(
    project_id INTEGER NOT NULL REFERENCES project(id), number INTEGER NOT NULL, message TEXT NOT NULL,
    created_ns INTEGER NOT NULL, created_by TEXT NOT NULL, files TEXT NOT NULL, artifact TEXT NOT NULL,
    PRIMARY KEY(project_id, number));
CREATE TABLE source(digest TEXT PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE deployment(
    id INTEGER PRIMARY KEY, artifact TEXT NOT NULL, application TEXT NOT NULL, project_id INTEGER NOT NULL,
    version INTEGER NOT NULL, created_ns INTEGER NOT NULL, created_by TEXT NOT NULL, reason TEXT NOT NULL,
    cold INTEGER NOT NULL);
CREATE TABLE target(
    deployment_id INTEGER NOT NULL REFERENCES deployment(id), node_id TEXT NOT NULL, node TEXT NOT NULL,
    state TEXT NOT NULL, changed_ns INTEGER NOT NULL, deadline_ns INTEGER NOT NULL, digest TEXT NOT NULL DEFAULT '',
    problems TEXT NOT NULL DEFAULT '[]', timeline TEXT NOT NULL DEFAULT '[]', PRIMARY KEY(deployment_id, node_id));
CREATE INDEX target_open ON target(state, node_id);
CREATE TABLE command(
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, node_id TEXT NOT NULL, kind TEXT NOT NULL,
    "values" TEXT NOT NULL, expected TEXT NOT NULL, state TEXT NOT NULL, user TEXT NOT NULL, reason TEXT NOT NULL,
    created_ns INTEGER NOT NULL, changed_ns INTEGER NOT NULL, expires_ns INTEGER NOT NULL, lease_s INTEGER NOT NULL,
    idempotency_key TEXT UNIQUE, scan INTEGER NOT NULL DEFAULT 0, value TEXT NOT NULL DEFAULT '', problem TEXT);
CREATE INDEX command_open ON command(state, node_id);
CREATE INDEX command_by_node ON command(node_id, number);
CREATE TABLE audit(
    id INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, actor TEXT NOT NULL, role TEXT NOT NULL, via TEXT NOT NULL,
    address TEXT NOT NULL, action TEXT NOT NULL, about TEXT NOT NULL, result TEXT NOT NULL, old TEXT NOT NULL,
    new TEXT NOT NULL, reason TEXT NOT NULL, hash TEXT NOT NULL);
CREATE TRIGGER audit_is_not_edited BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit journal only grows'); END;
CREATE TRIGGER audit_is_not_cut BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit journal only grows'); END;
"""


@MIGRATIONS()
def first_tables(db: Database) -> None:
    for statement in _statements(_FIRST):
        db.execute(statement)


@MIGRATIONS()
def screens(db: Database) -> None:
    for statement in _statements(_SCREENS):
        db.execute(statement)


_SCREENS = """
CREATE TABLE screen(
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE COLLATE NOCASE, runtime TEXT NOT NULL, number INTEGER NOT NULL,
    changed_ns INTEGER NOT NULL, changed_by TEXT NOT NULL);
CREATE TABLE screen_version(
    screen_id INTEGER NOT NULL REFERENCES screen(id) ON DELETE CASCADE, number INTEGER NOT NULL, svg TEXT NOT NULL,
    created_ns INTEGER NOT NULL, created_by TEXT NOT NULL, PRIMARY KEY(screen_id, number));
"""


@MIGRATIONS()
def alarm_tables(db: Database) -> None:
    for statement in _statements(ALARM_TABLES):
        db.execute(statement)


@MIGRATIONS()
def notify_tables(db: Database) -> None:
    for statement in _statements(NOTIFY_TABLES):
        db.execute(statement)


@MIGRATIONS()
def watch_lists(db: Database) -> None:
    db.execute(
        "CREATE TABLE watch_list(id INTEGER PRIMARY KEY, owner TEXT NOT NULL, name TEXT NOT NULL, "
        "shared INTEGER NOT NULL, tags TEXT NOT NULL, changed_ns INTEGER NOT NULL, UNIQUE(owner, name))"
    )


def _statements(script: str) -> list[str]:
    """The statements one by one: ``executescript`` would commit the migration's transaction."""
    found, current = [], ""
    for line in script.strip().splitlines():
        current += line + "\n"
        if line.endswith(";") and ("BEGIN" not in current or line.endswith("END;")):
            found.append(current)
            current = ""
    return found
