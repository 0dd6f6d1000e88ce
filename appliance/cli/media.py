"""`amda media …`."""

from __future__ import annotations

import hashlib
import itertools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.common import (
    CommandError,
    ConfigOption,
    Exit,
    JsonOption,
    clock,
    print_json,
    print_table,
    printable,
    size,
    with_client,
)
from appliance.model import Category

if TYPE_CHECKING:
    from appliance.client import ApplianceClient
    from appliance.model import MediaView

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_media(
    session: Annotated[str | None, typer.Option(help="Only of this session.")] = None,
    category: Annotated[Category | None, typer.Option(help="Only of this category.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many, newest first.")] = 50,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """What is stored, newest first."""
    page = with_client(config, lambda client: client.media(session=session, category=category, limit=limit))
    if as_json:
        print_json(page)
        return
    rows = [
        (item.id, item.session, item.category, item.kind, size(item.size), clock(item.sent_at), item.sender,
         printable(item.caption)[:40])
        for item in page.items
    ]  # fmt: skip
    header = ("MEDIA", "SESSION", "CATEGORY", "KIND", "SIZE", "SENT", "FROM", "CAPTION")
    print_table(header, rows, "Nothing is stored yet.")
    if page.next is not None:
        print(f"({limit} shown; there are more: --limit)", file=sys.stderr)


@app.command()
def get(
    media: Annotated[str, typer.Argument(metavar="MEDIA", help="Id of the item.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write, or - for standard output.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch a stored file, and check it against its hash."""
    if output == Path("-") and as_json:
        raise CommandError("--json and --output - would write to the same place", "Leave one out.", Exit.USAGE)
    item, target = with_client(config, lambda client: _get(client, media, output, force=force))
    if as_json:
        print_json({"file": None if target is None else str(target), "media": item})
    elif target is not None:
        print(f"{target}: {item.kind} of {size(item.size)}, hash checked")


async def _get(
    client: ApplianceClient, media: str, output: Path | None, *, force: bool
) -> tuple[MediaView, Path | None]:
    item = await client.media_item(media)
    digest = hashlib.sha256()
    if output == Path("-"):
        async for piece in client.media_content(media):
            digest.update(piece)
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        _check(item, digest.hexdigest())
        return item, None
    target = output or Path(item.key.rpartition("/")[2])
    if target.is_dir():
        target /= item.key.rpartition("/")[2]
    if target.exists() and not force:
        raise CommandError(
            f"{target} is there already", "Name another file with --output, or add --force.", Exit.REFUSED
        )
    partial = _unused_name(target)
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            async for piece in client.media_content(media):
                digest.update(piece)
                file.write(piece)
        _check(item, digest.hexdigest())
        partial.replace(target)
    except OSError as error:
        raise CommandError(f"{target}: {error.strerror}", "Choose another place with --output.") from error
    finally:
        partial.unlink(missing_ok=True)
    return item, target


def _unused_name(target: Path) -> Path:
    names = (target.with_name(f".{target.name}.{number}.part") for number in itertools.count())
    return next(name for name in names if not name.exists())


def _check(item: MediaView, sha256: str) -> None:
    if sha256 != item.sha256:
        raise CommandError("what arrived is not what was stored: its hash differs", "Try again; then check the disk.")
