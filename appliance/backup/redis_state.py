"""What Redis holds, as plain values: taken in one step, and put back as far as it still means something.

Links that were under way die with the machine that led them; what outlives it is what WhatsApp remembers of us: when a
number or session may ask for a code again, and the counters that only grow.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from appliance.backup.errors import BackupError, BackupTrouble
from appliance.pairing.redis_client import REDIS_ERRORS, RedisClient, explain
from appliance.pairing.redis_queue import PREFIX

NAME: Final = "redis.json"
LASTING: Final = tuple(f"{PREFIX}{name}" for name in ("limit:", "cool:", "shown", "fence", "seq"))
"""Beginnings of the keys that are put back; see `pairing/scripts.py` for what each one is."""
_MOST_KEYS: Final = 100_000
"""Sixty sessions leave some hundred; a Redis with so many is somebody else's."""


class RedisKey(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    kind: str
    value: Any
    """A text, a list of texts, or a mapping, by `kind`."""
    left_ms: int
    """Until it expires; negative: never."""


async def dump_redis(client: RedisClient) -> list[RedisKey]:
    """Every key of ours, all of the same moment. Raises BackupError."""
    redis = client.client
    try:
        names = sorted([name async for name in redis.scan_iter(match=f"{PREFIX}*", count=1000)])[:_MOST_KEYS]
        kinds = [await redis.type(name) for name in names]
        readable = [(name, kind) for name, kind in zip(names, kinds, strict=True) if kind in _READERS]
        async with redis.pipeline(transaction=True) as step:
            for name, kind in readable:
                _READERS[kind](step, name)
                step.pttl(name)
            answers = await step.execute()
    except REDIS_ERRORS as error:
        raise BackupError(f"what Redis holds cannot be read: {explain(error)}", "", BackupTrouble.AWAY) from error
    found = []
    for (name, kind), value, left_ms in zip(readable, answers[::2], answers[1::2], strict=True):
        if left_ms != _GONE:
            plain = sorted(value) if isinstance(value, set) else value
            found.append(RedisKey(name=name, kind=kind, value=plain, left_ms=left_ms))
    return found


async def load_redis(client: RedisClient, keys: list[RedisKey], passed_ms: int) -> int:
    """Put back what still counts after `passed_ms`; counters that are there already stay. Returns how many. Raises
    BackupError."""
    lasting = [key for key in keys if key.name.startswith(LASTING) and not 0 <= key.left_ms <= passed_ms]
    try:
        async with client.client.pipeline(transaction=True) as step:
            for key in lasting:
                _WRITERS[key.kind](step, key)
                if key.left_ms >= 0:
                    step.pexpire(key.name, key.left_ms - passed_ms)
            await step.execute()
    except REDIS_ERRORS as error:
        raise BackupError(f"Redis does not take its state back: {explain(error)}", "", BackupTrouble.AWAY) from error
    return len(lasting)


_GONE: Final = -2
"""Answer of PTTL for a key that expired between the listing and the reading."""
_READERS: Final[dict[str, Any]] = {
    "string": lambda step, name: step.get(name),
    "hash": lambda step, name: step.hgetall(name),
    "set": lambda step, name: step.smembers(name),
    "zset": lambda step, name: step.zrange(name, 0, -1, withscores=True),
}
_WRITERS: Final[dict[str, Any]] = {
    "string": lambda step, key: step.set(key.name, key.value, nx=True),
    "hash": lambda step, key: step.hset(key.name, mapping=key.value),
    "set": lambda step, key: step.sadd(key.name, *key.value),
    "zset": lambda step, key: step.zadd(key.name, dict(key.value)),
}
