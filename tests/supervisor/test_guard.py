"""Every route says who may call it, and holds to it: all of them are walked as nobody and as each role."""

from __future__ import annotations

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from supervisor import guard
from supervisor.model import Role

PASSWORD = "four green valves open"
# Who is nobody and may call it anyway, each with its reason.
OPEN = {
    "/link/enrol": "asks for a one-time token itself",
    "/link/ws": "asks for a signature itself",
    "/livez": "says nothing but that the process lives",
    "/readyz": "says whether it can serve, for load balancers",
    "/static": "styles and scripts",
    "/login": "to log in",
    "/theme": "light or dark, in a cookie of the browser",
    "/logout": "ends the session of whoever asks, if there is one",
    "/setup": "asks for the one-time link's token itself",
}


def routes_of(app):
    for route in app.routes:
        methods = sorted(getattr(route, "methods", None) or {"GET"})
        yield route, [m for m in methods if m != "HEAD"]


def path_of(route) -> str:
    path = route.path
    for name in getattr(route, "param_convertors", {}):
        path = path.replace("{" + name + "}", "999").replace("{" + name + ":int}", "999")
        path = path.replace("{" + name + ":path}", "x")
    return path


async def test_routes_when_walked_as_nobody_then_only_the_listed_ones_are_open(supervisor):
    client = supervisor.anonymous()
    for route, methods in routes_of(supervisor.app):
        if isinstance(route, Mount) or route.path == "/link/ws":
            assert route.path in OPEN, route.path
            continue
        for method in methods:
            answer = await client.request(method, path_of(route))
            if guard.declared_access(route) == "anybody":
                assert any(route.path.startswith(known) for known in OPEN), route.path
            else:
                logged_out = answer.status_code == 401 or answer.headers.get("location", "").startswith(
                    "/login"
                )
                assert logged_out, f"{method} {route.path}: {answer.status_code}"


@pytest.mark.parametrize("role", list(Role))
async def test_routes_when_walked_as_a_role_then_refused_exactly_below_the_declared_one(supervisor, role):
    client = await supervisor.http(role)
    for route, methods in routes_of(supervisor.app):
        declared = guard.declared_access(route)
        if isinstance(route, Mount) or route.path == "/link/ws" or declared == "anybody":
            continue
        if route.path in ("/live", "/live/{view}") or "stream" in route.path or "/live" in route.path:
            continue  # an endless answer; its guard is the same wrapper
        for method in methods:
            answer = await client.request(method, path_of(route))
            if role.includes(Role(declared)):
                assert answer.status_code != 401, f"{method} {route.path}"
            else:
                assert answer.status_code == 403, f"{method} {route.path}: {answer.status_code}"


def test_app_when_a_route_says_nothing_then_it_is_named():
    async def open_door(request):
        return PlainTextResponse("hello")

    routes = [
        Route("/a", open_door),
        Route("/b", guard.access(Role.VIEWER)(open_door)),
        Mount("/c", open_door),
    ]
    assert guard.undeclared(routes) == ["/a", "/c"]


@pytest.fixture
async def browser(supervisor):
    """Logged in with a cookie, as a browser is."""
    token = await supervisor.parts.people.make_setup_token()
    login = await supervisor.services.people.claim(token, "mara", PASSWORD, address="")
    async with httpx.AsyncClient(base_url=supervisor.url, cookies={guard.COOKIE: login.token}) as client:
        client.csrf = login.csrf
        yield client


async def test_post_when_token_of_the_form_is_missing_then_refused_and_audited(supervisor, browser, admin):
    body = {"name": "pump", "files": []}
    answer = await browser.post("/api/v1/projects", json=body)
    assert (answer.status_code, answer.json()["code"]) == (403, "SV1010")
    wrong = await browser.post("/api/v1/projects", json=body, headers={"X-CSRF-Token": "guess"})
    assert wrong.status_code == 403
    right = await browser.post("/api/v1/projects", json=body, headers={"X-CSRF-Token": browser.csrf})
    assert right.status_code == 201
    entries = await supervisor.services.audit.entries(admin, action="access.refused")
    assert len(entries) == 2


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ],
)
async def test_post_when_from_another_site_then_refused_even_with_token(browser, headers):
    answer = await browser.post(
        "/api/v1/projects", json={"name": "p"}, headers={"X-CSRF-Token": browser.csrf, **headers}
    )
    assert answer.json()["code"] == "SV1010"


async def test_get_when_cookie_is_a_guess_then_logged_out(supervisor):
    client = supervisor.anonymous(cookies={guard.COOKIE: "x" * 43})
    assert (await client.get("/api/v1/runtimes")).status_code == 401


@pytest.mark.parametrize("header", ["Bearer", "Bearer x", "Basic eDp5", "twk_x", "Bearer twk_" + "x" * 5000])
async def test_get_when_authorization_is_wrong_then_401(supervisor, header):
    answer = await supervisor.anonymous().get("/api/v1/runtimes", headers={"Authorization": header})
    assert (answer.status_code, answer.json()["code"]) == (401, "SV1105")


async def test_answer_when_any_then_security_headers_are_there(supervisor):
    for path in ("/livez", "/nothing", "/api/v1/runtimes", "/login"):
        answer = await supervisor.anonymous().get(path)
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "unsafe-inline" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "server" not in answer.headers


async def test_body_when_too_large_then_413_before_it_is_read(supervisor):
    client = await supervisor.http()
    answer = await client.post("/api/v1/projects", content=b"x" * (2 * 1024 * 1024))
    assert (answer.status_code, answer.json()["code"]) in ((413, "SV1007"), (400, "SV1001"))

    async def endless():
        for _ in range(3000):
            yield b"x" * 1024

    answer = await client.post("/api/v1/keys", content=endless())
    assert (answer.status_code, answer.json()["code"]) == (413, "SV1007")


async def test_login_when_tried_very_often_then_slowed_down(supervisor):
    client = supervisor.anonymous()
    codes = [(await client.post("/link/enrol", content=b"{}")).status_code for _ in range(40)]
    assert 429 in codes
