"""The clock: codes carry an expiry, S3 refuses signatures of another time, and the ledger is only as good as it is."""

from __future__ import annotations

import contextlib
import ctypes
import email.utils
import errno
import http.client
import sqlite3
import time
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from appliance.doctor.check import Check, Patient, Seen, in_thread, ok, problem, unseen, warning
from appliance.doctor.database_file import HiddenError, rows

FLOOR: Final = 1_790_812_800
"""2026-10-01, before this release: no right clock is older. As in provisioning/install/places.sh."""
AHEAD_S: Final = 300.0
"""Rows of the future: written before the clock was set back."""
SKEW_S: Final = 30.0
REFUSED_S: Final = 300.0
"""S3 refuses after fifteen minutes; codes and tokens are wrong much earlier."""
ANSWER_S: Final = 5.0
_ERROR: Final = 5
"""What adjtimex(2) returns while nobody keeps the clock right."""
_SYNCHRONISED: Final = "/run/systemd/timesync/synchronized"
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


class _Timex(ctypes.Structure):
    """`struct timex` of adjtimex(2), as far as its end is of interest; the rest is room."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 32),
    )


def look(patient: Patient) -> list[Seen]:
    now = time.time()
    if now < FLOOR:
        found = f"it says {time.strftime('%Y-%m-%d', time.gmtime(now))}, which has long passed"
        return [problem(found, _SET, "the time itself")]
    return [*_kept(patient), *_history(patient, now), *_elsewhere(patient)]


_SET: Final = "timedatectl set-ntp true; or apt install systemd-timesyncd"


def _kept(patient: Patient) -> Iterator[Seen]:
    """Whether somebody keeps it right."""
    looked_at = "synchronisation"
    found = Timex.read()
    if found is None:
        if patient.at(_SYNCHRONISED).exists():
            yield ok("systemd-timesyncd keeps it right", looked_at)
        else:
            yield unseen("this process may not ask the kernel for it", looked_at)
    elif found.synchronised:
        yield ok(f"it is kept right, to {found.error_s * 1000:.0f} ms at most", looked_at)
    else:
        yield warning("nobody keeps it right: it drifts by some seconds a week", _SET, looked_at)


class Timex:
    """What the kernel knows of its clock."""

    def __init__(self, *, synchronised: bool, error_s: float) -> None:
        self.synchronised = synchronised
        self.error_s = error_s

    @classmethod
    def read(cls) -> Timex | None:
        """None where a service may not (ProtectClock)."""
        libc = ctypes.CDLL(None, use_errno=True)
        state = _Timex()
        result = libc.adjtimex(ctypes.byref(state))
        if result < 0:
            if ctypes.get_errno() in (errno.EPERM, errno.ENOSYS):
                return None
            raise OSError(ctypes.get_errno(), "adjtimex")
        return cls(synchronised=result != _ERROR, error_s=state.maxerror / 1e6)


def _history(patient: Patient, now: float) -> Iterator[Seen]:
    """Whether it has been ahead of what it says now."""
    if patient.settings.network.staging is not None:  # its clock is a rehearsal's
        return
    with contextlib.suppress(HiddenError, OSError, sqlite3.Error):
        latest = rows(patient.settings.paths.database, "SELECT max(at) FROM events")[0][0]
        if latest is not None and latest - now > AHEAD_S:
            found = f"the newest event is {latest - now:.0f} s ahead: the clock was set back, or is wrong now"
            yield warning(
                found, "Compare it with another clock; new events are sorted among old ones until then.", "events"
            )


def _elsewhere(patient: Patient) -> Iterator[Seen]:
    """Against the S3 server, where that is another machine: it is who refuses us."""
    endpoint = patient.settings.storage.endpoint
    if endpoint is not None and urlsplit(endpoint).hostname not in _LOOPBACK:
        yield from against(endpoint)


def against(endpoint: str) -> Iterator[Seen]:
    """Our clock against that of a server, by the date of its answer."""
    url = urlsplit(endpoint)
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    with contextlib.closing(kind(url.hostname or "", url.port, timeout=ANSWER_S)) as connection:
        try:
            connection.request("HEAD", "/")
            said = email.utils.parsedate_to_datetime(connection.getresponse().headers.get("Date") or "")
        except (OSError, ValueError, http.client.HTTPException):  # that it does not answer is another check's to say
            return
    looked_at = f"clock of {url.hostname}"
    skew_s = time.time() - said.timestamp()
    if abs(skew_s) > REFUSED_S:
        yield problem(f"ours is {skew_s:+.0f} s from it: S3 refuses requests of another time", _SET, looked_at)
    elif abs(skew_s) > SKEW_S:
        yield warning(f"ours is {skew_s:+.0f} s from it", _SET, looked_at)
    else:
        yield ok("both say the same", looked_at)


CHECK: Final = Check("clock", "clock, and who keeps it right", in_thread(look))
