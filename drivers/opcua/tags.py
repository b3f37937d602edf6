"""The variables of the running program by NodeId, with the snapshot that answers come from.

A value of a tag never lives in asyncua's address space: it comes from the snapshot, so that all tags of one request
are of one scan and carry its time.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from asyncua import ua

import scan
from scan import quality as q
from scan.abi import Symbol
from scan.field_io import HEARTBEAT_TIMEOUT_NS
from scan.problem import TickworkError
from scan.view import bit_mask

from .program_types import ProgramTypes
from .structures import to_variant
from .tree import Branch, Tree
from .types import to_datetime, to_ua

_HELD = (scan.NodeState.STOPPED, scan.NodeState.FAULT)


class Tags:
    """``index`` is that of the namespace; ``away`` is set while the scan process gives no sign of life."""

    def __init__(self, view: scan.NodeView, index: int) -> None:
        self.view = view
        self.index = index
        self.tree = Tree((), ())
        self.generation = -1
        self.away = False
        self._types: ProgramTypes | None = None
        self._snapshot: scan.Snapshot | None = None
        self._inputs: scan.Inputs | None = None
        self._channels: dict[str, int] = {}
        self._channels_file: int | None = None

    def bind(self, tree: Tree, types: ProgramTypes, generation: int) -> None:
        """The variables of the program of this generation; only its snapshots are read with them."""
        self.tree, self._types = tree, types
        self.generation = generation
        self._snapshot = None
        self._channels = {}

    def _identifier(self, node_id: ua.NodeId) -> str:
        own = node_id.NamespaceIndex == self.index and isinstance(node_id.Identifier, str)
        return str(node_id.Identifier) if own else ""

    def find(self, node_id: ua.NodeId) -> Symbol | None:
        return self.tree.symbols.get(self._identifier(node_id))

    def find_structure(self, node_id: ua.NodeId) -> Branch | None:
        """A structure, or an array of structures, that has a value of its own."""
        identifier = self._identifier(node_id)
        return self.tree.branches[identifier] if identifier in self.tree.served_structures else None

    def encoding(self, branch: Branch) -> ua.NodeId:
        """What the bytes of a structure are named by."""
        assert self._types is not None
        return self._types.encoding(branch.element)

    # ---------------------------------------------------------------- snapshot

    def take_snapshot(self) -> scan.Snapshot | None:
        """Read the snapshot anew; what follows answers from it.

        None while there are no variables, and while the address space is still that of another program.
        """
        self.view.refresh()
        loaded = bool(self.tree.symbols) and self.view.generation == self.generation
        try:
            self._snapshot = self.view.snapshot() if loaded else None
        except TickworkError:  # the scan process begins anew
            self._snapshot = None
        if self._snapshot is not None and self._snapshot.generation != self.generation:
            self._snapshot = None
        self._inputs = self.view.inputs() if self._snapshot is not None else None
        return self._snapshot

    def overlay(self, quality: npt.NDArray[np.uint16], state: scan.NodeState) -> npt.NDArray[np.uint32]:
        """StatusCodes of qualities: what stands still is not simply good.

        The upper half of a StatusCode is our quality; bits for a limited or overflowed value are not ours to set.
        """
        if self.away:
            quality = np.where(quality < q.BAD, np.uint16(q.BAD_OUT_OF_SERVICE), quality)
        elif state in _HELD:
            quality = np.where(quality == q.GOOD, np.uint16(q.UNCERTAIN_LAST_USABLE), quality)
        return quality.astype(np.uint32) << np.uint32(16)

    def _quality(self, symbol: Symbol) -> int:
        assert self._snapshot is not None
        if (symbol.offset, bit_mask(symbol)) in self._snapshot.forced:
            return q.GOOD_LOCAL_OVERRIDE
        row = self._channel(symbol)
        if row < 0 or self._inputs is None or row >= len(self._inputs.quality):
            return q.GOOD
        found = int(self._inputs.quality[row])
        silent = self._inputs.age_ns > HEARTBEAT_TIMEOUT_NS
        return q.BAD_NO_COMMUNICATION if silent and not q.is_bad(found) else found

    def _channel(self, symbol: Symbol) -> int:
        if self._inputs is None:
            return -1
        if self._channels_file != self._inputs.file:
            self._channels, self._channels_file = {}, self._inputs.file
        row = self._channels.get(symbol.path)
        if row is None:
            row = self._channels[symbol.path] = self.view.channel_of(symbol)
        return row

    def status(self, symbols: Iterable[Symbol]) -> int:
        """The StatusCode of several variables as one: the worst of them."""
        assert self._snapshot is not None
        worst = max((self._quality(symbol) for symbol in symbols), default=q.GOOD)
        return int(self.overlay(np.array([worst], np.uint16), self._snapshot.state)[0])

    # ---------------------------------------------------------------- values

    def read(self, node_id: ua.NodeId) -> ua.DataValue | None:
        """The value of a variable or structure in the last snapshot taken; None when the node is neither."""
        symbol = self.find(node_id)
        branch = self.find_structure(node_id) if symbol is None else None
        if symbol is None and branch is None:
            return None
        snapshot = self._snapshot
        if snapshot is None:
            return ua.DataValue(StatusCode=ua.StatusCode(ua.StatusCodes.BadWaitingForInitialData))
        if symbol is not None:
            code = self.status((symbol,))
            variant = to_ua(symbol, scan.read_value(snapshot.block, symbol))
        else:
            assert branch is not None
            code = self.status(branch.leaves())
            variant = to_variant(snapshot.block, branch, self.encoding(branch))
        moment = to_datetime(snapshot.wall_ns)
        return ua.DataValue(
            variant if not q.is_bad(code >> 16) else ua.Variant(None, ua.VariantType.Null),
            StatusCode=ua.StatusCode(code),
            SourceTimestamp=moment,
            ServerTimestamp=moment,
        )

    @property
    def block(self) -> npt.NDArray[np.uint8] | None:
        """The bytes of the last snapshot taken."""
        return self._snapshot.block if self._snapshot is not None else None
