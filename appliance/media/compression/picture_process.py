"""Keeps the process that reads pictures: started when it is needed, killed when it hangs, replaced when it died."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from typing import BinaryIO, Final

import msgspec

from appliance.children import package_environment
from appliance.media.compression import confinement
from appliance.media.compression.outcome import PictureProfile, PictureReply, PictureRequest, Treatment

DATA_BYTES: Final = 320 << 20
"""Two copies of a picture of 50 megapixels; ordinary ones need 40 MB."""
TIME_S: Final = 30.0
"""The largest picture takes 4 s on a slow core, some times that when sixty sessions are busy."""
_MAX_REPLY: Final = 4096
_KEPT: Final = ("PATH", "PYTHONPATH", "LANG", "LC_ALL")
"""Variables that it gets; what else the daemon was told is none of its business."""
_TRIES: Final = 2
"""The process may have ended of idleness in the very moment of the question."""


class PictureProcess:
    """One picture at a time; `close()` ends the process."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._channel: socket.socket | None = None

    async def squeeze(self, source: BinaryIO, target: BinaryIO, profile: PictureProfile) -> PictureReply:
        """Have the picture in `source` written smaller to `target`. Raises OSError if no process can be made."""
        return await self._have(PictureRequest(profile=profile), source, target)

    async def draw(self, source: BinaryIO, target: BinaryIO, box: tuple[int, int]) -> PictureReply:
        """Have its pixels written, as many as fit into `box`. Raises OSError if no process can be made."""
        return await self._have(PictureRequest(box=box), source, target)

    async def _have(self, request: PictureRequest, source: BinaryIO, target: BinaryIO) -> PictureReply:
        message = msgspec.json.encode(request)
        async with self._turn:
            for _ in range(_TRIES):
                try:
                    async with asyncio.timeout(TIME_S):
                        reply = await self._ask(message, [source.fileno(), target.fileno()])
                except TimeoutError:
                    await self._end()
                    return PictureReply(treatment=Treatment.TOO_DEMANDING, detail=f"it took more than {TIME_S:g} s")
                except BaseException:
                    await self._end()
                    raise
                if reply:
                    return msgspec.json.decode(reply, type=PictureReply)
                await self._end()
                source.seek(0)
                target.seek(0)
                target.truncate()
            return PictureReply(treatment=Treatment.UNREADABLE, detail="the process that read it died")

    async def close(self) -> None:
        await self._end()

    async def _ask(self, message: bytes, files: list[int]) -> bytes:
        """The answer; empty if the process is gone."""
        if self._channel is None:
            self._channel = await self._start()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            socket.send_fds(self._channel, [message], files)
            return await asyncio.get_running_loop().sock_recv(self._channel, _MAX_REPLY)
        return b""

    async def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            module = f"{__package__}.picture_child"
            self._process = await confinement.start(
                confinement.Limits(data_bytes=DATA_BYTES),
                [sys.executable, "-P", "-m", module, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                environment=package_environment({name: os.environ[name] for name in _KEPT if name in os.environ}),
            )
        ours.setblocking(False)  # noqa: FBT003 - the only way to call it
        return ours

    async def _end(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is not None:
            process, self._process = self._process, None
            await confinement.kill(process)
