"""Set-up, log-in, log-out, one's own password and the appearance."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from scan.problem import TickworkError
from supervisor import guard
from supervisor.guard import access
from supervisor.model import Role
from supervisor.pages import shell as frame
from supervisor.pages.views import told
from supervisor.services import Services
from web import contexts as c

YEAR_S = 31_536_000


class SessionPages:
    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        anybody, viewer = access(None), access(Role.VIEWER)
        return [
            Route("/login", anybody(self.login_form), methods=["GET"]),
            Route("/login", anybody(self.login), methods=["POST"]),
            Route("/setup", anybody(self.setup_form), methods=["GET"]),
            Route("/setup", anybody(self.setup), methods=["POST"]),
            Route("/logout", anybody(self.logout), methods=["POST"]),
            Route("/theme", anybody(self.theme), methods=["POST"]),
            Route("/account", viewer(self.account), methods=["GET"]),
            Route("/account", viewer(self.change_password), methods=["POST"]),
        ]

    async def login_form(self, request: Request) -> Response:
        return await self._login_page(request, "", frame.local(request.query_params.get("next", "/")))

    async def _login_page(
        self, request: Request, name: str, after: str, wrong: str = "", status: int = 200
    ) -> Response:
        page = c.LoginPage(
            csrf=request.state.csrf,
            theme=frame.theme_of(request),
            name=name,
            after=after,
            wrong=wrong,
            first_run=await self._services.people.needs_first_admin(),
        )
        return frame.html(request, page, status)

    async def login(self, request: Request) -> Response:
        form = await request.form()
        name, after = str(form.get("name", "")), frame.local(str(form.get("next", "/")))
        try:
            login = await self._services.people.login(
                name, str(form.get("password", "")), address=_address(request)
            )
        except TickworkError as error:
            return await self._login_page(request, name, after, told(error), 422)
        response = RedirectResponse(after, 303)
        guard.start_session(request, response, login)
        return response

    async def logout(self, request: Request) -> Response:
        await self._services.people.logout(guard.session_token(request))
        response = RedirectResponse("/login", 303)
        guard.end_session(request, response)
        return response

    async def setup_form(self, request: Request) -> Response:
        if not await self._services.people.needs_first_admin():
            return RedirectResponse("/login", 303)
        return self._setup_page(request, request.query_params.get("token", ""))

    def _setup_page(
        self,
        request: Request,
        token: str,
        name: str = "",
        full_name: str = "",
        wrong: str = "",
        status: int = 200,
    ) -> Response:
        page = c.SetupPage(
            csrf=request.state.csrf,
            theme=frame.theme_of(request),
            token=token,
            name=name,
            full_name=full_name,
            wrong=wrong,
        )
        return frame.html(request, page, status)

    async def setup(self, request: Request) -> Response:
        form = await request.form()
        token, name, full_name = (str(form.get(field, "")) for field in ("token", "name", "full_name"))
        try:
            login = await self._services.people.claim(
                token, name, str(form.get("password", "")), address=_address(request), full_name=full_name
            )
        except TickworkError as error:
            return self._setup_page(request, token, name, full_name, told(error), 422)
        response = RedirectResponse("/", 303)
        guard.start_session(request, response, login)
        return response

    async def theme(self, request: Request) -> Response:
        form = await request.form()
        theme = str(form.get("theme", "auto"))
        response = RedirectResponse(frame.local(str(form.get("after", "/"))), 303)
        response.set_cookie(
            frame.THEME_COOKIE,
            theme if theme in frame.THEMES else "auto",
            max_age=YEAR_S,
            httponly=True,
            samesite="lax",
            path="/",
        )
        return response

    async def account(self, request: Request) -> Response:
        return await self._account_page(request)

    async def _account_page(self, request: Request, wrong: str = "", status: int = 200) -> Response:
        page = c.AccountPage(shell=await frame.shell(request, self._services, "Your account"), wrong=wrong)
        return frame.html(request, page, status)

    async def change_password(self, request: Request) -> Response:
        form = await request.form()
        actor = request.state.actor
        try:
            await self._services.people.set_password(
                actor, actor.user_id, str(form.get("new", "")), old=str(form.get("old", ""))
            )
            login = await self._services.people.login(
                actor.name, str(form.get("new", "")), address=_address(request)
            )
        except TickworkError as error:
            return await self._account_page(request, told(error), 422)
        response = frame.go(request, "/", "password")
        guard.start_session(request, response, login)
        return response


def _address(request: Request) -> str:
    return request.client.host if request.client else ""
