"""The link's state machine against a supervisor that is only rules: nothing is lost, doubled or out of order."""

import base64
import pathlib
import tempfile

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import link
from runtime.uplink import WINDOW, State, Uplink
from runtime.uplink_buffer import Buffer
from runtime.uplink_identity import Identity
from scan.problem import TickworkError

SECOND_NS = 10**9


class FakeSupervisor:
    """What the other side of the link must do, and the order in which it got things."""

    def __init__(self, public_key: str) -> None:
        self.key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key))
        self.nonce = b"n" * 32
        self.committed: dict[str, int] = {}
        self.stored: list[link.Batch | link.Journal] = []
        self.seen: list[link.Up] = []
        self.boot = ""

    def challenge(self) -> bytes:
        return link.encode(link.Challenge(self.nonce, 1))

    def take(self, frame: bytes) -> list[bytes]:
        """Frames to answer with. Committing is a decision of its own (``commit``)."""
        message = link.decode_up(frame)
        self.seen.append(message)
        if isinstance(message, link.Hello):
            self.key.verify(message.signature, b"tickwork-link-1" + self.nonce + message.node_id.encode())
            self.boot = message.boot
            return [link.encode(link.Welcome(self.committed.get(message.boot, 0), 1))]
        if isinstance(message, link.Batch | link.Journal):
            self.stored.append(message)
        return []

    def commit(self) -> list[bytes]:
        """Commits the stored messages in order, ignoring what it has; a gap would be an error of the node."""
        done = self.committed.get(self.boot, 0)
        for message in self.stored:
            if message.seq <= done:
                continue
            assert message.seq == done + 1, "a gap"
            done = message.seq
        self.committed[self.boot] = done
        return [link.encode(link.Committed(done))]


