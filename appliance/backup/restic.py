"""restic, the program that encrypts, deduplicates and keeps: how it is called, what it says, what its errors mean.

Options and answers are those that every release from 0.12 (Ubuntu 22.04) on knows; Debian 12 has 0.14, Debian 13 0.18.
Source: restic.readthedocs.io, "Scripting" and "Repository Format".
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from appliance.backup.errors import BackupError, BackupTrouble
from appliance.backup.repository import Repository
from appliance.children import end

PROGRAM: Final = "restic"
MISSING_REMEDY: Final = "Install it: apt-get install restic"
END_GRACE_S: Final = 20.0
"""At a signal it takes its lock off the repository; over a slow network that takes a moment."""
LINE_BYTES: Final = 1 << 20
"""A line of progress names the files that are being read."""
CHUNK_BYTES: Final = 256 * 1024
KEEP_ALL: Final = "2d"
"""Everything is kept so long, also several of one day: one that was made before an upgrade must outlive its night."""
_KEPT_LINES: Final = 20
_NOISE: Final = re.compile(r"^(?:Fatal: |error: |Error: )+", re.IGNORECASE)

Progress = Callable[[int, int], None]
"""Done, and of how many; bytes."""


class Snapshot(msgspec.Struct, frozen=True):
    """What one call of `save` or `save_stream` has stored."""

    id: str
    time: str
    hostname: str = ""
    tags: list[str] | None = None

    def tag(self, name: str) -> str:
        """The value of a tag `name=value`; empty if there is none."""
        found = (tag.partition("=")[2] for tag in self.tags or () if tag.startswith(f"{name}="))
        return next(found, "")


class Saved(msgspec.Struct, frozen=True):
    snapshot_id: str
    data_added: int = 0
    total_files_processed: int = 0
    total_bytes_processed: int = 0


class _Line(msgspec.Struct, frozen=True):
    message_type: str = ""
    bytes_done: int = 0
    total_bytes: int = 0


def find_restic() -> str:
    """The program's path. Raises BackupError if it is not installed."""
    if (found := shutil.which(PROGRAM)) is None:
        raise BackupError("restic, which makes the backups, is not installed", MISSING_REMEDY, BackupTrouble.AWAY)
    return found


