"""Structures of a program as OPC UA structured values: their bytes, and back into variables.

A structured value is the concatenation of its members in the order of their declaration (OPC 10000-6 §5.2.6): nested
structures inline, an array as its length and its elements. An array of several dimensions is one list in storage
order here, so that clients of every version of the standard can decode it; as a variable of its own it has all its
dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import pack_uatype, pack_uatype_array, unpack_uatype, unpack_uatype_array

import scan
from scan.abi import Symbol

from .tree import Branch
from .types import from_ua, to_ua, variant_type


def encode(block: Any, branch: Branch) -> bytes:
    """The body of one structure, from a block."""
    return b"".join(_parts(block, branch))


def _parts(block: Any, branch: Branch) -> Iterator[bytes]:
    for child in branch.children:
        if isinstance(child, Symbol):
            yield _leaf(block, child)
        elif child.kind == "array":
            yield len(child.children).to_bytes(4, "little")
            for element in child.children:
                assert isinstance(element, Branch)
                yield encode(block, element)
        else:
            yield encode(block, child)


def _leaf(block: Any, symbol: Symbol) -> bytes:
    variant = to_ua(symbol, scan.read_value(block, symbol))
    if symbol.dims:
        return bytes(pack_uatype_array(variant.VariantType, variant.Value))
    return bytes(pack_uatype(variant.VariantType, variant.Value))


def to_variant(block: Any, branch: Branch, encoding: ua.NodeId) -> ua.Variant:
    """The value of a structure, or of an array of structures."""
    kind = ua.VariantType.ExtensionObject
    if branch.kind != "array":
        return ua.Variant(ua.ExtensionObject(TypeId=encoding, Body=encode(block, branch)), kind)
    values = [
        ua.ExtensionObject(TypeId=encoding, Body=encode(block, element))
        for element in branch.children
        if isinstance(element, Branch)
    ]
    lengths = [high - low + 1 for low, high in branch.dims]
    return ua.Variant(values, kind, Dimensions=lengths if len(lengths) > 1 else None, is_array=True)


def from_variant(
    branch: Branch, variant: ua.Variant, encoding: ua.NodeId
) -> tuple[dict[Symbol, object], int]:
    """The values of all variables of a written structure, and a StatusCode: Good, BadTypeMismatch, BadOutOfRange."""
    bad: tuple[dict[Symbol, object], int] = ({}, ua.StatusCodes.BadTypeMismatch)
    if variant.VariantType != ua.VariantType.ExtensionObject:
        return bad
    wanted = (
        [branch] if branch.kind != "array" else [one for one in branch.children if isinstance(one, Branch)]
    )
    given = variant.Value if branch.kind == "array" else [variant.Value]
    if not isinstance(given, list) or len(given) != len(wanted):
        return bad
    found: dict[Symbol, object] = {}
    for element, value in zip(wanted, given, strict=True):
        if not isinstance(value, ua.ExtensionObject) or value.TypeId != encoding or value.Body is None:
            return bad
        buffer = Buffer(value.Body)
        try:
            status = _decode(element, buffer, found)
        except Exception:  # asyncua raises whatever its decoder meets in foreign bytes
            return bad
        if status != ua.StatusCodes.Good or len(buffer):
            return {}, status or ua.StatusCodes.BadTypeMismatch
    return found, ua.StatusCodes.Good


def _decode(branch: Branch, buffer: Any, found: dict[Symbol, object]) -> int:
    """Takes the members of one structure off the buffer; a StatusCode."""
    for child in branch.children:
        if isinstance(child, Symbol):
            kind = variant_type(child)
            take = unpack_uatype_array if child.dims else unpack_uatype
            variant = ua.Variant(take(kind, buffer), kind, is_array=bool(child.dims))
            value, status = from_ua(child, variant)
            if status != ua.StatusCodes.Good:
                return status
            found[child] = value
            continue
        elements = [child]
        if child.kind == "array":
            elements = [one for one in child.children if isinstance(one, Branch)]
            if int.from_bytes(buffer.read(4), "little", signed=True) != len(elements):
                return int(ua.StatusCodes.BadTypeMismatch)
        for element in elements:
            status = _decode(element, buffer, found)
            if status != ua.StatusCodes.Good:
                return status
    return int(ua.StatusCodes.Good)
