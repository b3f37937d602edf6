"""History of variables: a bounded memory of their changes, and HistoryRead over it (OPC 10000-11)."""

from __future__ import annotations

from typing import Any


class History:
    """Answers HistoryRead."""

    def read(self, params: Any) -> list[Any]:
        return []
