"""One attempt to tell somebody: a signed webhook by our own client, everything else by apprise in a process of its own.

Apprise is a process because it knows a hundred services, costs 55 MB while it works, and blocks as it likes: none of
that is for the daemon. Its target is handed over in the environment and its text by a pipe, never on the command line,
which everybody on the machine can read.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import aiohttp
import msgspec

from appliance.history.alert_texts import Message
from appliance.history.settings import AlertSettings
from appliance.history.signing import SIGNATURE_HEADER, sign
from appliance.history.targets import (
    WEBHOOK_SCHEMES,
    ForbiddenTargetError,
    Reach,
    check_reachable,
    connector,
    contact_reach,
)
from appliance.masking import clean_text

_APPRISE: Final = "from apprise.cli import main; main()"
_KEEP: Final = ("PATH", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "http_proxy", "https_proxy", "no_proxy", "HTTPS_PROXY")
"""Variables that apprise may see; the rest may hold secrets of ours."""
_GRACE_S: Final = 2.0
"""Apprise limits itself; this is for the case that it cannot."""
_ERROR_MAX: Final = 200
_SECONDS: Final = re.compile(r"[0-9]{1,9}")
"""`Retry-After` may also be a date (RFC 9110, 10.2.3); the usual pause does for that."""


class DeliveryError(Exception):
    """It could not be told; `str()` is one line without secrets. `permanent`: trying again is useless."""

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(clean_text(message)[:_ERROR_MAX])
        self.permanent = permanent


class Sender:
    """Delivers to one target at a time; at most one apprise process lives."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._one_apprise = asyncio.Lock()

    async def send(self, target: str, message: Message, settings: AlertSettings, *, person: bool) -> None:
        """Raises DeliveryError. Takes no longer than `settings.delivery_timeout_s`, and a little for ending a process
        that hangs. `person`: the target came by the API and must lie in the open internet."""
        try:
            if urlsplit(target).scheme.lower() in WEBHOOK_SCHEMES:
                await self._webhook(target, message, settings, person=person)
                return
            if person:
                await check_reachable(target, settings)
            async with self._one_apprise:
                await _apprise(target, message, settings.delivery_timeout_s)
        except ForbiddenTargetError as error:
            raise DeliveryError(str(error), permanent=True) from error
        except ValueError as error:
            raise DeliveryError("the target is not a valid URL", permanent=True) from error

    async def _webhook(self, url: str, message: Message, settings: AlertSettings, *, person: bool) -> None:
        if not settings.webhook_secret:
            raise DeliveryError("alerts.webhook_secret is not set, and webhooks are signed")
        receipt = await post_signed(
            url,
            msgspec.json.encode(message),
            settings.webhook_secret,
            reach=contact_reach(settings, person=person),
            timeout_s=settings.delivery_timeout_s,
            now=self._clock(),
        )
        if not receipt.taken:
            raise DeliveryError(f"webhook answered {receipt.status}")


class Receipt(NamedTuple):
    """What a receiver answered. `retry_after_s`: when it wants to be asked again; 0: it did not say."""

    status: int
    retry_after_s: float

    @property
    def taken(self) -> bool:
        return 200 <= self.status < 300


async def post_signed(
    url: str,
    body: bytes,
    secret: str,
    *,
    reach: Reach,
    timeout_s: float,
    now: float,
    headers: Mapping[str, str] | None = None,
) -> Receipt:
    """Post JSON with its signature, once. Redirections are not followed: they could lead anywhere. Of the answer only
    the head is read.

    Raises DeliveryError if there is no answer, ForbiddenTargetError if the URL leads where it must not, ValueError if
    it is none.
    """
    door = connector(reach, urlsplit(url).hostname or "")
    sent = {
        "Content-Type": "application/json",
        "User-Agent": "amda",
        SIGNATURE_HEADER: sign(secret, body, now),
        **(headers or {}),
    }
    try:
        async with (
            aiohttp.ClientSession(connector=door, timeout=aiohttp.ClientTimeout(total=timeout_s)) as client,
            client.post(url, data=body, headers=sent, allow_redirects=False) as answer,
        ):
            after = answer.headers.get("Retry-After", "")
            return Receipt(answer.status, float(after) if _SECONDS.fullmatch(after) else 0.0)
    except TimeoutError as error:
        raise DeliveryError(f"no answer within {timeout_s:g} s") from error
    except (aiohttp.ClientError, OSError) as error:
        raise DeliveryError(_why(error)) from error


def _why(error: aiohttp.ClientError | OSError) -> str:
    """In a few words of our own: the library's name classes and hosts, and may name the URL."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return f"the name {error.host} is not known"
        case aiohttp.ClientConnectorCertificateError():
            return f"the certificate of {error.host} is not valid: {error.certificate_error}"
        case aiohttp.ClientConnectorSSLError():
            return f"no TLS with {error.host}: {error.os_error.strerror or type(error.os_error).__name__}"
        case aiohttp.ClientConnectorError():
            why = os.strerror(error.os_error.errno) if error.os_error.errno else type(error.os_error).__name__
            return f"no connection to {error.host}:{error.port}: {why}"
        case aiohttp.ServerDisconnectedError() | ConnectionError():
            return "the connection ended without an answer"
        case aiohttp.InvalidURL():
            return "the URL is not valid"
        case aiohttp.ClientResponseError() | aiohttp.ClientPayloadError():
            return "the answer is not HTTP as it should be"
    return type(error).__name__


async def ping(url: str, timeout_s: float) -> None:
    """Call a dead man's switch. Raises DeliveryError."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout_s)) as client,
            client.get(url) as answer,
        ):
            status = answer.status
    except TimeoutError as error:
        raise DeliveryError(f"no answer within {timeout_s:g} s") from error
    except (aiohttp.ClientError, ValueError) as error:
        raise DeliveryError(f"{type(error).__name__}: {error}") from error
    if not 200 <= status < 300:
        raise DeliveryError(f"answered {status}")


async def _apprise(target: str, message: Message, timeout_s: float) -> None:
    environment = {name: os.environ[name] for name in _KEEP if name in os.environ}
    environment |= {
        "APPRISE_URLS": target,
        "APPRISE_CONFIG_PATH": os.devnull,  # it would otherwise read settings of its own, and prefer them
        "HOME": os.devnull,
        "LC_ALL": "C.UTF-8",
    }
    options = ("--title", message.title, "--notification-type", message.kind, "--storage-mode", "memory")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-I", "-X", "utf8", "-c", _APPRISE, *options, "--limit", f"{timeout_s:g}"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment,
        cwd="/",
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout_s + _GRACE_S):
            said, _ = await process.communicate(message.body.encode())
    except TimeoutError as error:
        raise DeliveryError(f"apprise did not end within {timeout_s:g} s") from error
    finally:
        await _end(process)
    if process.returncode != 0:
        lines = said.decode(errors="replace").strip().splitlines()
        raise DeliveryError(f"apprise: {lines[0] if lines else 'the service refused the message'}")


async def _end(process: asyncio.subprocess.Process) -> None:
    """Whatever happened, nothing of it stays behind."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
