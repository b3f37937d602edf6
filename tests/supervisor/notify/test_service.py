"""From an alarm in the journal to a message at a real mail server or web server, and what is kept of it."""

from __future__ import annotations

import hashlib
import hmac
import json
import time

import msgspec
import pytest

from runtime.alarms.model import Entry, Standing
from runtime.alarms.states import State
from scan.problem import TickworkError
from supervisor.model import Actor, Role
from supervisor.notify.model import (
    SECOND,
    Address,
    Channel,
    Person,
    Pipeline,
    Roster,
    Rule,
    Schedule,
    Shift,
    Step,
)
from tests.drivers.mqtt.broker import running
from tests.drivers.mqtt.conftest import connection_to, peer_of
from tests.supervisor.notify.receivers import SECRET, MailServer, WebReceiver

OPERATOR, ENGINEER = Actor("olga", Role.OPERATOR), Actor("emil", Role.ENGINEER)
KEY = "the key of the signature"


@pytest.fixture
def mail(tmp_path):
    server = MailServer(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def web():
    server = WebReceiver()
    yield server
    server.stop()


def entry(seq, state=State.UNACKNOWLEDGED, event="raised", alarm="Level", occurrence=1, priority=1, by=""):
    standing = Standing(state, occurrence, priority, value="93", raised_ns=time.time_ns(), acked_by=by)
    return Entry(seq, time.time_ns(), alarm, event, occurrence, standing)


async def configure(notifications, admin, channel, to, *, secret=None, steps=(), **more):
    """Anna has one address; everything goes to her unless ``steps`` say more."""
    await notifications.put(admin, "channel", channel, secret=secret)
    await notifications.put(admin, "person", Person("anna", "Anna", (Address(channel.name, to),)))
    steps = steps or (Step("notify", "person:anna"), Step("wait", wait_s=600))
    await notifications.put(ENGINEER, "pipeline", Pipeline("standard", steps, **more))
    await notifications.put(ENGINEER, "rule", Rule("urgent", "standard", (1, 2)))


async def test_alarm_when_it_is_raised_then_mail_comes_by_tls_and_the_acknowledgement_ends_the_run(
    supervisor, admin, mail, eventually
):
    notifications = supervisor.services.notifications
    channel = Channel("mail", "email", mail.settings(), gather_s=0)
    await configure(notifications, admin, channel, "anna@water.test", secret=SECRET)
    await supervisor.parts.alarms.take("n1", "e", [entry(1), entry(2, alarm="Other", priority=3)])

    async def sent():
        return [one for one in await notifications.deliveries(OPERATOR) if one.state == "sent"]

    (delivery,) = await eventually(sent)
    ((recipients, text),) = mail.messages
    assert recipients == ["anna@water.test"] and "Subject: [urgent] Level (n1)" in text
    assert f"Message-ID: <{delivery.key}@water.test>" in text.replace("\r\n ", " ")
    (run,) = (await notifications.overview(OPERATOR)).runs
    assert [note.text for note in run.notes] == ["told anna by mail"] and run.state == "running"
    done = entry(3, State.ACKNOWLEDGED, "acknowledged", by="olga")
    await supervisor.parts.alarms.take("n1", "e", [done, done])

    async def over():
        return not (await notifications.overview(OPERATOR)).runs

    await eventually(over)
    (run,) = await notifications.runs(OPERATOR)
    assert (run.state, run.why, run.by) == ("ended", "acknowledged", "olga")


async def test_webhook_when_the_receiver_is_away_then_it_is_tried_again_with_the_same_key_and_a_true_signature(
    supervisor, admin, web, eventually, monkeypatch
):
    monkeypatch.setattr("supervisor.notify.breaker.RETRY_FIRST_NS", SECOND // 10)
    web.answers[:] = [503, 500]
    notifications = supervisor.services.notifications
    await configure(notifications, admin, Channel("hook", "webhook", gather_s=0), web.url, secret=KEY)
    await supervisor.parts.alarms.take("n1", "e", [entry(1)])

    async def delivered():
        return [one for one in await notifications.deliveries(OPERATOR) if one.state == "delivered"]

    (delivery,) = await eventually(delivered)
    assert delivery.tries == 3 and len(web.requests) == 3
    assert {headers["idempotency-key"] for headers, _ in web.requests} == {delivery.key}
    headers, body = web.requests[-1]
    signed = headers["x-tickwork-time"].encode() + b"." + body
    wanted = hmac.new(KEY.encode(), signed, hashlib.sha256).hexdigest()
    assert headers["x-tickwork-signature"] == f"sha256={wanted}"
    told = json.loads(body)
    assert told["key"] == delivery.key and told["alarms"][0]["alarm"] == "Level" and told["count"] == 1


async def test_flood_when_a_thousand_alarms_come_then_a_few_messages_count_them_all(
    supervisor, admin, web, eventually
):
    notifications = supervisor.services.notifications
    channel = Channel("hook", "webhook", gather_s=1, burst=2, window_s=3)
    await configure(notifications, admin, channel, web.url)
    flood = [entry(n, alarm=f"A{n}") for n in range(1, 1001)]
    for start in range(0, 1000, 100):
        await supervisor.parts.alarms.take("n1", "e", flood[start : start + 100])

    async def all_told():
        return sum(json.loads(body)["count"] for _, body in web.requests) == 1000

    await eventually(all_told, 20)
    assert len(web.requests) <= 4


async def test_channel_when_it_fails_again_and_again_then_its_circuit_opens_and_an_event_says_so(
    supervisor, admin, web, eventually, monkeypatch
):
    monkeypatch.setattr("supervisor.notify.breaker.RETRY_FIRST_NS", SECOND // 100)
    monkeypatch.setattr("supervisor.notify.breaker.PAUSE_FIRST_NS", SECOND // 2)
    web.answers[:] = [503] * 4
    notifications = supervisor.services.notifications
    channel = Channel("hook", "webhook", gather_s=0, fails_max=3, tries_max=50)
    await configure(notifications, admin, channel, web.url)
    await supervisor.parts.alarms.take("n1", "e", [entry(1)])

    async def opened():
        (state,) = (await notifications.overview(OPERATOR)).channels
        broken = notifications.broken() == {"hook": True}
        return broken and state.circuit == "open" and state.waiting == 1 and "503" in state.problem

    await eventually(opened)

    async def closed():
        (state,) = (await notifications.overview(OPERATOR)).channels
        return state.circuit == "closed" and state.waiting == 0

    await eventually(closed, 10)

    async def told():
        events = await supervisor.services.fleet.events(admin, kind="notify")
        return len(events) >= 2 and [event.text for event in events]

    texts = await eventually(told)
    assert texts[-1] == "The notification channel hook does not work; its circuit is open"
    assert texts[0] == "The notification channel hook works again"
    assert sum(b'"Level"' in body for _, body in web.requests) == 5


async def test_escalation_when_nobody_answers_then_the_next_are_told_and_muted_rules_tell_nobody(
    supervisor, admin, web, eventually
):
    notifications = supervisor.services.notifications
    steps = (Step("notify", "schedule:night"), Step("wait", wait_s=1), Step("escalate", "roster:managers"))
    channel = Channel("hook", "webhook", gather_s=0)
    await notifications.put(admin, "channel", channel)
    await notifications.put(admin, "person", Person("anna", "", (Address("hook", web.url),)))
    await notifications.put(admin, "roster", Roster("managers", ("anna",)))
    await notifications.put(admin, "schedule", Schedule("night", "UTC", (Shift((0,), 0, 0, ()),)))
    await configure(notifications, admin, channel, web.url, steps=steps)
    await supervisor.parts.alarms.take("n1", "e", [entry(1)])

    async def escalated():
        (run,) = (await notifications.overview(OPERATOR)).runs
        return run.state == "done" and [note.text for note in run.notes]

    texts = await eventually(escalated)
    assert texts == [
        "told nobody: schedule:night reaches no address now",
        "escalated to anna by hook",
        "all steps are done; nobody has answered",
    ]
    await notifications.mute(OPERATOR, "urgent", 60, "works on the line")
    await supervisor.parts.alarms.take("n1", "e", [entry(2, alarm="Other")])

    async def muted():
        newest = (await notifications.overview(OPERATOR)).runs[0]
        return newest.facts.alarm == "Other" and newest.notes and newest.notes[0].text

    assert await eventually(muted) == "muted: told schedule:night"
    stopped = await notifications.stop(OPERATOR, 1, "seen on the spot")
    assert (stopped.state, stopped.by) == ("ended", "olga")
    await notifications.unmute(OPERATOR, "urgent")


async def test_secret_when_stored_then_it_is_nowhere_in_the_file_the_audit_or_the_answers(
    supervisor, admin, mail
):
    notifications = supervisor.services.notifications
    channel = Channel("mail", "email", mail.settings(), gather_s=0)
    await configure(notifications, admin, channel, "anna@water.test", secret=SECRET)
    settings = await notifications.settings(OPERATOR)
    assert settings.secrets == ("mail",) and SECRET not in msgspec.json.encode(settings).decode()
    audited = await supervisor.services.audit.entries(admin, action="notify.")
    assert "a new secret" in audited[-1].new and SECRET not in msgspec.json.encode(audited).decode()
    assert SECRET.encode() not in (supervisor.parts.data_dir / "config.db").read_bytes()
    await notifications.put(admin, "channel", msgspec.structs.replace(channel, burst=9))
    delivery = await notifications.test(ENGINEER, "mail", "anna@water.test")
    assert delivery.state == "sent", "the secret was kept"
    refused = await notifications.test(ENGINEER, "mail", "nobody@water.test")
    assert refused.state == "failed" and "550 no such mailbox" in refused.problem
    await notifications.put(admin, "channel", channel, secret="wrong " + SECRET)
    refused = await notifications.test(ENGINEER, "mail", "anna@water.test")
    assert refused.problem == "the server refuses user or password: 535"


async def test_settings_when_the_role_is_too_small_or_something_is_wrong_then_refused(supervisor, admin, web):
    notifications = supervisor.services.notifications
    await configure(notifications, admin, Channel("hook", "webhook"), web.url)
    mail = Channel("m", "email", {"host": "x", "port": "0", "security": "none", "user": "u", "speed": "9"})
    for code, attempt in (
        ("SV1003", notifications.put(ENGINEER, "channel", Channel("other", "webhook"))),
        ("SV1003", notifications.put(OPERATOR, "roster", Roster("r"))),
        ("SV1003", notifications.overview(Actor("v", Role.VIEWER))),
        ("SV1003", notifications.mute(Actor("k", Role.ADMIN, nodes=("n1",)), "", 60, "why")),
        ("SV1001", notifications.mute(OPERATOR, "", 60, " ")),
        ("SV7002", notifications.remove(admin, "channel", "hook")),
        ("SV7001", notifications.put(admin, "channel", mail)),
        ("SV7001", notifications.put(admin, "channel", Channel("a", "apprise"))),
        ("SV7001", notifications.put(admin, "person", Person("b", "", (Address("hook", "ftp://x"),)))),
        ("SV7001", notifications.put(admin, "schedule", Schedule("s", "Berlin"))),
        ("SV7001", notifications.put(admin, "pipeline", Pipeline("p", (Step("wait", wait_s=1),)))),
        ("SV7001", notifications.put(admin, "rule", Rule("r", "nowhere"))),
        ("SV1004", notifications.test(admin, "nowhere", "x")),
    ):
        with pytest.raises(TickworkError) as refused:
            await attempt
        assert refused.value.code == code, refused.value


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")
async def test_apprise_when_the_service_is_a_web_server_then_it_gets_the_message(supervisor, admin, web):
    notifications = supervisor.services.notifications
    address = web.url.replace("http://", "json://").replace("/alarms", "/{to}")
    await notifications.put(admin, "channel", Channel("chat", "apprise"), secret=address)
    delivery = await notifications.test(ENGINEER, "chat", "room 1")
    assert delivery.state == "sent", delivery.problem
    assert "emil tests the channel chat" in json.loads(web.requests[0][1])["message"]


async def test_api_when_used_as_described_then_settings_are_made_read_and_removed(supervisor, web):
    http, at = await supervisor.http(), "/api/v1/notifications"
    for path, body in (
        ("channels/hook", {"channel": {"name": "hook", "kind": "webhook"}, "secret": KEY}),
        ("people/anna", {"name": "anna", "addresses": [{"channel": "hook", "to": web.url}]}),
        ("pipelines/p", {"name": "p", "steps": [{"kind": "notify", "to": "person:anna"}]}),
        ("rules/r", {"name": "r", "pipeline": "p"}),
    ):
        answer = await http.put(f"{at}/{path}", json=body)
        assert answer.status_code == 200, answer.text
    known = (await http.get(f"{at}/settings")).json()
    assert known["secrets"] == ["hook"] and KEY not in json.dumps(known)
    tested = await http.post(f"{at}/channels/hook/test", json={"to": web.url})
    assert tested.json()["state"] == "delivered" and json.loads(web.requests[0][1])["test"] is True
    listed = (await http.get(f"{at}/deliveries?channel=hook")).json()["items"]
    assert [one["id"] for one in listed] == [tested.json()["id"]]
    made = await http.post(f"{at}/mutes", json={"duration_s": 60, "reason": "works"})
    assert made.status_code == 201
    assert (await http.get(at)).json()["mutes"][0]["reason"] == "works"
    assert (await http.delete(f"{at}/mutes")).status_code == 204
    assert (await http.delete(f"{at}/people/anna")).json()["code"] == "SV7002"
    for page in ("/notifications", "/notifications/settings", "/notifications/settings/channel/hook"):
        shown = await http.get(page, headers={"Accept": "text/html"})
        assert shown.status_code == 200 and "hook" in shown.text and KEY not in shown.text
    assert "hook" in (await http.get("/notifications?format=csv")).text
    assert (await http.put(f"{at}/rules/other", json={"name": "r", "pipeline": "p"})).status_code == 400
    assert (await http.delete(f"{at}/rules/r")).status_code == 200
    viewer = await supervisor.http(Role.VIEWER)
    assert (await viewer.get(at)).status_code == 403


async def test_message_when_the_supervisor_stops_before_it_is_sent_then_the_next_one_sends_it_with_the_same_key(
    run_supervisor, tmp_path, admin, web, eventually, monkeypatch
):
    monkeypatch.setattr("supervisor.notify.breaker.RETRY_FIRST_NS", 2 * SECOND)
    web.answers[:] = [503]
    async with run_supervisor(tmp_path / "data") as first:
        notifications = first.services.notifications
        await first.parts.alarms.take("n1", "e", [entry(1, alarm="Before the first rule")])
        await configure(notifications, admin, Channel("hook", "webhook", gather_s=0), web.url)
        await first.parts.alarms.take("n1", "e", [entry(2)])

        async def refused():
            return [one for one in await notifications.deliveries(OPERATOR) if one.tries]

        (before,) = await eventually(refused)
    async with run_supervisor(tmp_path / "data") as second:
        notifications = second.services.notifications

        async def delivered():
            return [one for one in await notifications.deliveries(OPERATOR) if one.state == "delivered"]

        (after,) = await eventually(delivered, 15)
    assert after.key == before.key and after.tries == 2 and len(web.requests) == 2
    assert [one.facts.alarm for one in after.mentions] == ["Level"]


async def test_mqtt_when_a_bridge_is_named_then_the_broker_has_the_message(
    supervisor, admin, tmp_path, eventually
):
    notifications, mqtt = supervisor.services.notifications, supervisor.parts.mqtt
    await notifications.put(admin, "channel", Channel("bus", "mqtt", {"bridge": "plant"}))
    refused = await notifications.test(ENGINEER, "bus", "night/anna")
    assert (refused.state, "no bridge of kind json" in refused.problem) == ("failed", True)
    with running(tmp_path) as broker:
        async with peer_of(connection_to(broker, "look"), "site/#") as looker:
            (mqtt.folder / "mqtt.toml").write_text(
                f'[[bridge]]\nname = "plant"\nkind = "json"\ntopic = "site"\nbrokers = ["{broker.address}"]\n'
            )

            async def bridged():
                return mqtt.status()[1]

            await eventually(bridged)
            sent = await notifications.test(ENGINEER, "bus", "night/anna")

            async def arrived():
                return looker.payloads("site/notifications/night/anna")

            (message,) = await eventually(arrived)
    assert sent.state == "sent" and json.loads(message)["key"] == sent.key
