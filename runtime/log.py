"""Logs of a node's processes: one line an event on standard error, JSON for machines, plain text in a terminal."""

from __future__ import annotations

import os
import sys

import structlog

ENVIRONMENT = "TICKWORK_LOG"  # "json" or "text"; the parent decides for its children
LEVEL_ENVIRONMENT = "TICKWORK_LOG_LEVEL"
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure(process: str) -> None:
    """Sets up structlog for this process; ``process`` stands in each line."""
    form = os.environ.get(ENVIRONMENT) or ("text" if sys.stderr.isatty() else "json")
    os.environ[ENVIRONMENT] = form
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
        if form == "text"
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            _LEVELS.get(os.environ.get(LEVEL_ENVIRONMENT, "info"), 20)
        ),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
