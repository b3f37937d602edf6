"""Rules for all tests."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
from hypothesis import settings

settings.register_profile(
    "tickwork", deadline=None
)  # how long an example takes says something about the machine only
settings.load_profile("tickwork")

# Reasons of skips that say a part of the machine is missing; rights that a machine does not grant are no part.
MISSING_PARTS = ("not installed", "Debian package", "needs the package", "is missing")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With CI=true a missing part fails the run: a test that is skipped there would never be missed."""
    report = yield
    if os.environ.get("CI") == "true" and report.skipped and call.excinfo is not None:
        reason = str(call.excinfo.value)
        if any(part in reason for part in MISSING_PARTS):
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid}: skipped, but CI has to have it: {reason}"
    return report
