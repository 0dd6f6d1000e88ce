"""The host of encrypted files: gives out what contacts sent, takes in what devices upload."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
import time
from collections import OrderedDict
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web

from appliance.model import MediaKind
from appliance.staging import media_content, media_photo
from appliance.staging.control_types import FaultKind, JournalKind
from appliance.staging.crypto import media as media_crypto
from appliance.staging.crypto.media import EncryptedMedia, MediaType
from appliance.staging.faults import Faults, Target
from appliance.staging.journal import Journal
from appliance.staging.messages import media_type_of
from appliance.staging.proxy import Tunnel
from appliance.staging.store import Store
from appliance.staging.tls import MEDIA_HOST

MAX_UPLOAD: Final = 128 * 1024 * 1024
"""The service's own limit for documents is larger; nobody rehearses with more."""
CACHED_BYTES: Final = 24 * 1024 * 1024
"""Of blobs kept in memory: each linked device of an account fetches soon after the message. Others are made again."""
LARGE: Final = media_photo.LARGE
"""From this many bytes on content is made and encrypted in a thread, so that the network goes on answering, and kept in
a file: making it again would take a tenth of a second."""
_PATH_SECRET: Final = "ccb=11-4&oh=01_Q5&oe=7FFFFFFF&_nc_sid=5e03e0"  # noqa: S105 - looks like the real parameters


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """How to make a blob again, or where it lies."""

    account: str
    kind: str
    mimetype: str
    seed: int
    size: int
    media_key: bytes
    media_type: MediaType
    file: str = ""
    """For what cannot be made again (uploads, history), or not quickly."""


