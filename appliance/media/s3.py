"""Media in S3: MinIO beside the appliance, or any other server that speaks the protocol.

The client library blocks, so it works in a few threads of its own. Every request has a time limit and is repeated a few
times with growing, jittered pauses; a server that did not answer even so is left alone for some seconds, so that sixty
spools do not each wait for it.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import itertools
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO, Final, TypeVar, cast

import structlog
import urllib3
from minio import Minio
from minio.datatypes import Upload
from minio.deleteobjects import DeleteObject
from minio.error import MinioException, S3Error
from urllib3.exceptions import HTTPError, MaxRetryError

from appliance.media.keys import KEY_PATTERN, check_key
from appliance.media.s3_settings import S3Credentials, S3Place
from appliance.media.store import CHUNK_BYTES, PAGE_KEYS, ContentChangedError, Leftovers, StoredObject, StoreError

THREADS: Final = 4
"""Of these at most one uploads; the others list, delete and serve the API. Two cores do no more at once."""
DELETES: Final = 3
"""Requests that share many deletions; together they cost MinIO half the time and CPU of a single one (measured)."""
PART_BYTES: Final = 5 << 20
"""Larger files are sent in parts of this size, the smallest that S3 allows: each is held in memory whole."""
CONNECT_S: Final = 5.0
READ_S: Final = 30.0
"""Without a byte for so long a request is given up; a busy MinIO on one disk answers a part within a second or two."""
RETRIES: Final = 3
BACKOFF_FIRST_S: Final = 0.2
BACKOFF_LAST_S: Final = 2.0
"""Pauses before a request is repeated: 0.2, 0.4, 0.8 s, each with up to as much again at random."""
REST_S: Final = 5.0
"""How long a server that did not answer is left alone; what is asked of it meanwhile fails at once."""
_AGAIN: Final = (408, 429, 500, 502, 503, 504)
"""Answers after which the same request may succeed; MinIO says 503 above its limit of simultaneous requests."""
_GONE: Final = frozenset({"NoSuchKey", "NoSuchUpload"})
_REJECTED: Final = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"})
_REMEDIES: Final = {
    "AccessDenied": "give this access key the right to read, write, list and delete in the bucket",
    "InvalidAccessKeyId": "the server does not know the access key: correct the file that storage.credentials names",
    "SignatureDoesNotMatch": "the secret key is wrong: correct the file that storage.credentials names",
    "NoSuchBucket": "the bucket is gone: nothing must delete it while the appliance uses it",
    "InvalidBucketName": "correct storage.bucket: 3 to 63 small letters, digits and hyphens",
    "AuthorizationHeaderMalformed": "correct storage.region",
    "RequestTimeTooSkewed": "set this machine's clock",
    "XMinioStorageFull": "the server's disk is full: make room there",
}
"""What an operator can do about an answer, by S3's code for it."""

T = TypeVar("T")
_log = structlog.get_logger(__name__)


class _Client(Minio):
    """The library keeps to itself what it knows of unfinished uploads."""

    def ask_location(self, bucket: str) -> None:
        """The smallest request whose answer says what is wrong; one without a body (HEAD) only says that it is.
        Raises S3Error."""
        self._execute("GET", bucket, query_params={"location": ""})

    def uploads(self, bucket: str, prefix: str) -> Iterator[Upload]:
        key_marker = upload_marker = ""
        while True:
            page = self._list_multipart_uploads(
                bucket, key_marker=key_marker, upload_id_marker=upload_marker, prefix=prefix, max_uploads=PAGE_KEYS
            )
            yield from page.uploads
            key_marker, upload_marker = page.next_key_marker or "", page.next_upload_id_marker or ""
            if not page.is_truncated or not key_marker:
                return

    def upload_size(self, bucket: str, key: str, upload_id: str) -> int:
        return sum(part.size or 0 for part in self._list_parts(bucket, key, upload_id).parts)

    def take_back(self, bucket: str, key: str, upload_id: str) -> None:
        self._abort_multipart_upload(bucket, key, upload_id)


