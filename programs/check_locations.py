"""Direct addresses: ``%IX0.3``, ``%QW1``, ``%MD4``.

Rule (IEC 61131-3:2013, 6.5.5.2 leaves it to the implementer): an address counts in units of its size. ``%IW1`` is the
second word, bytes 2 and 3; ``%IX2.5`` is bit 5 of byte 2, and ``%IX21`` the same bit counted through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from programs import ast, hir, types
from scan.abi import IecType

if TYPE_CHECKING:
    from programs.check_context import Context

SIZES = {"B": 1, "W": 2, "D": 4, "L": 8}
IMAGE_SIZE_MAX = 1 << 20  # bytes of one process image


def size_in_bytes(kind: hir.Type) -> int | None:
    """Bytes of a type in a process image; None for what cannot be located."""
    if isinstance(kind, hir.String):
        return (kind.length + 1) * (2 if kind.wide else 1)
    if isinstance(kind, hir.Elementary):
        return max(types.WIDTH[kind.type] // 8, 1)
    if isinstance(kind, hir.Enum):
        return types.WIDTH[kind.base] // 8
    if isinstance(kind, hir.Array):
        size = size_in_bytes(kind.element)
        for low, high in kind.dims:
            size = size * (high - low + 1) if size is not None else None
        return size
    return 0 if isinstance(kind, hir.Struct) else None


def locate(context: Context, node: ast.DirectVariable, kind: hir.Type) -> hir.Location | None:
    """Where a variable of this type lives; reports an address that does not fit it."""
    if kind is types.UNKNOWN:
        return None
    if node.size == "*":
        return hir.Location(node.area, -1, -1, 0, node.text)
    size = size_in_bytes(kind)
    bit = node.size in ("", "X")
    unit = 1 if bit else SIZES[node.size]
    if size is None or bit != types.is_kind(kind, IecType.BOOL) or not _whole(kind, unit, size):
        _wrong_type(context, node, kind, bit=bit)
        return None
    if bit:
        return _bit(context, node)
    if len(node.address) != 1:
        context.error(
            "ST3017",
            node,
            f"{node.text} has more than one number",
            expected=f"%{node.area}{node.size} and one number",
            found=node.text,
            remedy="count in units of the size: %QW3 is the fourth word",
        )
        return None
    byte = node.address[0] * unit
    if byte + size > IMAGE_SIZE_MAX:
        _too_far(context, node)
        return None
    return hir.Location(node.area, byte, -1, size or unit, node.text)


def _whole(kind: hir.Type, unit: int, size: int) -> bool:
    """A scalar has the size of its address's letter; arrays and structures may start at any."""
    if isinstance(kind, hir.Elementary | hir.Enum) and not types.is_bool(kind):
        return size == unit
    return True


def _bit(context: Context, node: ast.DirectVariable) -> hir.Location | None:
    if len(node.address) == 2:
        byte, bit = node.address
    elif len(node.address) == 1:
        byte, bit = divmod(node.address[0], 8)
    else:
        byte, bit = -1, -1
    if not 0 <= bit <= 7 or byte < 0:
        context.error(
            "ST3017",
            node,
            f"{node.text} is no bit",
            expected=f"%{node.area}X, a byte, a point and a bit from 0 to 7",
            found=node.text,
            remedy=f"write %{node.area}X0.0 for the first bit",
        )
        return None
    if byte >= IMAGE_SIZE_MAX:
        _too_far(context, node)
        return None
    return hir.Location(node.area, byte, bit, 1, node.text)


def _too_far(context: Context, node: ast.DirectVariable) -> None:
    context.error(
        "ST3017",
        node,
        f"{node.text} lies outside of the process image",
        expected=f"at most {IMAGE_SIZE_MAX} bytes",
        found=node.text,
        remedy="use a smaller address",
    )


def _wrong_type(context: Context, node: ast.DirectVariable, kind: hir.Type, *, bit: bool) -> None:
    letters = {1: "B", 2: "W", 4: "D", 8: "L"}
    size = size_in_bytes(kind)
    right = "X" if types.is_bool(kind) else letters.get(size or 0, "")
    context.error(
        "ST3017",
        node,
        f"{types.type_name(kind)} does not fit the address {node.text}",
        expected=f"%{node.area}{right}…" if right else "an elementary type or an array of one",
        found=node.text if not bit else f"{node.text}, a single bit",
        remedy=f"write %{node.area}{right} and the number" if right else "declare an elementary type here",
    )
