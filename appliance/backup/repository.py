"""Where the backups lie: a folder or a bucket, as restic is told of it, and with the few small files that are ours.

restic reads its own names only and leaves others alone, so the lease (`lease.py`) can lie beside its data.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import msgspec

from appliance.backup.errors import BackupError, BackupTrouble
from appliance.backup.record import write_private
from appliance.backup.settings import BackupSettings
from appliance.media.s3_settings import S3Place, read_credentials
from appliance.media.settings import StorageKind
from appliance.media.store import StoreError

if TYPE_CHECKING:
    from appliance.media.s3 import S3Store

CONFIG: Final = "config"
"""restic's own file that every repository has (restic.readthedocs.io, Repository Format)."""
_PROBE: Final = "amda-probe"

T = TypeVar("T")


class Repository(Protocol):
    """Every method that reaches out raises BackupError of kind AWAY."""

    @property
    def name(self) -> str:
        """What and where, for people; no secret in it."""
        ...

    @property
    def location(self) -> str:
        """As restic is told."""
        ...

    def arguments(self) -> Sequence[str]:
        """Of every call of restic."""
        ...

    def environment(self) -> Mapping[str, str]:
        """What restic needs to get in; secrets are here and nowhere else."""
        ...

    async def exists(self) -> bool:
        """Whether restic has made it already."""
        ...

    async def read(self, name: str) -> bytes | None:
        """A file of ours; None if there is none."""
        ...

    async def write(self, name: str, content: bytes) -> None:
        """Replace a file of ours, in one step."""
        ...

    async def age(self, name: str, written_at: float) -> float:
        """Seconds since a file of ours was written, by one clock as far as that is possible. `written_at`: as it says
        itself."""
        ...

    async def close(self) -> None: ...


def open_repository(settings: BackupSettings) -> Repository:
    """The one that the settings name; nothing is contacted yet."""
    if settings.kind is StorageKind.FOLDER:
        return FolderRepository(settings.path)
    return S3Repository(*settings.s3())


def repository_at(place: str, settings: BackupSettings, credentials: Path | None) -> Repository:
    """One that an operator names: a folder, or s3:URL/BUCKET; what is not said comes from the settings. Raises
    BackupError of kind USAGE."""
    if not place.startswith("s3:"):
        path = Path(place).expanduser().absolute()
        if not path.is_dir():
            raise BackupError(f"--from: there is no folder {path}", "Name the folder of backups.", BackupTrouble.USAGE)
        return FolderRepository(path)
    endpoint, _, bucket = place[3:].rstrip("/").rpartition("/")
    changes: dict[str, object] = {"kind": StorageKind.S3, "endpoint": endpoint, "bucket": bucket}
    if credentials is not None:
        changes["credentials"] = credentials.absolute()
    try:
        return S3Repository(*msgspec.structs.replace(settings, **changes).s3())
    except ValueError as error:
        reason, _, remedy = str(error).partition("; remedy: ")
        remedy = "name it: --s3-credentials FILE" if "credentials" in reason else remedy
        raise BackupError(
            f"--from {place}: {reason}", f"{remedy[:1].upper()}{remedy[1:]}.", BackupTrouble.USAGE
        ) from error


class FolderRepository:
    """Implements `Repository`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        return f"folder {self.path}"

    @property
    def location(self) -> str:
        return str(self.path)

    def arguments(self) -> Sequence[str]:
        return ("--no-cache",)  # a folder is as near as a cache would be

    def environment(self) -> Mapping[str, str]:
        return {}

    async def exists(self) -> bool:
        return await self._call((self.path / CONFIG).exists)

    async def read(self, name: str) -> bytes | None:
        def read() -> bytes | None:
            try:
                return (self.path / name).read_bytes()
            except FileNotFoundError:
                return None

        return await self._call(read)

    async def write(self, name: str, content: bytes) -> None:
        await self._call(lambda: write_private(self.path / name, content))

    async def age(self, name: str, written_at: float) -> float:  # noqa: ARG002 - the protocol's arguments
        """By this machine's clock; the file's own time says nothing once the folder was copied."""
        return time.time() - written_at

    async def close(self) -> None:
        """Nothing is held."""

    async def _call(self, step: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(step)
        except OSError as error:
            raise BackupError(
                f"the {self.name} cannot be used: {error.strerror}",
                "Is its disk there and mounted, and does it belong to the appliance's user?",
                BackupTrouble.AWAY,
            ) from error


class S3Repository:
    """Implements `Repository`."""

    def __init__(self, place: S3Place, credentials: Path) -> None:
        self.place = place
        self._credentials = credentials
        self._opened: S3Store | None = None

    @property
    def name(self) -> str:
        return f"S3 bucket {self.place.bucket} at {self.place.endpoint}"

    @property
    def location(self) -> str:
        return f"s3:{self.place.endpoint.rstrip('/')}/{self.place.bucket}"

    def arguments(self) -> Sequence[str]:
        lookup = "path" if self.place.path_style else "dns"
        given = ["-o", f"s3.bucket-lookup={lookup}", "-o", f"s3.region={self.place.region}"]
        return [*given, "--cacert", str(self.place.ca_file)] if self.place.ca_file else given

    def environment(self) -> Mapping[str, str]:
        try:
            login = read_credentials(self._credentials)
        except StoreError as error:
            raise _away(error) from error
        return {"AWS_ACCESS_KEY_ID": login.access_key, "AWS_SECRET_ACCESS_KEY": login.secret_key}

    async def exists(self) -> bool:
        try:
            return await self._call(self._store().stat(CONFIG)) is not None
        except BackupError as error:
            if "(NoSuchBucket)" in str(error):  # restic makes it
                return False
            raise

    async def read(self, name: str) -> bytes | None:
        async def read() -> bytes | None:
            try:
                return b"".join([piece async for piece in self._store().get(name)])
            except KeyError:
                return None

        return await self._call(read())

    async def write(self, name: str, content: bytes) -> None:
        digest = hashlib.sha256(content).hexdigest()
        await self._call(self._store().put(name, io.BytesIO(content), size=len(content), sha256=digest))

    async def age(self, name: str, written_at: float) -> float:
        """By the server's clock alone: that of another machine may be wrong."""
        probe = f"{_PROBE}-{uuid.uuid4().hex}"
        await self.write(probe, b"")
        try:
            now = await self._call(self._store().stat(probe))
            then = await self._call(self._store().stat(name))
        finally:
            await self._call(self._store().delete([probe]))
        if now is None or then is None:
            return time.time() - written_at
        return now.modified_at - then.modified_at

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()
            self._opened = None

    def _store(self) -> S3Store:
        if self._opened is None:
            from appliance.media.s3 import S3Store  # costs megabytes that a folder's user need not pay

            self._opened = S3Store(self.place, lambda: read_credentials(self._credentials), lambda _key: None)
        return self._opened

    async def _call(self, step: Awaitable[T]) -> T:
        try:
            return await step
        except StoreError as error:
            raise _away(error) from error


def _away(error: StoreError) -> BackupError:
    text, _, remedy = str(error).partition("; ")
    remedy = remedy.replace("storage.", "backup.")
    return BackupError(text, f"{remedy[:1].upper()}{remedy[1:]}." if remedy else "", BackupTrouble.AWAY)
