"""The lock of a linking attempt, in Redis: on the session and on the phone number, both or neither, in one step.

It has an owner, expires unless extended, and is released by its owner only. Its holder works under `LockLostError`: an
attempt that cannot prove its lock any more stops itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import redis.asyncio

from appliance.pairing.redis_client import REDIS_ERRORS, explain

_PREFIX: Final = "amda:pairing:"
_EXTENSIONS_PER_EXPIRY: Final = 3
"""Two extensions may fail, by a restart of Redis for example, before the lock is lost."""

# Scripts run alone in Redis: nothing comes between looking and setting. Commands of Redis 6.0 only.
_ACQUIRE: Final = """
for _, key in ipairs(KEYS) do
  local owner = redis.call('GET', key)
  if owner and owner ~= ARGV[1] then return owner end
end
for _, key in ipairs(KEYS) do redis.call('SET', key, ARGV[1], 'PX', ARGV[2]) end
return false
"""
_EXTEND: Final = """
for _, key in ipairs(KEYS) do
  if redis.call('GET', key) ~= ARGV[1] then return 0 end
end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[2]) end
return 1
"""
_RELEASE: Final = """
local released = 0
for _, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[1] then released = released + redis.call('DEL', key) end
end
return released
"""


class LockLostError(Exception):
    """The lock is somebody else's, or cannot be proved any more. `str()` says why."""


class PairingLock:
    """`expiry_s`: how long it outlives a holder that died. `owner` must be unique to the attempt."""

    def __init__(
        self, client: redis.asyncio.Redis, *, owner: str, session: str, phone: str | None, expiry_s: float
    ) -> None:
        self._client = client
        self._owner = owner
        self._keys = [f"{_PREFIX}session:{session}"] + ([f"{_PREFIX}phone:{phone}"] if phone else [])
        self._expiry_s = expiry_s

    async def acquire(self) -> str | None:
        """Take it. Returns None, or the owner that has it. Raises `REDIS_ERRORS` if Redis cannot be asked."""
        owner: str | None = await self._run(_ACQUIRE, [self._owner, self._milliseconds])
        return owner

    async def add_phone(self, phone: str) -> str | None:
        """Extend it to a number that became known later (by QR). Returns as `acquire`."""
        key = f"{_PREFIX}phone:{phone}"
        if key in self._keys:
            return None
        self._keys.append(key)
        return await self.acquire()

    async def keep(self) -> None:
        """Extend the lock for ever. Raises `LockLostError` as soon as it is not provably ours any more."""
        loop = asyncio.get_running_loop()
        proved_at = loop.time()
        while True:
            await asyncio.sleep(self._expiry_s / _EXTENSIONS_PER_EXPIRY)
            asked_at = loop.time()
            try:
                if not await self._run(_EXTEND, [self._owner, self._milliseconds]):
                    raise LockLostError("its lock expired or was taken over")
                proved_at = asked_at
            except REDIS_ERRORS as error:
                if loop.time() - proved_at >= self._expiry_s:
                    raise LockLostError(explain(error)) from error

    async def release(self) -> None:
        """Give it back if it is ours. Raises `REDIS_ERRORS`; then it expires by itself."""
        await self._run(_RELEASE, [self._owner])

    @property
    def _milliseconds(self) -> int:
        return int(self._expiry_s * 1000)

    async def _run(self, script: str, arguments: Sequence[str | int]) -> Any:
        return await self._client.eval(script, len(self._keys), *self._keys, *arguments)
