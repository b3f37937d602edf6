"""The recorded values of what alarms look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from runtime.alarms.conditions import TagInfo
from runtime.alarms.inputs import variables_of
from runtime.alarms.model import Definition
from supervisor.alarm_whatif import Trial, compare, story_of
from supervisor.history_store import HistoryStore
from supervisor.node_state import Board

if TYPE_CHECKING:
    from supervisor.live import Bus


class AlarmHistory:
    """Reads blocks: call it on a query thread. ``node_id`` "": variables are named ``runtime:path``."""

    def __init__(self, bus: Bus, store: HistoryStore) -> None:
        self._bus = bus
        self._store = store

    def attempt(
        self,
        node_id: str,
        before: Sequence[Definition],
        after: Sequence[Definition],
        *,
        from_ns: int,
        to_ns: int,
    ) -> Trial:
        """Both sets of definitions over the samples of the range."""
        tags, columns = [], []
        for name in variables_of((*before, *after)):
            where, path = self._place(node_id, name)
            found = self._store.find(where, path)
            if found is not None:
                tags.append(TagInfo(name, enum_values=self._enumeration(where, path)))
                columns.append(self._store.read(found[0], from_ns, to_ns, before=True))
        return compare(before, after, story_of(tags, columns, from_ns), from_ns=from_ns, to_ns=to_ns)

    def _place(self, node_id: str, name: str) -> tuple[str, str]:
        """(node id, path as the runtime writes it: variables know no case)."""
        path = name
        if not node_id:
            runtime, _, path = name.partition(":")
            node_id = next((node.node_id for node in self._bus.nodes.values() if node.name == runtime), "")
        board = self._board(node_id)
        known = board.index_of_path if board else {}
        return node_id, next((one for one in known if one.upper() == path.upper()), path)

    def _board(self, node_id: str) -> Board | None:
        node = self._bus.nodes.get(node_id)
        return node.board if node else None

    def _enumeration(self, node_id: str, path: str) -> tuple[tuple[str, int], ...]:
        board = self._board(node_id)
        index = board.index_of_path.get(path) if board else None
        return board.describe.tags[index].enum_values if board and index is not None else ()
