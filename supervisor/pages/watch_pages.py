"""Watch tables: chosen tags of any runtimes, live, and new values for several of them written together."""

from __future__ import annotations

import itertools
import secrets
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from supervisor.guard import access
from supervisor.model import Actor, CommandRow, Role, Runtime, TagValue
from supervisor.pages import commands_view, views
from supervisor.pages import shell as frame
from supervisor.problems import not_understood
from supervisor.services import Services
from supervisor.watch_lists import WatchList
from web import contexts as c
from web import contexts_watch as w

TAGS_MAX = 200  # rows a person can follow, and an address that every browser and proxy takes
FOUND_MAX = 30


@dataclass(frozen=True, slots=True)
class Watched:
    """A tag of the list; ``value`` is None when the runtime has none of that name now."""

    node_id: str
    path: str
    runtime: Runtime | None
    value: TagValue | None

    @property
    def key(self) -> str:
        return f"{self.node_id}:{self.path}"


def address(keys: tuple[str, ...], path: str = "/watch", **other: str) -> str:
    return f"{path}?" + urlencode([("tag", key) for key in keys] + list(other.items()))


def keys_of(texts: list[str]) -> tuple[str, ...]:
    """Tags of the list, each once; what is no ``node:path`` is left out."""
    kept = (text for text in texts if all(text.partition(":")))
    return tuple(itertools.islice(dict.fromkeys(kept), TAGS_MAX))


class WatchPages:
    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        return [
            Route("/watch", access(Role.VIEWER)(self.watch), methods=["GET"]),
            Route("/watch/lists", access(Role.VIEWER)(self.save_list), methods=["POST"]),
            Route(
                "/watch/lists/{list_id:int}/remove", access(Role.VIEWER)(self.remove_list), methods=["POST"]
            ),
            Route("/watch/prepare", access(Role.OPERATOR)(self.prepare), methods=["POST"]),
            Route("/watch/apply", access(Role.OPERATOR)(self.apply), methods=["POST"]),
        ]

    async def _watched(self, actor: Actor, keys: tuple[str, ...]) -> list[Watched]:
        runtimes = {runtime.node_id: runtime for runtime in await self._services.fleet.runtimes(actor)}
        values: dict[tuple[str, str], TagValue] = {}
        for node_id in {key.partition(":")[0] for key in keys} & runtimes.keys():
            for value in await self._services.fleet.tags(actor, node_id):
                values[node_id, value.path] = value
        found = []
        for key in keys:
            node_id, _, path = key.partition(":")
            found.append(Watched(node_id, path, runtimes.get(node_id), values.get((node_id, path))))
        return found

    async def watch(self, request: Request) -> Response:
        actor: Actor = request.state.actor
        keys = keys_of(request.query_params.getlist("tag"))
        if frame.wants(request) != "html":
            values = [one.value for one in await self._watched(actor, keys) if one.value]
            return frame.data(request, values, "watch")
        search = await self._search(actor, keys, request.query_params.get("find", "")[:200])
        if frame.is_partial(request):
            return frame.html(request, search)
        return await self._page(request, keys, search)

    async def _page(
        self,
        request: Request,
        keys: tuple[str, ...],
        search: w.TagSearch,
        typed: dict[str, str] | None = None,
        wrong: dict[str, str] | None = None,
    ) -> Response:
        actor: Actor = request.state.actor
        operates = actor.role.includes(Role.OPERATOR)
        watched = await self._watched(actor, keys)
        stream = address(keys, "/live", view="watch") if keys else ""
        page = w.WatchPage(
            shell=await frame.shell(request, self._services, "Watch", section="watch", stream=stream),
            rows=tuple(
                _row(
                    number,
                    one,
                    keys,
                    operates,
                    (typed or {}).get(one.key, ""),
                    (wrong or {}).get(one.key, ""),
                )
                for number, one in enumerate(watched)
            ),
            search=search,
            keys=keys,
            can_write=operates and any(_writable(one) for one in watched),
            trend=address(keys[:8], "/trend"),
            csv=address(keys, format="csv"),
            full=len(keys) >= TAGS_MAX,
            lists=tuple(_saved(one, actor) for one in await self._services.watch_lists.list(actor)),
            can_share=operates,
        )
        return frame.html(request, page, 422 if wrong else 200)

    async def _search(self, actor: Actor, keys: tuple[str, ...], text: str) -> w.TagSearch:
        found: list[w.FoundTag] = []
        for runtime in await self._services.fleet.runtimes(actor):
            values = await self._services.fleet.tags(actor, runtime.node_id)
            for value in views.tags_wanted(values, search=text, show=""):
                key = f"{runtime.node_id}:{value.path}"
                if key not in keys:
                    cell = views.tag_cell(value)
                    found.append(
                        w.FoundTag(runtime.name, value.path, cell.text, value.unit, address((*keys, key)))
                    )
                if len(found) > FOUND_MAX:
                    return w.TagSearch(tuple(found[:FOUND_MAX]), text, True)
        return w.TagSearch(tuple(found), text, False)

    # ------------------------------------------------------------ saved lists

    async def save_list(self, request: Request) -> Response:
        form = await request.form()
        keys = keys_of([str(text) for text in form.getlist("tag")])
        shared = form.get("shared") == "yes"
        await self._services.watch_lists.save(
            request.state.actor, str(form.get("name", "")), keys, shared=shared
        )
        return frame.go(request, address(keys), "saved")

    async def remove_list(self, request: Request) -> Response:
        await self._services.watch_lists.remove(request.state.actor, request.path_params["list_id"])
        return frame.go(request, "/watch", "removed")

    # ------------------------------------------------------------ writing together

    async def prepare(self, request: Request) -> Response:
        """Check all prepared values at once; one that can not be meant stops them all."""
        actor: Actor = request.state.actor
        form = await request.form()
        tags, texts = ([str(text) for text in form.getlist(name)] for name in ("tag", "value"))
        keys = keys_of(tags)
        typed = {key: text.strip() for key, text in zip(tags, texts, strict=False) if text.strip()}
        watched = {one.key: one for one in await self._watched(actor, keys)}
        wrong = {key: _why_refused(watched.get(key), text) for key, text in typed.items()}
        wrong = {key: text for key, text in wrong.items() if text}
        if wrong or not typed:
            return await self._page(request, keys, await self._search(actor, keys, ""), typed, wrong)
        page = w.WatchConfirm(
            shell=await frame.shell(
                request, self._services, "Write", section="watch", crumbs=(("Watch", address(keys)),)
            ),
            values=tuple(_prepared(watched[key], text) for key, text in typed.items()),
            keys=keys,
            key=secrets.token_urlsafe(12),
            back=address(keys),
        )
        return frame.html(request, page)

    async def apply(self, request: Request) -> Response:
        actor: Actor = request.state.actor
        form = await request.form()
        tags, texts, expected = (
            [str(text) for text in form.getlist(name)] for name in ("tag", "value", "expected")
        )
        if not tags or not len(tags) == len(texts) == len(expected):
            raise not_understood(
                "tags with values and expected values", f"{len(tags)}, {len(texts)}, {len(expected)}"
            )
        groups: dict[str, dict[str, tuple[str, str]]] = {}
        for key, text, old in zip(tags, texts, expected, strict=True):
            node_id, _, path = key.partition(":")
            groups.setdefault(node_id, {})[path] = (text, old)
        rows: list[CommandRow] = [
            await self._services.commands.send(
                actor,
                node_id,
                "write",
                {path: text for path, (text, _) in group.items()},
                expected={path: old for path, (_, old) in group.items() if old},
                idempotency_key=f"{form.get('key', '')}-{node_id}",
            )
            for node_id, group in groups.items()
        ]
        back = address(keys_of([str(text) for text in form.getlist("list")]))
        page = w.WatchResult(
            shell=await frame.shell(
                request, self._services, "Written together", section="watch", crumbs=(("Watch", back),)
            ),
            progress=tuple(commands_view.progress(row) for row in rows),
            back=back,
        )
        return frame.html(request, page)


