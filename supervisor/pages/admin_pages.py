"""Audit, users, API keys, enrolment, and the supervisor itself."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from scan.problem import TickworkError
from supervisor.guard import access
from supervisor.model import About, Actor, ApiKey, EnrolmentToken, Page, Role, User
from supervisor.pages import shell as frame
from supervisor.pages import views
from supervisor.pages.deployment_pages import audit_line
from supervisor.problems import not_understood
from supervisor.services import Services
from web import contexts_work as w

AUDIT_PER_PAGE = 100
ROLES = (
    w.RoleChoice("viewer", "sees everything"),
    w.RoleChoice("operator", "also writes and forces tags"),
    w.RoleChoice("engineer", "also edits and deploys programs, starts and stops runtimes"),
    w.RoleChoice("admin", "also users, keys and enrolment"),
)
KEY_DAYS = ("30", "90", "365")
TOKEN_HOURS = ("1", "8", "24", "168")


def role_of(text: str) -> Role:
    try:
        return Role(text)
    except ValueError:
        raise not_understood("a role: viewer, operator, engineer or admin", text) from None


class AdminPages:
    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        viewer, admin = access(Role.VIEWER), access(Role.ADMIN)
        return [
            Route("/audit", viewer(self.audit), methods=["GET"]),
            Route("/settings", viewer(self.settings), methods=["GET"]),
            Route("/users", admin(self.users), methods=["GET"]),
            Route("/users", admin(self.create_user), methods=["POST"]),
            Route("/users/{user_id:int}", admin(self.change_user), methods=["POST"]),
            Route("/keys", admin(self.create_key), methods=["POST"]),
            Route("/keys/{key_id:int}/revoke", admin(self.revoke_key), methods=["POST"]),
            Route("/enrolment", admin(self.enrolment), methods=["GET"]),
            Route("/enrolment", admin(self.create_token), methods=["POST"]),
            Route("/enrolment/{token_id:int}/cancel", admin(self.cancel_token), methods=["POST"]),
            Route("/enrolment/revoke", admin(self.revoke), methods=["POST"]),
        ]

    # ------------------------------------------------------------ audit

    async def audit(self, request: Request) -> Response:
        actor: Actor = request.state.actor
        query = request.query_params
        who, action, about = (query.get(name, "")[:200] for name in ("who", "action", "about"))
        before = query.get("before", "0")
        page = Page(int(before) if before.isdecimal() else 0, AUDIT_PER_PAGE)
        entries = await self._services.audit.entries(actor, who=who, action=action, about=about, page=page)
        if frame.wants(request) != "html":
            return frame.data(request, entries, "audit")
        verdict = await self._services.audit.verify(actor)
        older = views.query(
            "/audit", who=who, action=action, about=about, before=entries[-1].id if entries else 0
        )
        context = w.AuditPage(
            shell=await frame.shell(
                request, self._services, "Audit", section="audit", stream="/live?view=plain&section=audit"
            ),
            lines=tuple(audit_line(entry) for entry in entries),
            who=who,
            action=action,
            about=about,
            older=older if len(entries) == AUDIT_PER_PAGE else "",
            csv=views.query("/audit", who=who, action=action, about=about, format="csv"),
            chain_ok=verdict.ok,
            chain_text=f"{views.count(verdict.entries)} lines, chain unbroken"
            if verdict.ok
            else f"chain broken at line {verdict.first_bad_id}",
            checked=views.moment(verdict.checked_ns),
        )
        return frame.html(request, context)

    # ------------------------------------------------------------ users and keys

    async def users(self, request: Request) -> Response:
        if frame.wants(request) != "html":
            return frame.data(request, await self._services.people.users(request.state.actor), "users")
        return await self._users_page(request)

    async def _users_page(
        self,
        request: Request,
        *,
        error: TickworkError | None = None,
        key_error: TickworkError | None = None,
        secret: str = "",
        typed: tuple[str, str] = ("", ""),
    ) -> Response:
        actor: Actor = request.state.actor
        users = await self._services.people.users(actor)
        keys = await self._services.people.api_keys(actor)
        page = w.UsersPage(
            shell=await frame.shell(
                request, self._services, "Users", section="users", stream="/live?view=plain&section=users"
            ),
            users=tuple(_user_row(user, actor) for user in users),
            keys=tuple(_key_row(key) for key in keys),
            roles=ROLES,
            wrong=views.told(error) if error else "",
            key_wrong=views.told(key_error) if key_error else "",
            secret=secret,
            typed_name=typed[0],
            typed_full_name=typed[1],
        )
        return frame.html(request, page, 422 if error or key_error else 200)

    async def create_user(self, request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form()).items()}
        name, full_name = form.get("name", "").strip(), form.get("full_name", "").strip()
        try:
            await self._services.people.create_user(
                request.state.actor,
                name,
                form.get("password", ""),
                role_of(form.get("role", "")),
                full_name=full_name,
            )
        except TickworkError as error:
            return await self._users_page(request, error=error, typed=(name, full_name))
        return frame.go(request, "/users", "created")

    async def change_user(self, request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form()).items()}
        try:
            await self._services.people.change_user(
                request.state.actor,
                request.path_params["user_id"],
                role=role_of(form["role"]) if "role" in form else None,
                enabled=form["enabled"] == "1" if "enabled" in form else None,
            )
        except TickworkError as error:
            return await self._users_page(request, error=error)
        return frame.go(request, "/users", "changed")

    async def create_key(self, request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form()).items()}
        days = form.get("days", "90")
        try:
            made = await self._services.people.create_api_key(
                request.state.actor,
                form.get("name", "").strip(),
                role_of(form.get("role", "")),
                expires_days=int(days) if days in KEY_DAYS else 90,
            )
        except TickworkError as error:
            return await self._users_page(request, key_error=error)
        return await self._users_page(request, secret=made.secret)

    async def revoke_key(self, request: Request) -> Response:
        await self._services.people.revoke_api_key(request.state.actor, request.path_params["key_id"])
        return frame.go(request, "/users", "changed")

    # ------------------------------------------------------------ enrolment

    async def enrolment(self, request: Request) -> Response:
        if frame.wants(request) != "html":
            tokens = await self._services.people.enrolment_tokens(request.state.actor)
            return frame.data(request, tokens, "enrolment")
        return await self._enrolment_page(request)

    async def _enrolment_page(
        self, request: Request, *, error: TickworkError | None = None, secret: str = "", node: str = ""
    ) -> Response:
        actor: Actor = request.state.actor
        tokens = await self._services.people.enrolment_tokens(actor)
        runtimes = await self._services.fleet.runtimes(actor)
        about = await self._services.system.about(actor)
        base = (about.public_url or str(request.base_url)).rstrip("/")
        page = w.EnrolmentPage(
            shell=await frame.shell(
                request,
                self._services,
                "Enrolment",
                section="enrolment",
                stream="/live?view=plain&section=enrolment",
            ),
            tokens=tuple(_token_row(token) for token in tokens),
            runtimes=tuple(
                w.EnrolledRow(
                    node=runtime.node_id,
                    name=runtime.name,
                    href=views.runtime_href(runtime.node_id),
                    link=runtime.link,
                    link_word=views.LINK_WORDS.get(runtime.link, runtime.link),
                    since=views.moment(runtime.enrolled_ns),
                )
                for runtime in runtimes
            ),
            secret=secret,
            command=f"tickwork run {node or 'PLANT'} --supervisor {base} --token {secret}" if secret else "",
            wrong=views.told(error) if error else "",
        )
        return frame.html(request, page, 422 if error else 200)

    async def create_token(self, request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form()).items()}
        hours, node = form.get("hours", "1"), form.get("node", "").strip()
        try:
            made = await self._services.people.create_enrolment_token(
                request.state.actor, node=node, expires_s=(int(hours) if hours in TOKEN_HOURS else 1) * 3600
            )
        except TickworkError as error:
            return await self._enrolment_page(request, error=error)
        return await self._enrolment_page(request, secret=made.secret, node=node)

    async def cancel_token(self, request: Request) -> Response:
        await self._services.people.cancel_enrolment_token(
            request.state.actor, request.path_params["token_id"]
        )
        return frame.go(request, "/enrolment", "removed")

    async def revoke(self, request: Request) -> Response:
        form = await request.form()
        await self._services.fleet.revoke(
            request.state.actor, str(form.get("node", "")), str(form.get("reason", ""))
        )
        return frame.go(request, "/enrolment", "revoked")

    # ------------------------------------------------------------ the supervisor

    async def settings(self, request: Request) -> Response:
        about = await self._services.system.about(request.state.actor)
        if frame.wants(request) != "html":
            return frame.data(request, (about,), "settings")
        page = w.SettingsPage(
            shell=await frame.shell(
                request,
                self._services,
                "Settings",
                section="settings",
                stream="/live?view=plain&section=settings",
            ),
            facts=(
                ("Stored samples", views.count(about.samples), f"of {views.count(about.series)} tags"),
                (
                    "Coming in",
                    f"{about.ingest_samples_per_s:.0f} /s",
                    f"durable within {about.commit_p99_ms:.1f} ms (p99)",
                ),
                ("History", size(about.history_bytes), "on disk"),
                ("Free disk", size(about.disk_free_bytes), "where the history is"),
            ),
            groups=(
                (
                    "Identity",
                    (
                        ("Version", about.version),
                        ("Signing key", about.key),
                        ("Address", about.public_url or str(request.base_url)),
                        ("Transport", "TLS" if about.tls else "plain HTTP: for this machine only"),
                    ),
                ),
                (
                    "Storage",
                    (
                        ("History", size(about.history_bytes)),
                        ("Configuration and audit", size(about.configuration_bytes)),
                    ),
                ),
                *_mqtt_groups(about),
            ),
            started=views.moment_of(about.started_ns),
        )
        return frame.html(request, page)


def _mqtt_groups(about: About) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    """A panel for each Sparkplug host and bridge, and one for a file that is not used."""
    groups: list[tuple[str, tuple[tuple[str, str], ...]]] = [
        (
            f"MQTT {line.kind}: {line.name}",
            (
                ("Receiver" if line.kind != "host" else "Broker", line.receiver),
                ("Connection", "up" if line.connected else line.problem or "being made"),
                ("Work", line.detail),
            ),
        )
        for line in about.mqtt
    ]
    if about.mqtt_problem:
        groups.append(("MQTT settings", (("mqtt.toml is not used", about.mqtt_problem),)))
    return tuple(groups)


def size(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def _user_row(user: User, actor: Actor) -> w.UserRow:
    return w.UserRow(
        id=user.id,
        name=user.name,
        full_name=user.full_name,
        role=user.role,
        enabled=user.enabled,
        last_login=views.moment(user.last_login_ns),
        locked=views.moment(user.locked_until_ns),
        myself=user.id == actor.user_id,
    )


def _key_row(key: ApiKey) -> w.KeyRow:
    return w.KeyRow(
        id=key.id,
        name=key.name,
        role=key.role,
        created_by=key.created_by,
        expires=views.moment_of(key.expires_ns),
        last_used=views.moment(key.last_used_ns),
        revoked=key.revoked,
    )


def _token_row(token: EnrolmentToken) -> w.TokenRow:
    return w.TokenRow(
        id=token.id,
        node=token.node,
        created_by=token.created_by,
        created=views.moment_of(token.created_ns),
        expires=views.moment_of(token.expires_ns),
        used=views.moment(token.used_ns),
        used_by=token.used_by,
    )
