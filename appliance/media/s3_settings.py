"""Where an S3 bucket is and who may enter: read from settings and from a file that nobody else may read."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from appliance.media.store import StoreError

_SCHEMES: Final = {"http": 80, "https": 443}


BucketName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]


class S3Place(msgspec.Struct, frozen=True, kw_only=True):
    endpoint: str
    """URL without a path."""
    bucket: str
    region: str
    path_style: bool
    ca_file: Path | None

    @property
    def secure(self) -> bool:
        return self.endpoint.startswith("https://")

    @property
    def host(self) -> str:
        """With its port, if it has one."""
        return urlsplit(self.endpoint).netloc


class S3Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What every section that can name a bucket has in common."""

    endpoint: Annotated[str | None, Meta(description="URL of the S3 server, such as http://127.0.0.1:9000.")] = None
    region: Annotated[str, Meta(min_length=1, description="Region that the S3 server expects.")] = "us-east-1"
    """MinIO's default, and the region that S3 itself began with."""
    path_style: Annotated[
        bool, Meta(description="Name the bucket in the path (MinIO), not in the host (AWS accepts both).")
    ] = True
    ca_file: Annotated[Path | None, Meta(description="Certificates that an https endpoint is checked against.")] = None
    credentials: Annotated[
        Path | None, Meta(description="TOML file, mode 0600, with access_key and secret_key of the S3 server.")
    ] = None

    def place(self, section: str, bucket: str) -> tuple[S3Place, Path]:
        """The bucket's place and the file of its credentials. Raises ValueError if a setting is missing."""
        if self.endpoint is None or self.credentials is None:
            missing = "endpoint" if self.endpoint is None else "credentials"
            raise ValueError(f"{missing} is missing, and S3 needs it; remedy: set {section}.{missing}")
        place = S3Place(
            endpoint=self.endpoint,
            bucket=bucket,
            region=self.region,
            path_style=self.path_style,
            ca_file=self.ca_file,
        )
        return place, self.credentials


class S3Credentials(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    access_key: str
    secret_key: str


def check_endpoint(endpoint: str) -> None:
    """Raises ValueError, with the remedy, unless it is the URL of a server."""
    try:
        url = urlsplit(endpoint)
        port = url.port
    except ValueError as error:
        raise ValueError(f"endpoint: {error}; remedy: write it like http://127.0.0.1:9000") from error
    if url.scheme not in _SCHEMES or not url.hostname or port == 0:
        raise ValueError("endpoint: not the URL of a server; remedy: write it like http://127.0.0.1:9000")
    if url.username is not None or url.password is not None:
        raise ValueError("endpoint: a login does not belong there; remedy: write it into the file of credentials")
    if url.path not in ("", "/") or url.query or url.fragment:
        raise ValueError("endpoint: nothing may follow host and port; remedy: the bucket has a setting of its own")


def read_credentials(file: Path) -> S3Credentials:
    """Read `access_key = "…"` and `secret_key = "…"` from a TOML file. Raises StoreError, never with its content."""
    remedy = 'it must say access_key = "…" and secret_key = "…", and belong to the appliance alone (chmod 600)'
    try:
        if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise StoreError(f"{file}: other users may read these credentials; chmod 600 {file}")
        content = tomllib.loads(file.read_text(encoding="utf-8"))
        return msgspec.convert(content, S3Credentials)
    except OSError as error:
        raise StoreError(f"{file}: {error.strerror}; {remedy}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise StoreError(f"{file}: cannot be understood; {remedy}") from error
