"""What people should know of a node's OPC UA certificate, from its state directory."""

from __future__ import annotations

import pathlib
from typing import Any

from scan.problem import TickworkError


def certificate_status(state: pathlib.Path) -> dict[str, Any]:
    """fingerprint, until, days_left, warning, and how many rejected ones wait; {} without a certificate."""
    from drivers.opcua.certificates import TrustList, certificate_facts, files_in, own_certificate

    files = files_in(state / "opcua")
    if not files.certificate.exists():
        return {}
    waiting = sum(
        kind == "rejected" for lists in (files, files.of_servers) for kind, _ in TrustList(lists).entries()
    )
    try:
        facts = certificate_facts(own_certificate(files))
    except TickworkError as error:
        return {"warning": error.problems[0].message, "rejected": waiting}
    return {
        "fingerprint": facts.fingerprint,
        "application_uri": facts.application_uri,
        "until": f"{facts.not_after:%Y-%m-%d}",
        "days_left": facts.days_left,
        "warning": facts.warning,
        "rejected": waiting,
    }


def certificate_lines(status: dict[str, Any]) -> list[str]:
    """The same for people."""
    if not status:
        return []
    lines = []
    if "until" in status:
        lines.append(f"OPC UA certificate {status['fingerprint'][:16]} valid until {status['until']}")
    if status["warning"]:
        lines.append(f"warning: {status['warning']}")
    if status["rejected"]:
        lines.append(f"{status['rejected']} rejected OPC UA certificates: see `tickwork opcua certificates`")
    return lines
