"""The View service set (OPC 10000-4 §5.8 and §5.9): Browse, BrowseNext, TranslateBrowsePaths."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from asyncua import ua

from .entries import NULL, Link
from .space import Space

REFERENCES_MAX = 1000  # of one node in one answer; the rest waits behind a continuation point
TOTAL_MAX = 20_000  # in one answer for all nodes
POINTS_MAX = 20  # continuation points of one session
_TARGETS_MAX = 1000  # of one browse path
_WHOLE_PATH = 0xFFFF_FFFF
_MASK = ua.BrowseResultMask


class Points:
    """The continuation points of one session; a new one over the limit ends the oldest."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, tuple[Any, list[Link]]] = OrderedDict()

    def keep(self, what: Any, rest: list[Link]) -> bytes:
        point = secrets.token_bytes(8)
        self._kept[point] = (what, rest)
        if len(self._kept) > POINTS_MAX:
            self._kept.popitem(last=False)
        return point

    def take(self, point: bytes) -> tuple[Any, list[Link]] | None:
        return self._kept.pop(point, None)


class View:
    """Browse and its relatives over a space."""

    def __init__(self, space: Space) -> None:
        self._space = space

    def browse(self, params: ua.BrowseParameters, points: Points) -> list[ua.BrowseResult]:
        if params.View.ViewId != NULL:
            return [_failed(ua.StatusCodes.BadViewIdUnknown) for _ in params.NodesToBrowse]
        limit = min(int(params.RequestedMaxReferencesPerNode or REFERENCES_MAX), REFERENCES_MAX)
        left, results = TOTAL_MAX, []
        for wanted in params.NodesToBrowse:
            if left <= 0:
                results.append(_failed(ua.StatusCodes.BadNoContinuationPoints))
                continue
            results.append(self._browse(wanted, min(limit, left), points))
            left -= len(results[-1].References)
        return results

    def _browse(self, wanted: ua.BrowseDescription, limit: int, points: Points) -> ua.BrowseResult:
        codes = ua.StatusCodes
        if wanted.NodeId not in self._space:
            return _failed(codes.BadNodeIdUnknown)
        if wanted.BrowseDirection not in (0, 1, 2):
            return _failed(codes.BadBrowseDirectionInvalid)
        kinds = self._kinds(wanted.ReferenceTypeId, wanted.IncludeSubtypes)
        if kinds is not None and wanted.ReferenceTypeId not in self._space:
            return _failed(codes.BadReferenceTypeIdInvalid)
        return self._answer(wanted, list(self._matching(wanted, kinds)), limit, points)

    def browse_next(self, params: Any, points: Points, limit: int = REFERENCES_MAX) -> list[ua.BrowseResult]:
        results = []
        for point in params.ContinuationPoints:
            kept = points.take(point)
            if kept is None:
                results.append(_failed(ua.StatusCodes.BadContinuationPointInvalid))
            elif params.ReleaseContinuationPoints:
                results.append(ua.BrowseResult())
            else:
                (wanted, limit), rest = kept
                results.append(self._answer(wanted, rest, limit, points))
        return results

    def _kinds(self, kind: ua.NodeId, subtypes: bool) -> frozenset[ua.NodeId] | None:
        """Reference types to follow; None: all."""
        if kind == NULL:
            return None
        return self._space.subtypes(kind) if subtypes else frozenset({kind})

    def _matching(self, wanted: ua.BrowseDescription, kinds: frozenset[ua.NodeId] | None) -> Iterator[Link]:
        for link in self._space.links(wanted.NodeId):
            if wanted.BrowseDirection != ua.BrowseDirection.Both and link.forward != (
                wanted.BrowseDirection == ua.BrowseDirection.Forward
            ):
                continue
            if kinds is not None and link.kind not in kinds:
                continue
            if wanted.NodeClassMask:
                shown = self._space.face(link.target)
                if shown is None or not wanted.NodeClassMask & shown.node_class:
                    continue
            yield link

    def _answer(
        self, wanted: ua.BrowseDescription, links: list[Link], limit: int, points: Points
    ) -> ua.BrowseResult:
        result = ua.BrowseResult()
        result.References = [
            described
            for link in links[:limit]
            if (described := self._describe(link, wanted.ResultMask)) is not None
        ]
        if len(links) > limit:
            result.ContinuationPoint = points.keep((wanted, limit), links[limit:])
        return result

    def _describe(self, link: Link, mask: int) -> ua.ReferenceDescription | None:
        shown = self._space.face(link.target)
        if shown is None:
            return None  # a node that asyncua refers to without having it
        made = ua.ReferenceDescription()
        made.NodeId = shown.node_id
        if mask & _MASK.ReferenceTypeId:
            made.ReferenceTypeId = link.kind
        if mask & _MASK.IsForward:
            made.IsForward = link.forward
        if mask & _MASK.NodeClass:
            made.NodeClass = shown.node_class
        if mask & _MASK.BrowseName:
            made.BrowseName = shown.name
        if mask & _MASK.DisplayName:
            made.DisplayName = shown.display
        if mask & _MASK.TypeDefinition:
            made.TypeDefinition = shown.type_definition
        return made

    # ---------------------------------------------------------------- paths

    def translate(self, paths: list[ua.BrowsePath]) -> list[ua.BrowsePathResult]:
        return [self._translate(path) for path in paths]

    def _translate(self, path: ua.BrowsePath) -> ua.BrowsePathResult:
        codes = ua.StatusCodes
        elements = path.RelativePath.Elements
        if path.StartingNode not in self._space:
            return _failed_path(codes.BadNodeIdUnknown)
        if not elements:
            return _failed_path(codes.BadNothingToDo)
        if any(not element.TargetName or not element.TargetName.Name for element in elements):
            return _failed_path(codes.BadBrowseNameInvalid)
        found = [path.StartingNode]
        for element in elements:
            found = [target for start in found for target in self._step(start, element)][:_TARGETS_MAX]
        if not found:
            return _failed_path(codes.BadNoMatch)
        result = ua.BrowsePathResult()
        for node_id in found:
            target = ua.BrowsePathTarget()
            target.TargetId = node_id
            target.RemainingPathIndex = _WHOLE_PATH
            result.Targets.append(target)
        return result

    def _step(self, start: ua.NodeId, element: ua.RelativePathElement) -> Iterator[ua.NodeId]:
        kinds = self._kinds(element.ReferenceTypeId, element.IncludeSubtypes)
        for link in self._space.links(start):
            if link.forward == bool(element.IsInverse) or (kinds is not None and link.kind not in kinds):
                continue
            shown = self._space.face(link.target)
            if shown is not None and shown.name == element.TargetName:
                yield link.target


def _failed(code: int) -> ua.BrowseResult:
    result = ua.BrowseResult()
    result.StatusCode = ua.StatusCode(code)
    return result


def _failed_path(code: int) -> ua.BrowsePathResult:
    result = ua.BrowsePathResult()
    result.StatusCode = ua.StatusCode(code)
    return result
