"""Whether Redis is there and keeps what it has accepted: the queue and the limits of linking lie in it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import redis.exceptions

from appliance.doctor.check import Check, Patient, Seen, info, ok, problem, unseen, warning
from appliance.pairing.redis_client import REDIS_ERRORS, RedisClient, explain
from appliance.settings_views import hide_password

OLDEST: Final = (6, 0)
"""What our scripts are kept to."""
FULL_SHARE: Final = 0.8
"""Of its limit of memory. It holds some kilobytes: more than that is a fault, or is not ours."""
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


async def look(patient: Patient) -> list[Seen]:
    settings = patient.settings.redis
    place = hide_password(patient.settings.redis_url)
    looked_at = f"Redis at {place}"
    try:
        client = RedisClient(patient.settings.redis_url, user=settings.user, password_file=settings.password_file)
    except PermissionError as error:
        return [unseen(f"its password ({error.filename}) may not be read by this user", looked_at)]
    except OSError as error:
        return [problem(f"its password cannot be read: {error.strerror} ({error.filename})", _MISSING, looked_at)]
    try:
        began = time.monotonic()
        await client.client.ping()
        took_ms = (time.monotonic() - began) * 1000
        told = await client.client.info("all")
        sync = await _sync(client)
    except redis.exceptions.ConnectionError as error:
        if _forbidden(error):
            return [unseen("this user may not use its socket", looked_at)]
        return [problem(f"{explain(error)}; sessions run, linking waits", _START, looked_at)]
    except REDIS_ERRORS as error:
        return [problem(f"{explain(error)}; sessions run, linking waits", _START, looked_at)]
    finally:
        await client.close()
    seen = [_place(place), *_durable(told, sync), *_memory(told), *_version(told)]
    found = [one for one in seen if one is not None]
    return [*found, ok(f"version {told.get('redis_version')} answers in {took_ms:.1f} ms", looked_at)]


_START: Final = "systemctl status amda-redis, or logs/redis.log; check redis.url"
_MISSING: Final = "Check redis.password_file; install.sh makes it anew where it is missing."


async def _sync(client: RedisClient) -> str:
    """`appendfsync`; empty where the appliance's own user may not ask for it."""
    with contextlib.suppress(redis.exceptions.ResponseError):
        return (await client.client.config_get("appendfsync")).get("appendfsync") or ""
    return ""


def _forbidden(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, PermissionError) or "Permission denied" in str(error):
            return True
        error = error.__cause__
    return False


def _place(url: str) -> Seen | None:
    parts = urlsplit(url)
    if parts.scheme != "redis" or parts.hostname in _LOOPBACK:
        return None
    return warning(
        f"{parts.hostname} is spoken to in clear text",
        "Use rediss://, or a tunnel: who waits for which number stands in it.",
    )


def _durable(told: Mapping[str, Any], sync: str) -> list[Seen]:
    looked_at = "Redis: what a power cut costs"
    if not told.get("aof_enabled"):
        found = "it keeps no append-only file: who waits for a code, and what was counted, is lost with its restart"
        return [warning(found, "appendonly yes, as in the configuration that install.sh writes", looked_at)]
    written = told.get("aof_last_write_status"), told.get("aof_last_bgrewrite_status")
    if any(status not in (None, "ok") for status in written):
        found = f"its file cannot be written (last write: {written[0]}, last rewrite: {written[1]})"
        return [problem(found, "Check the disk and Redis's log.", looked_at)]
    if sync == "no":
        return [warning("it never syncs its file by itself (appendfsync no)", "appendfsync everysec", looked_at)]
    how = f" (appendfsync {sync})" if sync else ""
    return [
        ok(
            f"its append-only file is whole{how}: at most the last second is lost, and can be asked for again",
            looked_at,
        )
    ]


def _memory(told: Mapping[str, Any]) -> list[Seen]:
    looked_at = "Redis: what happens when its memory is full"
    policy, used, limit = told.get("maxmemory_policy"), int(told.get("used_memory", 0)), int(told.get("maxmemory", 0))
    if policy not in (None, "noeviction"):
        found = f"it forgets locks and limits when it is full (maxmemory-policy {policy})"
        return [
            problem(found, "maxmemory-policy noeviction, as in the configuration that install.sh writes", looked_at)
        ]
    if limit and used > FULL_SHARE * limit:
        found = f"{used >> 20} of {limit >> 20} MiB are used"
        return [warning(found, "It holds some kilobytes for sixty sessions: look who else uses it.", looked_at)]
    return []


def _version(told: Mapping[str, Any]) -> list[Seen]:
    text = str(told.get("redis_version", ""))
    numbers = tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
    if numbers and numbers < OLDEST:
        return [
            problem(f"version {text} lacks what our scripts need", "Redis 6.0 or newer, or Valkey", "Redis: version")
        ]
    if told.get("loading"):
        return [info("it is still loading its data", looked_at="Redis: state")]
    return []


CHECK: Final = Check("redis", "Redis, and what it keeps", look)
