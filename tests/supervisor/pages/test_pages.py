"""Who may see and do what, what a page answers in which form, and that nothing is done by halves."""

from __future__ import annotations

import csv
import io

import pytest
from starlette.routing import Mount, Route

from scan.problem import fail
from supervisor import guard, pages
from supervisor.pages.shell import flat, local
from tests.supervisor.pages.browser import Browser
from tests.supervisor.pages.fakes import fake_services

ANYBODY = {"/login", "/setup", "/logout", "/theme", "/static"}


async def logged_in(name: str = "ada") -> Browser:
    browser = Browser()
    await browser.log_in(name)
    return browser


async def force(browser: Browser, reason: str) -> None:
    form = {"kind": "force", "path": "Control.Auto", "value": "TRUE", "lease": "600", "reason": reason}
    await browser.post("/runtimes/n1/commands", **form)


def test_routes_when_listed_then_only_the_gate_is_open_to_anybody() -> None:
    routes = pages.routes(fake_services())
    assert guard.undeclared(routes) == []
    opened = {
        r.path for r in routes if isinstance(r, Route | Mount) and guard.declared_access(r) == "anybody"
    }
    assert opened == ANYBODY


async def test_every_page_when_nobody_is_logged_in_then_it_leads_to_the_log_in() -> None:
    browser = Browser()
    for route in pages.routes(fake_services()):
        if not isinstance(route, Route) or route.path in ANYBODY or "GET" not in (route.methods or ()):
            continue
        path = route.path.replace(":int", "").format(
            node_id="n1",
            project_id=1,
            deployment_id=1,
            kind="stop",
            command_id="c1",
            user_id=1,
            screen_id=1,
            list_id=1,
            key_id=1,
            token_id=1,
            name="mail",
        )
        response = await browser.http.get(path, follow_redirects=False)
        assert response.status_code == 303, path
        assert response.headers["location"].startswith("/login?next="), path


@pytest.mark.parametrize(
    ("name", "address", "status"),
    [
        ("vera", "/", 200),
        ("vera", "/runtimes/n1", 200),
        ("vera", "/users", 403),
        ("vera", "/enrolment", 403),
        ("vera", "/runtimes/n1/confirm/stop", 403),
        ("vera", "/programs/1/deploy", 403),
        ("otto", "/runtimes/n1/confirm/stop", 200),
        ("otto", "/programs/1/deploy", 403),
        ("eva", "/programs/1/deploy", 200),
        ("eva", "/users", 403),
        ("vera", "/notifications", 403),
        ("otto", "/notifications", 200),
        ("otto", "/notifications/settings/rule", 403),
        ("eva", "/notifications/settings/rule", 200),
    ],
)
async def test_page_when_the_role_differs_then_it_is_open_or_refused(
    name: str, address: str, status: int
) -> None:
    browser = await logged_in(name)
    assert (await browser.get(address)).status_code == status


async def test_page_when_the_role_may_not_then_it_offers_nothing_of_it() -> None:
    viewer, admin = await logged_in("vera"), await logged_in("ada")
    for word in ("Restart", "/users", "Enrol a runtime"):
        seen, shown = [
            "".join([(await browser.get(page)).text for page in ("/", "/runtimes/n1")])
            for browser in (viewer, admin)
        ]
        assert word not in seen
        assert word in shown
    sheet = (await viewer.get("/runtimes/n1/tag?path=Control.Level1Low")).text
    assert "Your role may look, not write." in sheet
    assert 'action="/runtimes/n1/prepare"' not in sheet


async def test_write_when_confirmed_twice_with_one_key_then_the_key_goes_along() -> None:
    browser = await logged_in("otto")
    asked = await browser.post("/runtimes/n1/prepare", kind="write", path="Control.Level1Low", value="41,5")
    assert "41.5" in asked.text
    assert 'name="expected" value="6"' in asked.text or 'name="expected" value="40"' in asked.text
    key = asked.text.split('name="key" value="')[1].split('"')[0]
    done = await browser.post(
        "/runtimes/n1/commands", kind="write", path="Control.Level1Low", value="41.5", expected="40", key=key
    )
    assert done.url.path == "/runtimes/n1/commands/c1"
    assert browser.plant.commands[0].values == {"Control.Level1Low": "41.5"}


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("Control.Level1Low", "abc", "is not a number"),
        ("Control.Level1Low", "101", "0 to 100"),
        ("Control.Level1Low", "", "Type a value"),
        ("Level1Raw", "40000", "-32768 to 32767"),
        ("Level1Raw", "1.5", "not a whole number"),
        ("Level1Raw", "2#21", "base 2"),
    ],
)
async def test_write_when_the_value_can_not_be_meant_then_nothing_is_sent(
    path: str, value: str, told: str
) -> None:
    browser = await logged_in("otto")
    response = await browser.post("/runtimes/n1/prepare", kind="write", path=path, value=value)
    assert response.status_code == 422
    assert told in response.text
    assert browser.plant.commands == []


