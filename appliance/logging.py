"""The daemon's log: one structured line per event on standard error, where journald or a terminal takes it.

Secrets and phone numbers are masked here, at the source, for our own lines and for those of libraries alike; no reader
of the log has to know what to hide.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final, TextIO

import structlog

from appliance.masking import clean_field
from appliance.recent_log import RECENT

_QUIET: Final = ("aiohttp.access", "asyncio", "aiosqlite", "watchfiles")
"""Libraries that tell at INFO or DEBUG what nobody needs line by line."""
_ENVELOPE: Final = frozenset({"level", "timestamp", "logger"})
"""Fields that structlog itself fills in."""
_APART: Final = _ENVELOPE | {"event", "exception"}
"""Fields that are not shown as name=value on a line for people."""


def mask_secrets(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: hides phone numbers anywhere, and fields whose name says that they are secret."""
    for name, value in line.items():
        if name not in _ENVELOPE:
            line[name] = clean_field(name, value)
    return line


def one_line(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> str:
    """Renders what happened and its fields without time and level, which are shown beside; a traceback follows."""
    fields = (f"{name}={value}" for name, value in line.items() if name not in _APART)
    text = " ".join((str(line.get("event", "")), *fields))
    return f"{text}\n{line['exception']}" if line.get("exception") else text


def configure_logging(level: str, log_format: str = "auto", stream: TextIO | None = None) -> None:
    """Send structlog's and the standard library's lines to `stream` (default: standard error), and keep the last ones.

    `level`: debug, info, warning, error. `log_format`: console, json, or auto (console on a terminal, else json).
    """
    stream = sys.stderr if stream is None else stream
    console = log_format == "console" or (log_format == "auto" and stream.isatty())
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
    ]
    last: list[structlog.typing.Processor] = [structlog.processors.format_exc_info, mask_secrets]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=stream.isatty())
        if console
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last, renderer],
        )
    )
    RECENT.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last, one_line],
        )
    )
    logging.basicConfig(handlers=[handler, RECENT], level=number, force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared[:-1],
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
