"""``services.People``: users with sessions, API keys and enrolment tokens."""

from __future__ import annotations

from collections.abc import Callable

from supervisor.accounts import Accounts
from supervisor.config_store import ConfigStore
from supervisor.keys import Keys
from supervisor.secrets_store import Passwords


class PeopleService(Accounts, Keys):
    def __init__(self, store: ConfigStore, now_ns: Callable[[], int], passwords: Passwords) -> None:
        Accounts.__init__(self, store, now_ns, passwords)
        Keys.__init__(self, store, now_ns)