def _saved(one: WatchList, actor: Actor) -> w.SavedList:
    removable = one.owner == actor.name or actor.role.includes(Role.ADMIN)
    remove = f"/watch/lists/{one.id}/remove" if removable else ""
    return w.SavedList(one.name, one.owner, address(one.tags), len(one.tags), one.shared, remove)


def _writable(one: Watched) -> bool:
    return bool(one.value and one.value.writable and one.runtime and one.runtime.link == "up")


def _why_refused(one: Watched | None, text: str) -> str:
    if one is None or one.value is None or not _writable(one):
        return "This can not be written now."
    return commands_view.why_refused(one.value, text)


def _prepared(one: Watched, text: str) -> w.PreparedValue:
    assert one.value is not None
    assert one.runtime is not None
    new = commands_view.literal(one.value, text)
    return w.PreparedValue(one.key, one.runtime.name, one.path, one.value.text, new, one.value.unit)


def _row(
    number: int, one: Watched, keys: tuple[str, ...], operates: bool, typed: str, wrong: str
) -> w.WatchRow:
    value = one.value
    cell = views.tag_cell(value) if value else c.Cell("", "–", "b")
    others = tuple(key for key in keys if key != one.key)
    return w.WatchRow(
        number=number,
        key=one.key,
        runtime=one.runtime.name if one.runtime else one.node_id,
        path=one.path,
        href=views.query(views.runtime_href(one.node_id, "tag"), path=one.path),
        trend=views.query("/trend", tag=one.key),
        value=c.Cell(one.key, cell.text, cell.quality),
        reason=views.tag_reason(value) if value else "the runtime has no such tag now",
        unit=value.unit if value else "",
        type=value.type if value else "",
        writable=operates and _writable(one),
        choices=commands_view.choices(value) if value else (),
        typed=typed,
        wrong=wrong,
        changed=views.moment(value.time_ns) if value else None,
        remove=address(others),
    )