class Rig:
    """Node side, supervisor and a line between them that can be cut."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.identity = Identity(folder)
        self.supervisor = FakeSupervisor(self.identity.public_key)
        self.now_ns = SECOND_NS
        self.open()

    def open(self) -> None:
        self.buffer = Buffer(self.folder / "buffer", size_max=10**8, age_ns_max=10**18)
        self.uplink = Uplink(self.identity, "node-1", self.buffer)

    def connect(self) -> None:
        self.uplink.opened(self.now_ns)
        assert not self.uplink.received(self.supervisor.challenge(), self.now_ns)
        (hello,) = self.uplink.outgoing()
        (welcome,) = self.supervisor.take(hello)
        assert self.uplink.received(welcome, self.now_ns)
        self.uplink.resume(link.Describe("n", "d", "", (), (), ()))

    def append(self, text: str) -> None:
        self.uplink.append_events((link.Event(self.now_ns, "k", "s", text),), self.now_ns)

    def flow(self, limit: int = 10**9) -> None:
        """Moves frames to the supervisor; after ``limit`` of them the line is cut and dialled again."""
        self.buffer.sync()
        frames = self.uplink.outgoing()
        for frame in frames[:limit]:
            self.supervisor.take(frame)
        if len(frames) > limit:
            self.uplink.closed()
            self.connect()

    def acknowledge(self) -> None:
        for frame in self.supervisor.commit():
            self.uplink.received(frame, self.now_ns)

    def give(self, message: link.Down) -> None:
        self.uplink.received(link.encode(message), self.now_ns)


@pytest.fixture
def rig(tmp_path: pathlib.Path) -> Rig:
    return Rig(tmp_path)


def batch(seq: int) -> link.Batch:
    return link.Batch(seq, "d", b"", b"", b"", b"")


def test_greeting_when_the_challenge_is_signed_then_the_link_is_up(rig: Rig) -> None:
    rig.connect()
    assert rig.uplink.state is State.UP
    rig.flow()
    assert isinstance(rig.supervisor.seen[1], link.Describe)


def test_greeting_when_another_key_signs_then_the_supervisor_sees_it(
    rig: Rig, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Uplink(Identity(tmp_path / "other"), "node-1", rig.buffer)
    other.opened(1)
    other.received(rig.supervisor.challenge(), 1)
    with pytest.raises(InvalidSignature):
        rig.supervisor.take(other.outgoing()[0])


def test_greeting_when_the_supervisor_says_nothing_then_it_is_overdue(rig: Rig) -> None:
    rig.uplink.opened(0)
    assert not rig.uplink.is_overdue(SECOND_NS)
    assert rig.uplink.is_overdue(60 * SECOND_NS)


def test_messages_when_not_acknowledged_then_they_are_sent_again_in_order(rig: Rig) -> None:
    rig.connect()
    for number in range(5):
        rig.append(str(number))
    rig.flow()
    rig.uplink.closed()
    assert rig.buffer.pending == 5
    rig.connect()
    rig.flow()
    rig.acknowledge()
    assert [one.seq for one in rig.supervisor.stored] == [1, 2, 3, 4, 5] * 2
    assert rig.buffer.pending == 0


def test_batches_when_taken_while_the_link_is_down_then_they_are_historical(rig: Rig) -> None:
    rig.uplink.append(batch, 1)
    rig.connect()
    rig.uplink.append(batch, 2)
    rig.flow()
    first, second = (one for one in rig.supervisor.stored if isinstance(one, link.Batch))
    assert (first.historical, second.historical) == (True, False)


def test_window_when_nothing_is_acknowledged_then_sending_stops(rig: Rig) -> None:
    rig.connect()
    for number in range(WINDOW + 20):
        rig.append(str(number))
    rig.flow()
    rig.flow()
    assert len(rig.supervisor.stored) == WINDOW
    rig.acknowledge()
    rig.flow()
    assert len(rig.supervisor.stored) == WINDOW + 20


def test_command_when_it_comes_twice_then_it_is_done_once_and_answered_twice(rig: Rig) -> None:
    rig.connect()
    command = link.Command("c1", "write", {"a": "1"}, "ann")
    rig.give(command)
    rig.give(command)
    assert len(rig.uplink.orders) == 1
    rig.uplink.result(link.CommandResult("c1", "effective", scan=7))
    rig.give(command)
    rig.flow()
    results = [one for one in rig.supervisor.seen if isinstance(one, link.CommandResult)]
    assert [one.scan for one in results] == [7, 7]
    assert len(rig.uplink.orders) == 1


def test_command_when_it_is_too_late_then_it_expires(rig: Rig) -> None:
    rig.connect()
    rig.give(link.Command("c1", "write", {"a": "1"}, "ann", expires_ns=rig.now_ns - 1))
    rig.flow()
    assert not rig.uplink.orders
    assert [one.state for one in rig.supervisor.seen if isinstance(one, link.CommandResult)] == ["expired"]


def test_results_when_the_link_is_down_then_they_come_after_the_next_welcome(rig: Rig) -> None:
    rig.connect()
    rig.give(link.Deploy("d1", b"", "x", "ann"))
    rig.give(link.Command("c1", "stop", {}, "ann"))
    rig.uplink.closed()
    rig.uplink.result(link.CommandResult("c1", "effective"))
    rig.uplink.deploy_state(link.DeployState("d1", "running", "digest"))
    rig.connect()
    rig.flow()
    kinds = [type(one).__name__ for one in rig.supervisor.seen]
    assert kinds.index("Describe", 2) < kinds.index("CommandResult")
    assert "digest" in [one.digest for one in rig.supervisor.seen if isinstance(one, link.DeployState)]


def test_deploy_when_it_comes_again_then_its_last_state_is_told(rig: Rig) -> None:
    rig.connect()
    order = link.Deploy("d1", b"", "x", "ann")
    rig.give(order)
    rig.uplink.deploy_state(link.DeployState("d1", "refused"))
    rig.give(order)
    rig.flow()
    assert len(rig.uplink.orders) == 1
    assert [one.state for one in rig.supervisor.seen if isinstance(one, link.DeployState)] == ["refused"] * 2


def test_orders_when_the_link_is_not_up_then_they_are_ignored(rig: Rig) -> None:
    rig.uplink.opened(1)
    rig.give(link.Command("c1", "stop", {}, "mallory"))
    assert not rig.uplink.orders


def test_refusal_when_told_then_it_is_remembered_until_the_next_welcome(rig: Rig) -> None:
    rig.uplink.opened(1)
    rig.give(link.Refused(link.Problem("SV1001", "unknown node")))
    assert rig.uplink.refused is not None
    rig.connect()
    assert rig.uplink.refused is None


@given(st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_frame_when_it_is_any_bytes_then_only_the_agreed_error(frame: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        rig = Rig(pathlib.Path(name))
        rig.connect()
        try:
            rig.uplink.received(frame, 1)
        except TickworkError as error:
            assert error.code == "LK1001"
        rig.buffer.close()


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(1, 5)),
            st.tuples(st.just("flow"), st.integers(0, 8)),
            st.tuples(st.sampled_from(["acknowledge", "cut", "crash"]), st.just(0)),
        ),
        max_size=40,
    )
)
@settings(max_examples=150, deadline=None)
def test_link_when_cut_or_crashed_anywhere_then_every_message_arrives_once_in_order(
    steps: list[tuple[str, int]],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        rig, count = Rig(pathlib.Path(name)), 0
        rig.connect()
        for step, number in steps:
            if step == "append":
                for _ in range(number):
                    rig.append(str(count))
                    count += 1
            elif step == "flow":
                rig.flow(number)
            elif step == "acknowledge":
                rig.acknowledge()
            elif step == "cut":
                rig.uplink.closed()
                rig.connect()
            else:
                rig.buffer.close()
                rig.open()
                rig.connect()
        for _ in range(count // 8 + 3):
            rig.flow()
            rig.acknowledge()
        texts = {
            one.seq: one.events[0].text for one in rig.supervisor.stored if isinstance(one, link.Journal)
        }
        assert texts == {number + 1: str(number) for number in range(count)}
        assert rig.buffer.pending == 0
        rig.buffer.close()