async def test_watch_when_values_of_two_runtimes_are_prepared_then_each_gets_one_command() -> None:
    browser = await logged_in("otto")
    form = {
        "tag": ["n1:Control.Level1Low", "n1:Control.Level1High", "n2:Control.Level1Low"],
        "value": ["38", "72,5", "39"],
    }
    asked = await browser.http.post("/watch/prepare", data={**form, "csrf": browser.csrf})
    assert "Write 3 values?" in asked.text
    assert browser.plant.commands == []
    done = {
        **form,
        "value": ["38", "72.5", "39"],
        "expected": ["40", "70", "40"],
        "key": "k",
        "csrf": browser.csrf,
    }
    await browser.http.post("/watch/apply", data=done)
    assert [(row.node_id, row.values) for row in browser.plant.commands] == [
        ("n1", {"Control.Level1Low": "38", "Control.Level1High": "72.5"}),
        ("n2", {"Control.Level1Low": "39"}),
    ]


@pytest.mark.parametrize(
    ("tag", "value", "told"),
    [
        ("n1:Control.Level1Low", "200", "0 to 100"),
        ("n1:Control.Level1", "50", "can not be written"),
        ("n3:Control.Level1Low", "50", "can not be written"),
        ("n1:Gone", "1", "can not be written"),
    ],
)
async def test_watch_when_one_value_can_not_be_meant_then_all_wait(tag: str, value: str, told: str) -> None:
    browser = await logged_in("otto")
    form = {"tag": ["n1:Control.Level1High", tag], "value": ["71", value], "csrf": browser.csrf}
    response = await browser.http.post("/watch/prepare", data=form)
    assert response.status_code == 422
    assert told in response.text or "read only" in response.text
    assert browser.plant.commands == []


async def test_watch_when_the_list_of_values_does_not_fit_then_nothing_is_written() -> None:
    browser = await logged_in("otto")
    form = {"tag": ["n1:Control.Level1Low"], "value": ["1", "2"], "expected": [""], "csrf": browser.csrf}
    assert (await browser.http.post("/watch/apply", data=form)).status_code == 400
    assert browser.plant.commands == []


async def test_tag_when_there_is_none_of_that_name_then_404_and_json_for_programs() -> None:
    browser = await logged_in()
    assert (await browser.get("/runtimes/n1/tag?path=Nothing")).status_code == 404
    answer = await browser.get("/runtimes/n1/tag?path=Nothing", Accept="application/json")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["problems"][0]["code"] == "SV1004"


async def test_tags_when_searched_by_script_then_the_table_and_its_stream_come_alone() -> None:
    browser = await logged_in()
    piece = await browser.partial("/runtimes/n1/tags?q=level1low")
    assert "<html" not in piece.text
    assert "Level1Low" in piece.text
    assert "PumpSpeed" not in piece.text
    assert 'hx-swap-oob="outerHTML"' in piece.text
    assert "/live?view=runtime&amp;node=n1&amp;q=level1low" in piece.text
    whole = await browser.get("/runtimes/n1/tags?q=level1low")
    assert "<html" in whole.text


@pytest.mark.parametrize(
    "address",
    [
        "/",
        "/alarms",
        "/alarms/hidden",
        "/alarms/journal",
        "/alarms/table",
        "/runtimes/n1/tags",
        "/events",
        "/forces",
        "/programs",
        "/deployments",
        "/audit",
        "/users",
    ],
)
async def test_table_when_asked_for_as_data_then_csv_and_json_have_the_same_rows(address: str) -> None:
    browser = await logged_in()
    await browser.post("/deployments", target="n1", project="1", version="2", reason="test")
    await browser.post(
        "/runtimes/n1/commands", kind="force", path="Control.Auto", value="TRUE", lease="600", reason="x"
    )
    rows = (await browser.get(address, Accept="application/json")).json()
    text = (await browser.get(f"{address}?format=csv")).text
    table = list(csv.reader(io.StringIO(text)))
    assert len(rows) > 0
    assert len(table) == len(rows) + 1


def test_csv_field_when_it_looks_like_a_formula_then_a_spreadsheet_takes_it_as_text() -> None:
    assert [flat(text) for text in ("=1+1", "@x", "+1", "-1")] == ["'=1+1", "'@x", "'+1", "'-1"]
    assert [flat(value) for value in (-1.5, None, "plain")] == [-1.5, "", "plain"]


@pytest.mark.parametrize(
    "path", ["//evil.example", "https://evil.example", "/\\evil", "evil", "/a\r\nSet-Cookie: x", ""]
)
async def test_next_page_when_it_leads_elsewhere_then_home(path: str) -> None:
    assert local(path) == "/"


async def test_log_in_when_it_was_on_the_way_somewhere_then_it_goes_there() -> None:
    browser = Browser()
    page = await browser.get("/trend?tag=n1:Control.Level1")
    assert page.url.path == "/login"
    response = await browser.http.post(
        "/login",
        data={"name": "ada", "password": "a long enough password", "next": "/trend?tag=n1:Control.Level1"},
    )
    assert str(response.url).endswith("/trend?tag=n1:Control.Level1")


