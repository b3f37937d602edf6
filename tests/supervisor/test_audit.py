"""The audit journal: append-only, and a change by whoever has the file shows."""

from __future__ import annotations

import sqlite3

import pytest

from supervisor import audit
from supervisor.audit import AuditJournal
from supervisor.config_store import ConfigStore
from supervisor.model import Actor, Page, Role

ACTOR = Actor("mara", Role.ENGINEER, "page", "10.0.0.7")


@pytest.fixture
def store(tmp_path):
    opened = ConfigStore(tmp_path / "config.db")
    yield opened
    opened.close()


async def fill(store, count: int) -> None:
    for number in range(count):
        await store.run(
            lambda db, n=number: audit.record(
                db, ACTOR, "project.save", f"project {n}", now_ns=n, old="a", new="b"
            )
        )


async def test_entries_when_filtered_then_newest_first_with_who_what_when(store):
    await fill(store, 5)
    journal = AuditJournal(store, lambda: 99)
    await journal.refused(ACTOR, "access.refused", "POST /x", "no")
    found = await journal.entries(ACTOR, action="project", page=Page(limit=2))
    assert [(e.id, e.about, e.address, e.old, e.new) for e in found] == [
        (5, "project 4", "10.0.0.7", "a", "b"), (4, "project 3", "10.0.0.7", "a", "b"),
    ]  # fmt: skip
    assert (await journal.entries(ACTOR, who="eve")) == ()


async def test_verify_when_untouched_then_ok_with_head(store):
    await fill(store, 20)
    verdict = await AuditJournal(store, lambda: 99).verify(ACTOR)
    assert (verdict.ok, verdict.entries, verdict.checked_ns) == (True, 20, 99)


@pytest.mark.parametrize("sql", ["UPDATE audit SET actor='eve' WHERE id=7", "DELETE FROM audit WHERE id=7"])
async def test_audit_when_edited_through_the_table_then_refused(store, sql):
    await fill(store, 10)
    with pytest.raises(sqlite3.IntegrityError):
        await store.run(lambda db: db.execute(sql))


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE audit SET actor='eve' WHERE id=7",
        "DELETE FROM audit WHERE id=7",
        "UPDATE audit SET hash=(SELECT hash FROM audit WHERE id=3) WHERE id=7",
    ],
)
async def test_verify_when_file_was_tampered_with_then_first_bad_entry_is_named(tmp_path, sql):
    store = ConfigStore(tmp_path / "other.db")
    await fill(store, 10)
    store.close()
    with sqlite3.connect(tmp_path / "other.db") as file:
        file.execute("DROP TRIGGER audit_is_not_edited")
        file.execute("DROP TRIGGER audit_is_not_cut")
        file.execute(sql)
    file.close()
    again = ConfigStore(tmp_path / "other.db")
    verdict = await AuditJournal(again, lambda: 1).verify(ACTOR)
    again.close()
    assert not verdict.ok
    assert verdict.first_bad_id in (7, 8)
