"""The daemon's last lines in memory, for whoever looks over the API: journald keeps the rest, and asks for rights.

A handler like any other: what it is given has been masked, as has every other line (`logging.configure_logging`).
"""

from __future__ import annotations

import collections
import logging
from typing import Final

from appliance.model_history import LogEntry, LogSource

KEPT: Final = 2000
"""Lines; a day of a quiet daemon, 400 KB at most in practice."""
LINE_MAX: Final = 2000
"""Characters; the rest of a longer line is in the log itself."""


class RecentLog(logging.Handler):
    """Keeps lines of this process, numbered, so that a reader can ask for those after the last one that it has."""

    def __init__(self, kept: int = KEPT) -> None:
        super().__init__()
        self._lines: collections.deque[LogEntry] = collections.deque(maxlen=kept)
        self._count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Called with the handler's lock held, from any thread. A traceback becomes one entry for each of its lines."""
        try:
            text = self.format(record)
        except Exception:  # as in every handler: a line that cannot be formatted stops nobody
            self.handleError(record)
            return
        level = record.levelname.lower()
        for line in text.splitlines():
            self._count += 1
            self._lines.append(
                LogEntry(at=record.created, source=LogSource.DAEMON, session=None, level=level, text=line[:LINE_MAX])
            )

    @property
    def last(self) -> int:
        """Number of the newest line; 0 before the first one."""
        return self._count

    def after(self, number: int) -> list[LogEntry]:
        """Lines with a higher number, oldest first, as far as they are still kept."""
        self.acquire()
        try:
            new = min(self._count - number, len(self._lines))
            return list(self._lines)[-new:] if new > 0 else []
        finally:
            self.release()


RECENT: Final = RecentLog()
"""Of this process; as there is one log, there is one memory of it."""
