"""Restart policy, back-off, systemd notifications."""

import os
import pathlib
import socket

from runtime.restart import DELAY_MAX_S, Backoff, RestartPolicy
from runtime.systemd import Notifier


def test_policy_when_a_process_dies_too_often_then_it_is_given_up() -> None:
    policy = RestartPolicy(3, 60.0)
    delays = [policy.next_delay_s(float(now)) for now in range(4)]
    assert delays[3] is None
    assert delays[:3] == sorted(delay for delay in delays if delay is not None)


def test_policy_when_deaths_are_far_apart_then_it_starts_anew_for_ever() -> None:
    policy = RestartPolicy(1, 10.0)
    assert [policy.next_delay_s(now) for now in (0.0, 11.0, 22.0)] == [0.1, 0.1, 0.1]


def test_policy_when_unlimited_then_the_pause_grows_to_its_limit() -> None:
    policy = RestartPolicy(None, 1e9)
    delays = [policy.next_delay_s(float(now)) or 0.0 for now in range(40)]
    assert delays[-1] == DELAY_MAX_S


def test_backoff_when_asked_again_then_it_doubles_and_spreads() -> None:
    backoff = Backoff(1.0, 8.0)
    assert [backoff.next_s(1.0) for _ in range(5)] == [1.0, 2.0, 4.0, 8.0, 8.0]
    assert backoff.next_s(0.0) == 4.0
    backoff.reset()
    assert backoff.next_s(0.0) == 0.5


def test_notifier_when_systemd_listens_then_it_hears_the_node(tmp_path: pathlib.Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        notifier = Notifier(
            {
                "NOTIFY_SOCKET": str(tmp_path / "notify"),
                "WATCHDOG_USEC": "3000000",
                "WATCHDOG_PID": str(os.getpid()),
            }
        )
        notifier.ready("fine")
        notifier.alive()
        notifier.stopping()
        heard = [listener.recv(100) for _ in range(3)]
    assert heard == [b"READY=1\nSTATUS=fine", b"WATCHDOG=1", b"STOPPING=1"]
    assert notifier.interval_s == 1.5


def test_notifier_when_there_is_no_systemd_then_it_is_silent() -> None:
    notifier = Notifier({"WATCHDOG_USEC": "5", "WATCHDOG_PID": "1"})
    notifier.ready("x")
    assert notifier.interval_s == 0.0