class S3Store:
    """Implements `ObjectStore`. Nothing is contacted before the first call; close it with `close()`."""

    def __init__(
        self,
        place: S3Place,
        credentials: Callable[[], S3Credentials],
        check_key: Callable[[str], None] = check_key,
    ) -> None:
        """`check_key` raises ValueError for a key that is not of those that the store is for."""
        self._place = place
        self._credentials = credentials
        self._check_key = check_key
        self._client: _Client | None = None
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="s3")
        self._uploading: set[str] = set()
        self._away: tuple[float, str] = (0.0, "")
        """Until when (monotonic) the server is left alone, and why."""

    @property
    def name(self) -> str:
        return f"S3 bucket {self._place.bucket} at {self._place.endpoint}"

    async def prepare(self) -> None:
        await self._call(self._prepare)

    async def put(self, key: str, source: BinaryIO, *, size: int, sha256: str) -> None:
        self._check_key(key)
        checked = cast("BinaryIO", _Checked(source, size, sha256))
        self._uploading.add(key)
        try:
            await self._call(self._put, key, checked, size)
        finally:
            self._uploading.discard(key)

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        self._check_key(key)
        if length == 0:
            return
        response = await self._call(lambda client: self._open(client, key, offset, length or 0))
        if response is None:
            raise KeyError(key)
        try:
            while piece := await self._call(lambda _client: response.read(CHUNK_BYTES)):
                yield piece
        finally:
            response.close()
            response.release_conn()

    async def stat(self, key: str) -> StoredObject | None:
        self._check_key(key)
        return await self._call(self._stat, key)

    async def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._check_key(key)
        part = max(1, -(-len(keys) // DELETES))
        await asyncio.gather(
            *(self._call(self._delete, keys[start : start + part]) for start in range(0, len(keys), part))
        )

    async def list_objects(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        found = await self._call(lambda client: client.list_objects(self._place.bucket, prefix, recursive=True))
        while page := await self._call(lambda _client: list(itertools.islice(found, PAGE_KEYS))):
            for item in page:
                modified_at = item.last_modified.timestamp() if item.last_modified else 0.0
                yield StoredObject(key=item.object_name or "", size=item.size or 0, modified_at=modified_at)

    async def clear_leftovers(self, keys: Sequence[str] = ()) -> Leftovers:
        """Uploads under keys that are not of the media store belong to somebody else and are left alone."""
        return await self._call(self._clear_leftovers, keys)

    async def close(self) -> None:
        await asyncio.to_thread(self._executor.shutdown)

    # ---- in a thread

    def _prepare(self, client: _Client) -> None:
        try:
            client.ask_location(self._place.bucket)
            return
        except S3Error as error:
            if error.code != "NoSuchBucket":
                raise
        try:
            client.make_bucket(self._place.bucket, self._place.region)
        except S3Error as error:
            if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise
        _log.info("bucket made", bucket=self._place.bucket)

    def _put(self, client: _Client, key: str, source: BinaryIO, size: int) -> None:
        client.put_object(
            *(self._place.bucket, key, source, size),
            part_size=PART_BYTES,
            num_parallel_uploads=1,  # each further one holds another part in memory
        )

    def _open(self, client: _Client, key: str, offset: int, length: int) -> urllib3.BaseHTTPResponse | None:
        try:
            return client.get_object(self._place.bucket, key, offset=offset, length=length)
        except S3Error as error:
            if error.code == "InvalidRange":  # nothing of it is there, as at the end of a file
                return cast("urllib3.BaseHTTPResponse", urllib3.HTTPResponse(io.BytesIO(), preload_content=False))
            if error.code not in _GONE:
                raise
            return None

    def _stat(self, client: _Client, key: str) -> StoredObject | None:
        try:
            found = client.stat_object(self._place.bucket, key)
        except S3Error as error:
            if error.code not in _GONE:
                raise
            return None
        modified_at = found.last_modified.timestamp() if found.last_modified else 0.0
        return StoredObject(key=key, size=found.size or 0, modified_at=modified_at)

    def _delete(self, client: _Client, keys: Sequence[str]) -> None:
        if len(keys) == 1:
            client.remove_object(self._place.bucket, keys[0])
            return
        errors = [e for e in client.remove_objects(self._place.bucket, map(DeleteObject, keys)) if e.code not in _GONE]
        if errors:
            raise StoreError(f"{self.name}: {len(errors)} of {len(keys)} objects cannot be deleted: {errors[0].code}")

    def _clear_leftovers(self, client: _Client, keys: Sequence[str]) -> Leftovers:
        """MinIO shows with an empty prefix what was begun since it started, and everything of a whole key."""
        found: dict[tuple[str, str], None] = {}
        for prefix in ("", *keys):
            for upload in client.uploads(self._place.bucket, prefix):
                if upload.object_name and upload.upload_id:
                    found[upload.object_name, upload.upload_id] = None
        count = size = 0
        for key, upload_id in found:
            if key in self._uploading or KEY_PATTERN.fullmatch(key) is None:
                continue
            try:
                size += client.upload_size(self._place.bucket, key, upload_id)
                client.take_back(self._place.bucket, key, upload_id)
                count += 1
            except S3Error as error:  # completed or taken back meanwhile
                if error.code not in _GONE:
                    raise
        return Leftovers(count=count, size=size)

    # ---- how

    async def _call(self, step: Callable[..., T], *arguments: Any) -> T:
        """One step in a thread; whatever goes wrong becomes a StoreError of one line."""
        until, reason = self._away
        if time.monotonic() < until:
            raise StoreError(reason)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, self._run, step, arguments)
        except MinioException as error:
            if isinstance(error, S3Error) and error.code in _REJECTED:
                self._client = None  # the file may hold others by the next call
            raise StoreError(f"{self.name}: {_told(error)}") from error
        except (HTTPError, OSError) as error:
            reason = f"{self.name} does not answer: {_cause(error)}; check that the server runs and storage.endpoint"
            self._away = (time.monotonic() + REST_S, reason)
            raise StoreError(reason) from error

    def _run(self, step: Callable[..., T], arguments: Sequence[Any]) -> T:
        if self._client is None:
            self._client = self._connect()
        return step(self._client, *arguments)

    def _connect(self) -> _Client:
        credentials = self._credentials()
        context = ssl.create_default_context(cafile=self._place.ca_file) if self._place.secure else None
        http = urllib3.PoolManager(
            maxsize=THREADS,
            timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S),
            retries=urllib3.Retry(
                total=RETRIES,
                backoff_factor=BACKOFF_FIRST_S,
                backoff_max=BACKOFF_LAST_S,
                backoff_jitter=BACKOFF_FIRST_S,
                status_forcelist=_AGAIN,
                allowed_methods=None,  # every request of ours may be repeated
                raise_on_status=False,
                respect_retry_after_header=False,  # it is the server's to choose, and has no bound
            ),
            ssl_context=context,
        )
        client = _Client(
            self._place.host,
            access_key=credentials.access_key,
            secret_key=credentials.secret_key,
            secure=self._place.secure,
            region=self._place.region,
            http_client=http,
        )
        if self._place.path_style:
            client.disable_virtual_style_endpoint()  # type: ignore[no-untyped-call]
        else:
            client.enable_virtual_style_endpoint()  # type: ignore[no-untyped-call]
        return client


class _Checked(io.RawIOBase):
    """A source that gives out its last bytes only if all is as announced: nothing else is ever completed."""

    def __init__(self, source: BinaryIO, size: int, sha256: str) -> None:
        self._source = source
        self._left = size
        self._sha256 = sha256
        self._digest = hashlib.sha256()
        if size == 0:
            self._check()

    def read(self, size: int | None = -1, /) -> bytes:
        try:
            piece = self._source.read(self._left if size is None or size < 0 else min(size, self._left))
        except OSError as error:
            raise StoreError(f"the file to be stored cannot be read: {error.strerror}; check the disk") from error
        self._digest.update(piece)
        self._left -= len(piece)
        if self._left == 0 or not piece:
            self._check()
        return piece

    def _check(self) -> None:
        if self._left or self._source.read(1) or self._digest.hexdigest() != self._sha256:
            raise ContentChangedError("the file changed while it was being stored")


def _told(error: MinioException) -> str:
    """One line; never the server's whole answer, which may quote the request."""
    if isinstance(error, S3Error):
        code = error.code or "unknown"
        return f"{error.message or code} ({code}); {_REMEDIES.get(code, 'see the log of the S3 server')}"
    return f"an answer that is not S3 ({type(error).__name__}); check storage.endpoint"


def _cause(error: Exception) -> str:
    """What really happened, in a few words: the library wraps it in several layers with addresses of objects."""
    inner: BaseException | None = error.reason if isinstance(error, MaxRetryError) else error
    while inner is not None and (deeper := inner.__cause__ or inner.__context__) is not None:
        inner = deeper
    if isinstance(inner, OSError) and inner.errno is not None:
        return os.strerror(inner.errno)
    return str(inner).partition("(")[0].strip(" :") or type(inner).__name__
