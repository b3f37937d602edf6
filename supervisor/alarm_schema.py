"""Tables of alarms in the configuration file; the last three are those of ``runtime.alarms.store``."""

from __future__ import annotations

TABLES = """
CREATE TABLE alarm_entry(
    id INTEGER PRIMARY KEY AUTOINCREMENT, node_id TEXT NOT NULL, epoch TEXT NOT NULL, seq INTEGER NOT NULL,
    time_ns INTEGER NOT NULL, received_ns INTEGER NOT NULL, alarm TEXT NOT NULL, event TEXT NOT NULL,
    priority INTEGER NOT NULL, user TEXT NOT NULL, entry BLOB NOT NULL, UNIQUE(node_id, epoch, seq));
CREATE INDEX alarm_entry_time ON alarm_entry(time_ns);
CREATE INDEX alarm_entry_raised ON alarm_entry(event, time_ns);
CREATE TABLE alarm_standing(
    node_id TEXT NOT NULL, name TEXT NOT NULL, epoch TEXT NOT NULL, seq INTEGER NOT NULL, standing BLOB NOT NULL,
    PRIMARY KEY(node_id, name));
CREATE TABLE alarm_table(
    node_id TEXT PRIMARY KEY, epoch TEXT NOT NULL, at_seq INTEGER NOT NULL, definitions BLOB NOT NULL,
    page TEXT NOT NULL, page_version INTEGER NOT NULL, at_ns INTEGER NOT NULL);
CREATE TABLE alarm_version(
    node_id TEXT NOT NULL, number INTEGER NOT NULL, text TEXT NOT NULL, created_ns INTEGER NOT NULL,
    created_by TEXT NOT NULL, message TEXT NOT NULL, command_id TEXT NOT NULL DEFAULT '',
    PRIMARY KEY(node_id, number));
CREATE TABLE alarm_life(name TEXT PRIMARY KEY, life BLOB NOT NULL);
CREATE TABLE alarm_kept(key TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE alarm_line(seq INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, entry BLOB NOT NULL);
"""
