"""Tables of notifications in the configuration file. ``body``: JSON of the structs of ``supervisor.notify.model``."""

from __future__ import annotations

TABLES = """
CREATE TABLE notify_item(
    kind TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL, changed_ns INTEGER NOT NULL,
    changed_by TEXT NOT NULL, PRIMARY KEY(kind, name));
CREATE TABLE notify_secret(channel TEXT PRIMARY KEY, sealed BLOB NOT NULL);
CREATE TABLE notify_cursor(one INTEGER PRIMARY KEY CHECK(one = 1), entry_id INTEGER NOT NULL);
CREATE TABLE notify_run(
    id INTEGER PRIMARY KEY AUTOINCREMENT, rule TEXT NOT NULL, entry_id INTEGER NOT NULL, node_id TEXT NOT NULL,
    alarm TEXT NOT NULL, state TEXT NOT NULL, due_ns INTEGER NOT NULL, body BLOB NOT NULL, UNIQUE(rule, entry_id));
CREATE INDEX notify_run_due ON notify_run(state, due_ns);
CREATE INDEX notify_run_alarm ON notify_run(node_id, alarm, state);
CREATE TABLE notify_delivery(
    id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, channel TEXT NOT NULL, address TEXT NOT NULL,
    state TEXT NOT NULL, next_ns INTEGER NOT NULL, sealed_ns INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX notify_delivery_due ON notify_delivery(state, next_ns);
CREATE INDEX notify_delivery_address ON notify_delivery(channel, address, sealed_ns);
CREATE TABLE notify_mention(
    delivery_id INTEGER NOT NULL REFERENCES notify_delivery(id) ON DELETE CASCADE, run_id INTEGER NOT NULL,
    visit INTEGER NOT NULL, channel TEXT NOT NULL, address TEXT NOT NULL, level INTEGER NOT NULL,
    PRIMARY KEY(run_id, visit, channel, address));
CREATE INDEX notify_mention_delivery ON notify_mention(delivery_id);
CREATE TABLE notify_breaker(channel TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE notify_mute(rule TEXT PRIMARY KEY, body BLOB NOT NULL);
"""
