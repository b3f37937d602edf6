"""Notifications: who is told of which alarms, when, by which channel, and where each message stands."""

from supervisor.notify.follower import facts_of
from supervisor.notify.model import (
    Channel,
    Delivery,
    Overview,
    Person,
    Pipeline,
    Roster,
    Rule,
    Run,
    Schedule,
    Settings,
)
from supervisor.notify.service import NotifyService
from supervisor.notify.vault import Vault

__all__ = [
    "Channel",
    "Delivery",
    "NotifyService",
    "Overview",
    "Person",
    "Pipeline",
    "Roster",
    "Rule",
    "Run",
    "Schedule",
    "Settings",
    "Vault",
    "facts_of",
]