class Restic:
    """One repository with its key. Every method raises BackupError."""

    def __init__(self, repository: Repository, key_file: Path, cache: Path) -> None:
        self._repository = repository
        self._key_file = key_file
        self._cache = cache

    async def init(self) -> None:
        """Make the repository."""
        await self._text("init")

    async def unlock(self) -> None:
        """Take away the locks of processes that are dead; those of living ones stay."""
        await self._text("unlock")

    async def save(self, folder: Path, tags: Sequence[str], host: str, progress: Progress) -> Saved:
        """Store everything in a folder. A file that cannot be read is an error: nothing half is called a backup."""
        arguments = ("backup", "--json", "--host", host, *_tagged(tags), ".")
        return await self._save(arguments, progress, folder=folder)

    async def save_stream(
        self, pieces: AsyncIterator[bytes], name: str, tags: Sequence[str], host: str, progress: Progress
    ) -> Saved:
        """Store what comes as one file; if `pieces` raises, nothing is stored."""
        arguments = ("backup", "--json", "--host", host, *_tagged(tags), "--stdin", "--stdin-filename", name)
        return await self._save(arguments, progress, pieces=pieces)

    async def snapshots(self, tag: str) -> list[Snapshot]:
        """Those with a tag, oldest first."""
        text = await self._text("--no-lock", "snapshots", "--json", "--tag", tag)
        found: list[Snapshot] = _decoded(text.encode() or b"[]", list[Snapshot])
        return found

    async def restore(self, snapshot: str, target: Path) -> None:
        """Write the files of `save` into a folder."""
        await self._text("--no-lock", "restore", snapshot, "--target", str(target))

    async def read_stream(self, snapshot: str, name: str) -> AsyncIterator[bytes]:
        """What `save_stream` has stored."""
        async with self._running(("--no-lock", "dump", snapshot, f"/{name}")) as process:
            out, words = _pipe(process.stdout), _Words(process)
            while piece := await out.read(CHUNK_BYTES):
                yield piece
            await self._ended(process, words)

    async def check(self, *, all_data: bool) -> None:
        """Read the repository's structure, or every byte of it. Raises BackupError if anything is missing or wrong."""
        await self._text("check", *(("--read-data",) if all_data else ()))

    async def forget(self, tag: str, daily: int, weekly: int, monthly: int) -> int:
        """Let go of what is too old among those with a tag; returns how many. Their data goes with `prune`."""
        kept = {"daily": daily, "weekly": weekly, "monthly": monthly}
        rules = [f"--keep-{name}={count}" for name, count in kept.items() if count]
        text = await self._text("forget", "--json", "--tag", tag, "--group-by", "", "--keep-within", KEEP_ALL, *rules)
        groups = _decoded(text.splitlines()[0].encode() if text else b"[]", list[dict[str, Any]])
        return sum(len(group.get("remove") or ()) for group in groups)

    async def drop(self, snapshots: Sequence[str]) -> None:
        """Let go of these."""
        if snapshots:
            await self._text("forget", *snapshots)

    async def prune(self) -> None:
        """Remove the data that nothing refers to any more."""
        await self._text("prune")

    # ---- how

    async def _save(
        self,
        arguments: Sequence[str],
        progress: Progress,
        *,
        folder: Path | None = None,
        pieces: AsyncIterator[bytes] | None = None,
    ) -> Saved:
        async with self._running(arguments, folder=folder, feed=pieces is not None) as process:
            words, summary = _Words(process), None
            feeding = None if pieces is None else asyncio.create_task(_feed(process, pieces), name="backup stream")
            try:
                async for line in _pipe(process.stdout):
                    with contextlib.suppress(msgspec.DecodeError):
                        match msgspec.json.decode(line, type=_Line):
                            case _Line("status", done, total):
                                progress(done, total)
                            case _Line("summary"):
                                summary = msgspec.json.decode(line, type=Saved)
                if feeding is not None:
                    await feeding
            finally:
                if feeding is not None:
                    feeding.cancel()
            await self._ended(process, words)
        if summary is None:
            raise BackupError("restic ended without saying what it has stored", "Look at its release: restic version")
        return summary

    async def _text(self, *arguments: str) -> str:
        async with self._running(arguments) as process:
            words = _Words(process)
            out = await _pipe(process.stdout).read()
            await self._ended(process, words)
        return out.decode("utf-8", "replace").strip()

    @contextlib.asynccontextmanager
    async def _running(
        self, arguments: Sequence[str], *, folder: Path | None = None, feed: bool = False
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        repository = self._repository
        given = [*repository.arguments(), "--cache-dir", str(self._cache), *arguments]
        if "--no-cache" in given:
            del given[given.index("--cache-dir") : given.index("--cache-dir") + 2]
        environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "SSL_CERT_FILE") if name in os.environ},
            "RESTIC_REPOSITORY": repository.location,
            "RESTIC_PASSWORD_FILE": str(self._key_file),
            "RESTIC_PROGRESS_FPS": "2",
            "GOGC": "20",  # on a small machine memory is dearer than the processor
            **repository.environment(),
        }
        process = await asyncio.create_subprocess_exec(
            find_restic(),
            *given,
            stdin=asyncio.subprocess.PIPE if feed else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            cwd=folder or self._cache.parent,  # root may have been in a folder that the appliance may not enter
            limit=LINE_BYTES,
        )
        try:
            yield process
        finally:
            await end(process, END_GRACE_S)

    async def _ended(self, process: asyncio.subprocess.Process, words: _Words) -> None:
        said = await words.all()
        if await process.wait() != 0:
            raise self._failure(said)

    def _failure(self, said: Sequence[str]) -> BackupError:
        """What the program's own words mean."""
        text = "\n".join(said)
        name = self._repository.name
        if "wrong password" in text or "no key found" in text:
            return BackupError(
                f"the key does not open the backups in the {name}",
                "Give the key that they were made with: amda backup restore --key-file FILE",
                BackupTrouble.REFUSED,
            )
        if "already locked" in text or "unable to create lock" in text:
            return BackupError(
                f"another program works on the backups in the {name}", "Wait for it, and try again.", BackupTrouble.AWAY
            )
        if "no space left" in text.lower() or "StorageFull" in text:
            return BackupError(f"there is no room for backups in the {name}", "Make room there, or keep fewer.")
        if "Is there a repository" in text or "unable to open config" in text:
            return BackupError(
                f"there are no backups in the {name}", "Make one: amda backup run", BackupTrouble.NOT_FOUND
            )
        last = _NOISE.sub("", said[-1]) if said else "it said nothing"
        return BackupError(f"restic failed on the {name}: {last[:300]}", "See: amda backup verify")


class _Words:
    """Reads what a process says on standard error, so that it never waits for us; the last lines are kept."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._task = asyncio.create_task(self._read(_pipe(process.stderr)), name="restic's words")

    async def all(self) -> list[str]:
        return await self._task

    @staticmethod
    async def _read(stream: asyncio.StreamReader) -> list[str]:
        lines: deque[str] = deque(maxlen=_KEPT_LINES)
        async for line in stream:
            if text := line.decode("utf-8", "replace").strip():
                lines.append(text)
        return list(lines)


async def _feed(process: asyncio.subprocess.Process, pieces: AsyncIterator[bytes]) -> None:
    """If the source breaks, the program is killed before it can take the end of its input for the end of the file."""
    stdin = process.stdin
    if stdin is None:
        raise RuntimeError("the process was started without an input")
    try:
        async for piece in pieces:
            stdin.write(piece)
            await stdin.drain()
    except ConnectionError:
        return  # it has ended; its own words say why
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        raise
    stdin.close()


def _pipe(stream: asyncio.StreamReader | None) -> asyncio.StreamReader:
    if stream is None:
        raise RuntimeError("the process was started without pipes")
    return stream


def _tagged(tags: Sequence[str]) -> list[str]:
    return [word for tag in tags for word in ("--tag", tag)]


def _decoded(data: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise BackupError(
            f"restic's answer cannot be understood: {error}", "Look at its release: restic version"
        ) from (error)