class MediaHost:
    """Files by token; the token is part of the path on the host."""

    def __init__(self, folder: Path, store: Store, faults: Faults, journal: Journal) -> None:
        self._folder = folder
        self._store = store
        self._faults = faults
        self._journal = journal
        self._cache: OrderedDict[str, bytes] = OrderedDict()
        self._cached = 0
        self.served = 0

    def open(self) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)

    # ---- for the contacts

    async def create(
        self, account: str, kind: MediaKind, mimetype: str, size: int, seed: int = 0
    ) -> tuple[EncryptedMedia, str]:
        """Make a file, one that nobody has seen before unless `seed` says which; the answer is its keys and its path on
        the host."""
        named = f"{kind.value}/{mimetype}/{seed}/{size}".encode()
        media_key = hashlib.sha256(named).digest() if seed else secrets.token_bytes(media_crypto.KEY_SIZE)
        seed = seed or secrets.randbits(62)
        token = secrets.token_urlsafe(24)
        stored = Stored(
            account=account,
            kind=kind.value,
            mimetype=mimetype,
            seed=seed,
            size=size,
            media_key=media_key,
            media_type=media_type_of(kind),
        )
        if size < LARGE:
            encrypted = self._encrypted(stored)
            self._remember(token, encrypted.blob)
        else:
            encrypted = await asyncio.to_thread(self._encrypted, stored)
            stored = msgspec.structs.replace(stored, file=encrypted.file_enc_sha256.hex())
            await asyncio.to_thread(self._write, stored.file, encrypted.blob)
        self._store.put("media", token, msgspec.msgpack.encode(stored))
        return encrypted, self.path_of(token, stored.media_type)

    async def keep(self, account: str, content: bytes, media_type: MediaType) -> tuple[EncryptedMedia, str]:
        """Put ready content on the host: history, thumbnails."""
        encrypted = media_crypto.encrypt(content, media_type)
        token = secrets.token_urlsafe(24)
        await asyncio.to_thread((self._folder / token).write_bytes, encrypted.blob)
        self._store.put("media", token, msgspec.msgpack.encode(_file(account, media_type, token)))
        return encrypted, self.path_of(token, media_type)

    @staticmethod
    def path_of(token: str, media_type: MediaType) -> str:
        return f"/v/{media_type.value}/{token}?{_PATH_SECRET}"

    async def uploaded(self, direct_path: str) -> bytes | None:
        """The blob behind a path, as a recipient would fetch it; None if there is none."""
        return await self._blob(direct_path.partition("?")[0].rpartition("/")[2])

    def _encrypted(self, stored: Stored) -> EncryptedMedia:
        content = media_content.make(MediaKind(stored.kind), stored.mimetype, stored.seed, stored.size)
        return media_crypto.encrypt(content, stored.media_type, stored.media_key)

    def _write(self, name: str, blob: bytes) -> None:
        part = self._folder / f"{name}.{secrets.token_hex(4)}.part"
        part.write_bytes(blob)
        part.replace(self._folder / name)

    def _remember(self, token: str, blob: bytes) -> None:
        if len(blob) > CACHED_BYTES // 4:
            return
        self._cache[token] = blob
        self._cached += len(blob)
        while self._cached > CACHED_BYTES:
            self._cached -= len(self._cache.popitem(last=False)[1])

    async def _blob(self, token: str) -> bytes | None:
        if token in self._cache:
            return self._cache[token]
        kept = self._store.get("media", token)
        if kept is None:
            return None
        stored = msgspec.msgpack.decode(kept, type=Stored)
        if stored.file:
            return await asyncio.to_thread((self._folder / stored.file).read_bytes)
        return self._encrypted(stored).blob

    def _account_of(self, token: str) -> str | None:
        kept = self._store.get("media", token)
        return msgspec.msgpack.decode(kept, type=Stored).account or None if kept else None

    # ---- HTTP

    async def handle(self, request: web.BaseRequest, tunnel: Tunnel) -> web.StreamResponse:
        """One request to the media host."""
        token = request.path.rpartition("/")[2]
        account = request.query.get("auth") or self._account_of(token)
        tunnel.account = tunnel.account or account
        target = Target(tunnel.number, account)
        kind = JournalKind.MEDIA_PUT if request.method == "POST" else JournalKind.MEDIA_GET
        if self._faults.find([FaultKind.MEDIA_HANG], target):
            self._journal.add(kind, account or "", path=request.path, status=0)
            await asyncio.Event().wait()  # until the client gives up or the network stops
        if fault := self._faults.find([FaultKind.MEDIA_STATUS], target):
            self._journal.add(kind, account or "", path=request.path, status=fault.spec.code or 404)
            return web.Response(status=fault.spec.code or 404)
        if request.method == "POST":
            return await self._take(request, account or "")
        if request.method == "DELETE":
            return web.Response()
        blob = await self._blob(token)
        status = 404 if blob is None else 200
        self._journal.add(kind, account or "", path=request.path, status=status, size=len(blob or b""))
        self.served += blob is not None
        return web.Response(status=status, body=blob, content_type="application/octet-stream")

    async def _take(self, request: web.BaseRequest, account: str) -> web.Response:
        """`POST /mms/<type>/<hash of the blob>`; the hash is checked."""
        _, _, type_name, named = (request.path.split("/") + [""] * 4)[:4]
        blob = await request.read()
        digest = base64.urlsafe_b64encode(hashlib.sha256(blob).digest()).decode()
        known = {media_type.value: media_type for media_type in MediaType}
        if type_name not in known or named.rstrip("=") != digest.rstrip("="):
            self._journal.add(JournalKind.BAD_MESSAGE, account, why="upload whose hash or type is wrong")
            return web.Response(status=400)
        token = secrets.token_urlsafe(24)
        await asyncio.to_thread((self._folder / token).write_bytes, blob)
        self._store.put("media", token, msgspec.msgpack.encode(_file(account, known[type_name], token)))
        path = self.path_of(token, known[type_name])
        self._journal.add(JournalKind.MEDIA_PUT, account, path=request.path, status=200, size=len(blob))
        self._store.flush()
        return web.json_response({"url": f"https://{MEDIA_HOST}{path}", "direct_path": path})


def _file(account: str, media_type: MediaType, token: str) -> Stored:
    return Stored(
        account=account,
        kind="",
        mimetype="",
        seed=int(time.time()),
        size=0,
        media_key=b"",
        media_type=media_type,
        file=token,
    )
