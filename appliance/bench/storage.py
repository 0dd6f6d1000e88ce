"""`amda bench storage`: what looking and cleaning cost when a hundred thousand objects are held, in a real MinIO.

The index is filled before the daemon starts; what is pruned really lies in the bucket, the rest only in the index: no
figure here depends on it, and storing it would take a quarter of an hour.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import random
import shutil
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from appliance.bench import surroundings
from appliance.bench.measure import percentile
from appliance.bench.rig import BenchError, Rig, say
from appliance.client import ApplianceClient
from appliance.database import Database
from appliance.media.holdings import Holdings
from appliance.media.keys import object_key
from appliance.media.s3 import S3Store
from appliance.media.settings import StorageKind
from appliance.minio_server import MinioError, MinioServer
from appliance.model import Category, MediaKind
from appliance.model_storage import PruneRequest

PRUNED: Final = 10_000
"""Contents that one pruning removes."""
SESSIONS: Final = 60
PRUNED_SESSION: Final = "pruned"
REAL_BYTES: Final = 4096
"""Of what really lies in the bucket; deleting takes as long whatever its size."""
NOMINAL_BYTES: Final = 200_000
"""Of what stands in the index alone: a photo."""
DAY_S: Final = 86_400.0
DAYS: Final = 25
"""Over which everything came: nothing has passed its age."""
UPLOADS: Final = 4
FILL_CACHE_KIB: Final = 256 << 10
"""Every page of the index that is being filled stays in memory."""
REPEATS: Final = 5
PAGES: Final = 20
"""Pages that are read one after the other, of each kind of listing."""
USAGE_S: Final = 0.3
PRUNE_S: Final = 30.0
PAGE_MS: Final = 50.0
"""What the figures must not pass."""
CATEGORIES: Final = (*(Category.STATUS,) * 7, *(Category.DELETED,) * 2, Category.VIEW_ONCE)

_OBJECT: Final = (
    "INSERT INTO objects (key, session, sha256, size, stored_at, original_size, stored_sha256)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_MEDIA: Final = (
    "INSERT INTO media (id, session, category, kind, mimetype, size, sha256, key, message_id, chat, sender, sent_at,"
    " captured_at, stored_at, caption) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class StorageBench(msgspec.Struct, frozen=True, kw_only=True):
    objects: int
    usage_max_s: float
    page_p50_ms: float
    page_max_ms: float
    search_max_ms: float
    """A word looked for in every caption, name and number."""
    dry_run_s: float
    prune_s: float
    pruned: int
    left_in_bucket: int
    """Of what was pruned."""
    recorded: int
    """Removals on record."""
    used_right: bool
    """What the appliance says it holds is what it held, less what went."""
    seconds: float

    @property
    def passed(self) -> bool:
        quick = self.usage_max_s <= USAGE_S and self.prune_s <= PRUNE_S and self.page_max_ms <= PAGE_MS
        return quick and self.pruned == self.recorded == PRUNED and not self.left_in_bucket and self.used_right


async def run(*, objects: int, keep: bool = False) -> StorageBench:
    """Carry it out. Raises BenchError if it cannot be."""
    if objects < 2 * PRUNED:
        raise BenchError(f"at least {2 * PRUNED} objects are needed: {PRUNED} of them are pruned")
    started = time.monotonic()
    async with started_minio() as minio:
        rig = Rig(variables=s3_variables(minio, 2 * objects * NOMINAL_BYTES), keep=keep)
        say(f"writing {objects} objects into the index")
        held = await _fill(rig.settings.paths.database, objects)
        store = S3Store(rig.settings.storage.s3()[0], lambda: minio.credentials)
        try:
            say(f"storing {PRUNED} of them in MinIO")
            await store.prepare()
            await _upload(store, rig.settings.paths.database)
            async with rig:
                return await _measure(rig, store, objects, held, started)
        finally:
            await store.close()


async def _measure(rig: Rig, store: S3Store, objects: int, held: int, started: float) -> StorageBench:
    say("looking")
    usage = [await _timed(rig.api.storage) for _ in range(REPEATS)]
    pages = [seconds async for seconds in _pages(rig.api)]
    searched = [await _timed(lambda: rig.api.search_media(text="caption 77777")) for _ in range(REPEATS)]
    dry_run = await _timed(lambda: rig.api.prune(PruneRequest(session=PRUNED_SESSION, dry_run=True)))
    say(f"pruning {PRUNED}")
    began = time.monotonic()
    report = await rig.api.prune(PruneRequest(session=PRUNED_SESSION))
    prune_s = time.monotonic() - began
    left = [item async for item in store.list_objects()]
    used = (await rig.api.storage()).used
    with contextlib.closing(sqlite3.connect(rig.settings.paths.database)) as database:
        [recorded] = database.execute("SELECT count(*) FROM removals").fetchone()
    return StorageBench(
        objects=objects,
        usage_max_s=round(max(usage), 3),
        page_p50_ms=round(1000 * percentile(pages, 50), 1),
        page_max_ms=round(1000 * max(pages), 1),
        search_max_ms=round(1000 * max(searched), 1),
        dry_run_s=round(dry_run, 2),
        prune_s=round(prune_s, 2),
        pruned=report.objects,
        left_in_bucket=len(left),
        recorded=recorded,
        used_right=used == held - PRUNED * REAL_BYTES,
        seconds=round(time.monotonic() - started, 1),
    )


@contextlib.asynccontextmanager
async def started_minio() -> AsyncIterator[MinioServer]:
    """A MinIO server in a folder that is deleted. Raises BenchError."""
    folder = Path(tempfile.mkdtemp(prefix="amda-minio-"))
    server = MinioServer(folder)
    try:
        await server.start()
        yield server
    except MinioError as error:
        raise BenchError(str(error)) from error
    finally:
        await server.stop()
        shutil.rmtree(folder)


def s3_variables(minio: MinioServer, quota: int) -> dict[str, str]:
    """Settings of an appliance whose media goes there, so many bytes at most."""
    return {**surroundings.s3_variables(minio), "AMDA_STORAGE_QUOTA_BYTES": str(quota)}


def content(number: int) -> bytes:
    """The bytes of what really lies in the bucket, each unlike every other."""
    return hashlib.sha256(str(number).encode()).digest() * (REAL_BYTES // 32)


async def _fill(path: Path, objects: int) -> int:
    """Make the index as the daemon would, and fill it; returns the bytes that it holds."""
    database = await Database.open(path)
    await Holdings(database).set_kind(StorageKind.S3)
    await database.close()

    def write() -> int:
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("PRAGMA synchronous=OFF")  # nobody needs it after a power cut
            connection.execute(f"PRAGMA cache_size=-{FILL_CACHE_KIB}")
            for rows in _rows(objects):
                connection.execute(_OBJECT, rows[0])
                connection.execute(_MEDIA, rows[1])
            return int(connection.execute("SELECT sum(size) FROM objects").fetchone()[0])

    return await asyncio.to_thread(write)


def _rows(objects: int) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    rng, now = random.Random(objects), time.time()  # noqa: S311 (repeatable, not secret)
    for number in range(objects):
        pruned = number < PRUNED
        session = PRUNED_SESSION if pruned else f"session-{number % SESSIONS}"
        size = REAL_BYTES if pruned else NOMINAL_BYTES
        sha256 = hashlib.sha256(content(number) if pruned else str(number).encode()).hexdigest()
        category, at = rng.choice(CATEGORIES), now - rng.uniform(0, DAYS * DAY_S)
        key = object_key(category, session, at, sha256, "jpg")
        chat = f"{22177000000 + number % 5000}@s.whatsapp.net"
        yield (
            (key, session, sha256, size, at, size, sha256),
            (
                *(f"{number:032x}", session, category, MediaKind.IMAGE, "image/jpeg", size, sha256, key),
                *(f"M{number}", chat, chat, at, at, at, f"caption {number}"),
            ),
        )


async def _upload(store: S3Store, path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        found = database.execute("SELECT media.id, key FROM media WHERE session = ?", (PRUNED_SESSION,)).fetchall()
    waiting = iter([(int(media, 16), key) for media, key in found])

    async def some() -> None:
        for number, key in waiting:
            data = content(number)
            await store.put(key, io.BytesIO(data), size=len(data), sha256=hashlib.sha256(data).hexdigest())

    await asyncio.gather(*(some() for _ in range(UPLOADS)))


async def _timed(call: Callable[[], Awaitable[object]]) -> float:
    began = time.monotonic()
    await call()
    return time.monotonic() - began


async def _pages(api: ApplianceClient) -> AsyncIterator[float]:
    """The time of each page of the listings that people look at: all, one session's, one category's, both."""
    filters: tuple[dict[str, Any], ...] = (
        {},
        {"session": "session-7"},
        {"category": Category.VIEW_ONCE},
        {"session": "session-7", "category": Category.DELETED},
    )
    for given in filters:
        cursor = None
        for _ in range(PAGES):
            began = time.monotonic()
            page = await api.search_media(**given, cursor=cursor)
            yield time.monotonic() - began
            if (cursor := page.next) is None:
                break
