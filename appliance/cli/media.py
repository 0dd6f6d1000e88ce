"""`amda media …`."""

from __future__ import annotations

import hashlib
import itertools
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Final

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
from appliance.cli.history import SinceOption, duration, parse_since
from appliance.language import _, known, ngettext
from appliance.model import Category, MediaKind

if TYPE_CHECKING:
    from appliance.client import ApplianceClient
    from appliance.model import MediaView
    from appliance.model_api import MediaPage

app = typer.Typer(no_args_is_help=True)

MediaArgument = Annotated[str, typer.Argument(metavar="MEDIA", help="Id of the item.")]
ItemArgument = Annotated[str, typer.Argument(metavar="ITEM", help="As amda media waiting shows it.")]
_REPLACE: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW


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
    _print_page(page, limit, as_json=as_json)


@app.command()
def waiting(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """What is captured and not stored: what waits in the spools and why, and what was set aside."""
    found = with_client(config, lambda client: client.media_waiting())
    if as_json:
        print_json(found)
        return
    if found.state.trouble:
        print(_("Nothing can be stored just now: {why}").format(why=known(found.state.trouble)))
    rows = [(row.session, str(row.items), size(row.size), duration(row.oldest_s)) for row in found.waiting]
    print_table(_("SESSION|ITEMS|SIZE|OLDEST"), rows, _("Nothing waits."))
    if found.set_aside:
        print()
        aside = [
            (poison.session, poison.item, clock(poison.at), known(printable(poison.reason)))
            for poison in found.set_aside
        ]
        print_table(_("SESSION|ITEM|SET ASIDE|BECAUSE"), aside, "")
        print(_("(amda media retry SESSION ITEM, or amda media discard SESSION ITEM)"), file=sys.stderr)


@app.command()
def retry(
    session: Annotated[str, typer.Argument(metavar="SESSION", help="As amda media waiting shows it.")],
    item: ItemArgument,
    config: ConfigOption = None,
) -> None:
    """Take in once more what was set aside."""
    with_client(config, lambda client: client.retry_media(session, item))
    print(_("{item} is taken in again; amda media waiting shows whether it is set aside once more").format(item=item))


@app.command()
def discard(
    session: Annotated[str, typer.Argument(metavar="SESSION", help="As amda media waiting shows it.")],
    item: ItemArgument,
    config: ConfigOption = None,
) -> None:
    """Throw away what was set aside."""
    with_client(config, lambda client: client.discard_media(session, item))
    print(_("{item} is thrown away").format(item=item))


@app.command()
def search(
    text: Annotated[str | None, typer.Argument(help="In caption, file name, sender, chat or message id.")] = None,
    session: Annotated[str | None, typer.Option(help="Only of this session.")] = None,
    category: Annotated[Category | None, typer.Option(help="Only of this category.")] = None,
    kind: Annotated[MediaKind | None, typer.Option(help="Only of this kind.")] = None,
    since: SinceOption = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Only sent before then.")] = None,
    pinned: Annotated[bool | None, typer.Option("--pinned/--not-pinned", help="Only what is pinned, or not.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many, newest first.")] = 50,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """What is stored and matches all that is given, newest first."""
    begin, end = _time(since), _time(until)
    page = with_client(
        config,
        lambda client: client.search_media(
            session=session, category=category, kind=kind, text=text, since=begin, until=end, pinned=pinned, limit=limit
        ),
    )
    _print_page(page, limit, as_json=as_json)


@app.command()
def show(media: MediaArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Everything that is known of one item."""
    item = with_client(config, lambda client: client.media_item(media))
    if as_json:
        print_json(item)
        return
    for name, text in (
        ("id", item.id),
        (_("session"), item.session),
        (_("category"), item.category),
        (_("kind"), f"{item.kind} ({printable(item.mimetype)})"),
        (_("size"), _size(item)),
        (_("from"), item.sender),
        (_("chat"), item.chat),
        (_("sent"), clock(item.sent_at)),
        (_("stored"), clock(item.stored_at)),
        (_("message"), item.message_id),
        (_("treatment"), item.treatment),
        ("sha256", item.sha256),
        (_("key"), item.key),
        (_("pinned"), _("yes") if item.pinned else _("no")),
        (_("caption"), printable(item.caption)),
    ):
        print(f"{name:<12} {text}".rstrip())


@app.command()
def pin(media: MediaArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Keep an item whatever happens: no pruning takes it."""
    item = with_client(config, lambda client: client.pin_media(media))
    print_json(item) if as_json else print(_("{item} is pinned").format(item=item.id))


@app.command()
def unpin(media: MediaArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Let an item go when its time comes."""
    item = with_client(config, lambda client: client.pin_media(media, pinned=False))
    print_json(item) if as_json else print(_("{item} is no longer pinned").format(item=item.id))


@app.command()
def delete(media: MediaArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Remove an item, pinned or not."""
    with_client(config, lambda client: client.delete_media(media))
    print_json({"deleted": media}) if as_json else print(_("{item} is deleted").format(item=media))


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Folder to write to; what it has already is left as it is.")],
    session: Annotated[str | None, typer.Option(help="Only of this session.")] = None,
    category: Annotated[Category | None, typer.Option(help="Only of this category.")] = None,
    since: SinceOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy stored files to a folder, each checked, with a list of them (index.jsonl)."""
    begin = _time(since)
    count, written = with_client(config, lambda client: _export(client, folder, session, category, begin))
    if as_json:
        print_json({"folder": str(folder), "items": count, "written": written})
    else:
        items = ngettext("{count} item", "{count} items", count)
        files = ngettext("{count} file written", "{count} files written", written)
        print(f"{folder}: {items}, {files}")


async def _export(
    client: ApplianceClient, folder: Path, session: str | None, category: Category | None, since: float | None
) -> tuple[int, int]:
    """Keys are made by the appliance from parts that it knows, so they are safe as paths below `folder`."""
    import msgspec

    count = written = 0
    try:
        with _open_index(folder) as index:
            async for item in client.all_matching_media(session=session, category=category, since=since):
                count += 1
                target = folder / item.key
                if _is_missing(target):
                    await _get(client, item.id, target, force=False)
                    written += 1
                index.write(msgspec.json.encode(item) + b"\n")
    except OSError as error:
        raise CommandError(f"{error.filename or folder}: {error.strerror}", _("Choose another folder.")) from error
    return count, written


def _open_index(folder: Path) -> BinaryIO:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return os.fdopen(os.open(folder / "index.jsonl", _REPLACE, 0o600), "wb")


def _is_missing(target: Path) -> bool:
    """Whether a file has still to be written; then its folder is made."""
    if target.exists():
        return False
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return True


def _time(text: str | None) -> float | None:
    return None if text is None else parse_since(text, time.time())


def _print_page(page: MediaPage, limit: int, *, as_json: bool) -> None:
    if as_json:
        print_json(page)
        return
    rows = [
        (item.id, item.session, item.category, item.kind, size(item.size), clock(item.sent_at), item.sender,
         printable(item.caption)[:40])
        for item in page.items
    ]  # fmt: skip
    header = _("MEDIA|SESSION|CATEGORY|KIND|SIZE|SENT|FROM|CAPTION")
    print_table(header, rows, _("Nothing is stored that matches."))
    if page.next is not None:
        print(_("({count} shown; there are more: --limit)").format(count=limit), file=sys.stderr)


@app.command()
def get(
    media: MediaArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write, or - for standard output.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch a stored file, and check it against its hash."""
    if output == Path("-") and as_json:
        words = _("--json and --output - would write to the same place")
        raise CommandError(words, _("Leave one out."), Exit.USAGE)
    item, target = with_client(config, lambda client: _get(client, media, output, force=force))
    if as_json:
        print_json({"file": None if target is None else str(target), "media": item})
    elif target is not None:
        words = _("{file}: {kind} of {size}, hash checked")
        print(words.format(file=target, kind=item.kind, size=size(item.size)))


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
        words = _("{file} is there already").format(file=target)
        raise CommandError(words, _("Name another file with --output, or add --force."), Exit.REFUSED)
    partial = _unused_name(target)
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            async for piece in client.media_content(media):
                digest.update(piece)
                file.write(piece)
        _check(item, digest.hexdigest())
        partial.replace(target)
    except OSError as error:
        raise CommandError(f"{target}: {error.strerror}", _("Choose another place with --output.")) from error
    finally:
        partial.unlink(missing_ok=True)
    return item, target


def _unused_name(target: Path) -> Path:
    names = (target.with_name(f".{target.name}.{number}.part") for number in itertools.count())
    return next(name for name in names if not name.exists())


def _size(item: MediaView) -> str:
    if item.size == item.original_size:
        return size(item.size)
    words = _("{size} (made smaller; it came with {original})")
    return words.format(size=size(item.size), original=size(item.original_size))


def _check(item: MediaView, sha256: str) -> None:
    if sha256 != item.stored_sha256:
        words = _("what arrived is not what was stored: its hash differs")
        raise CommandError(words, _("Try again; then check the disk."))
