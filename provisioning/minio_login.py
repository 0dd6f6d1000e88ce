"""Gives the appliance a user of its own on its object store, with a policy for its bucket and nothing else.

minio_login.py check --endpoint URL --bucket NAME --root-password FILE --credentials FILE --owner USER
minio_login.py make  …

`check` ends with 0 if the credentials can do what is needed, 1 if they have to be made, 2 if that cannot be known.
`make` needs root to be let in: see install.sh.
"""

from __future__ import annotations

import argparse
import io
import os
import pwd
import secrets
import sys
import time
import tomllib
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit

import urllib3
from minio import Minio, MinioAdmin
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException, MinioException, S3Error
from urllib3.exceptions import HTTPError

USER = "amda"
ROOT = "amda-root"
POLICY = "amda-media"
READY_S = 60.0
"""Measured: 0.4 s; a busy machine takes several."""
PAUSE_S = 0.2
"""It tells nobody when it has opened its port."""
PROBE = "amda-probe"
BUSY = 503
"""It has as many requests as it takes at once, or is not ready yet."""
FULL = "XMinioStorageFull"
TO_BE_MADE = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "NoSuchBucket"})
"""Answers to a login that is none."""
OK, MISSING, TROUBLE = 0, 1, 2


def policy(bucket: str) -> dict[str, object]:
    """Actions on the bucket and on its objects apart: newer servers do not let the one grant the other."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"],
                "Resource": [f"arn:aws:s3:::{bucket}"],
            },
            {
                "Effect": "Allow",
                "Action": [
                    *("s3:GetObject", "s3:PutObject", "s3:DeleteObject"),
                    *("s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"),
                ],
                "Resource": [f"arn:aws:s3:::{bucket}/*"],
            },
        ],
    }


def await_ready(endpoint: str) -> None:
    """Raises TimeoutError."""
    deadline = time.monotonic() + READY_S
    while True:
        try:
            with urllib.request.urlopen(f"{endpoint}/minio/health/ready", timeout=2):  # noqa: S310 - our own address
                return
        except (URLError, OSError):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the object store at {endpoint} is not ready after {READY_S:.0f} s") from None
            time.sleep(PAUSE_S)


def client(endpoint: str, user: str, password: str) -> Minio:
    url = urlsplit(endpoint)
    pool = urllib3.PoolManager(timeout=10, retries=False)
    return Minio(
        endpoint=url.netloc, access_key=user, secret_key=password, secure=url.scheme == "https", http_client=pool
    )


def check(options: argparse.Namespace) -> int:
    """Write and delete one object. Raises S3Error, HTTPError, OSError."""
    try:
        login = tomllib.loads(options.credentials.read_text("utf-8"))
        store = client(options.endpoint, login["access_key"], login["secret_key"])
    except (KeyError, tomllib.TOMLDecodeError):
        return MISSING
    try:
        store.put_object(bucket_name=options.bucket, object_name=PROBE, data=io.BytesIO(b"amda"), length=4)
        store.remove_object(bucket_name=options.bucket, object_name=PROBE)
    except S3Error as error:
        if error.code in TO_BE_MADE:
            return MISSING
        if error.code != FULL:  # whom it knows it tells so
            raise
    return OK


def make(options: argparse.Namespace) -> int:
    root_password = options.root_password.read_text("utf-8").strip()
    url = urlsplit(options.endpoint)
    root = client(options.endpoint, ROOT, root_password)
    if not root.bucket_exists(bucket_name=options.bucket):
        root.make_bucket(bucket_name=options.bucket)
    admin = MinioAdmin(
        endpoint=url.netloc, credentials=StaticProvider(ROOT, root_password), secure=url.scheme == "https"
    )
    password = secrets.token_urlsafe(30)
    admin.policy_add(POLICY, policy=policy(options.bucket))
    admin.user_add(USER, password)
    admin.policy_set(POLICY, user=USER)
    write_credentials(options.credentials, options.owner, password)
    return OK


def write_credentials(path: Path, owner: str, password: str) -> None:
    """In one step, and only for `owner`."""
    account = pwd.getpwnam(owner)
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f'access_key = "{USER}"\nsecret_key = "{password}"\n')
    os.chown(temporary, account.pw_uid, account.pw_gid)
    temporary.replace(path)


def patiently(work: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """Again as long as the store is busy; it says that it is ready a moment before it is. Raises as `work`."""
    deadline = time.monotonic() + READY_S
    while True:
        try:
            return work(options)
        except (S3Error, MinioAdminException) as error:
            busy = error.response.status == BUSY if isinstance(error, S3Error) else f"Status: {BUSY}" in str(error)
            if not busy or time.monotonic() > deadline:
                raise
        time.sleep(PAUSE_S)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["check", "make"])
    for name in ("--endpoint", "--bucket", "--owner"):
        parser.add_argument(name, required=True)
    for name in ("--root-password", "--credentials"):
        parser.add_argument(name, required=True, type=Path)
    options = parser.parse_args()
    try:
        await_ready(options.endpoint)
        return patiently(check if options.action == "check" else make, options)
    except S3Error as error:
        sys.stderr.write(f"  object store: {error.code}\n")
    except (MinioException, MinioAdminException, HTTPError, OSError) as error:
        sys.stderr.write(f"  object store: {error}\n")
    return TROUBLE


if __name__ == "__main__":
    sys.exit(main())