async def test_set_up_when_the_link_was_used_then_it_leads_to_the_log_in() -> None:
    browser = Browser()
    browser.app.state.services.people.claimed = False
    assert "First administrator" in (await browser.get("/setup?token=once")).text
    wrong = await browser.post("/setup", token="never", name="root", password="x" * 12)
    assert wrong.status_code == 422
    made = await browser.post("/setup", token="once", name="root", password="x" * 12)
    assert made.url.path == "/"
    assert (await Browser(browser.plant).get("/setup?token=once")).url.path == "/login"


async def test_theme_when_chosen_then_pages_come_in_it_without_scripts() -> None:
    browser = await logged_in()
    assert 'data-theme="auto"' in (await browser.get("/")).text
    page = await browser.post("/theme", theme="dark", after="/programs")
    assert page.url.path == "/programs"
    assert 'data-theme="dark"' in page.text
    await browser.post("/theme", theme='"><script>', after="/")
    assert 'data-theme="auto"' in (await browser.get("/")).text


async def test_editor_when_two_people_save_then_the_second_is_told_and_keeps_the_text() -> None:
    first, second = await logged_in("eva"), await logged_in("ada")
    second.app.state.services = first.app.state.services
    page = (await first.get("/programs/1?file=main.st")).text
    draft = page.split('name="draft" value="')[1].split('"')[0]
    saved = await first.post("/programs/1/files", path="main.st", text="(* one *)", draft=draft)
    assert saved.status_code == 200
    late = await first.post("/programs/1/files", path="main.st", text="(* two *)", draft=draft)
    assert late.status_code == 409
    assert "(* two *)" in late.text
    assert "changed meanwhile" in late.text


async def test_check_when_the_text_has_problems_then_they_carry_place_and_remedy() -> None:
    browser = await logged_in("vera")
    report = (await browser.post("/programs/1/check", path="main.st", text="\n  Levl1 := 1;")).json()
    problem = report["problems"][0]
    assert (problem["file"], problem["line"], problem["column"]) == ("main.st", 2, 3)
    assert problem["remedy"].startswith("Did you mean")
    assert report["ok"] is False


async def test_editor_when_the_check_does_not_answer_then_it_opens_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    browser = await logged_in("eva")

    async def busy(*_: object) -> None:
        raise fail("SV4002", "the compiler does not answer", remedy="try again")

    monkeypatch.setattr(browser.app.state.services.programs, "check", busy)
    page = await browser.get("/programs/1")
    assert page.status_code == 200
    assert "The compiler does not answer" in page.text
    assert "PROGRAM Control" in page.text


async def test_deploy_when_no_runtime_is_chosen_then_it_says_so() -> None:
    browser = await logged_in("eva")
    assert "Choose at least one runtime." in (await browser.get("/programs/1/deploy?step=2&version=2")).text
    assert "Choose at least one runtime." not in (await browser.get("/programs/1/deploy?version=2")).text


async def test_secret_when_made_then_it_is_shown_once_and_not_again() -> None:
    browser = await logged_in()
    made = await browser.post("/enrolment", node="water", hours="8")
    assert "twe_8Jk2mN4pQ6rS8tV0wX2yZ4" in made.text
    assert "twe_8Jk2mN4pQ6rS8tV0wX2yZ4" not in (await browser.get("/enrolment")).text


async def test_forces_when_one_is_on_then_every_page_of_the_runtime_says_so() -> None:
    browser = await logged_in("otto")
    await browser.post(
        "/runtimes/n1/commands",
        kind="force",
        path="Control.Auto",
        value="TRUE",
        lease="600",
        reason="pump test",
    )
    for address in (
        "/runtimes/n1",
        "/runtimes/n1/events",
        "/runtimes/n1/program",
        "/runtimes/n1/tag?path=Control.Auto",
    ):
        assert "1 value is forced" in (await browser.get(address)).text, address
    listed = (await browser.get("/forces")).text
    assert "pump test" in listed
    assert "Control.Auto" in listed
    await browser.post("/runtimes/n1/commands", kind="unforce", path="Control.Auto")
    assert "Nothing is forced" in (await browser.get("/forces")).text


async def test_static_when_asked_with_its_digest_then_it_may_be_kept_for_ever() -> None:
    browser = Browser()
    page = (await browser.get("/login")).text
    address = page.split('rel="stylesheet" href="')[1].split('"')[0]
    assert "immutable" in (await browser.get(address)).headers["cache-control"]
    assert "immutable" not in (await browser.get(address.split("?")[0])).headers["cache-control"]


async def test_devices_when_a_scan_group_is_named_then_its_figures_stand_below_the_device() -> None:
    browser = await logged_in("vera")
    page = (await browser.get("/runtimes/n1")).text
    assert "20.0 a second · 2 time-outs · 3 retries · exception 2: 1" in page
    assert "levels" in page
    assert "10.0 a second · 1 time-out · 1 retry · exception 2: 1" in page
