"""`amda web`: the terminal interface in a browser, on loopback, behind a token."""

from __future__ import annotations

import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from appliance.cli.common import CommandError, ConfigOption, Exit, JsonOption, print_json
from appliance.language import _

if TYPE_CHECKING:
    from tui.web.guard import Door

PORT: Final = 8765
VIEWERS: Final = 4
"""Each open page is a process of some 60 MiB; the smallest server has 2 GB for everything."""


def register(app: typer.Typer) -> None:
    app.command()(web)


def web(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen; loopback unless told otherwise.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = PORT,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Listen beyond this machine. Needs TLS to be safe; see below.")
    ] = False,
    certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TLS certificate with its chain (PEM).")
    ] = None,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="Private key of the certificate (PEM).")] = None,
    public_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Address by which a proxy in front of it is reached.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Take the token from this file, instead of a new one each time.")
    ] = None,
    viewers: Annotated[int, typer.Option(min=1, max=100, help="Pages that may be open at once.")] = VIEWERS,
    read_only: Annotated[bool, typer.Option("--read-only", help="Look, and change nothing.")] = False,
    demo: Annotated[bool, typer.Option("--demo", help="Show a simulated fleet; nothing needs to run.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the terminal interface in a browser, until Ctrl-C. The address with its token is shown once.

    Whoever has that address may do what you may. From another machine: ssh -L 8765:127.0.0.1:8765 SERVER, and open it
    there. --allow-remote without --certificate sends token and screen unencrypted: give one, or put a proxy with TLS in
    front of loopback and name it with --public-url.
    """
    import asyncio

    door = _door(host, port, certificate, key, public_url, allow_remote=allow_remote)
    tls = _tls(certificate, key)
    token = _token(token_file)
    options = ["--demo"] if demo else ["--config", str(config)] if config is not None else []
    command = [sys.executable, "-P", "-m", "tui", *options, *(["--read-only"] if read_only else [])]
    try:
        asyncio.run(_serve(door, token, command, viewers, tls, own_token=token_file is None, as_json=as_json))
    except OSError as error:
        words = _("{host}:{port} cannot be used: {why}").format(host=host, port=port, why=error.strerror)
        raise CommandError(words, _("Choose another --port or --host.")) from error


def _door(
    host: str, port: int, certificate: Path | None, key: Path | None, public_url: str | None, *, allow_remote: bool
) -> Door:
    """Raises CommandError for what would be unsafe without having been asked for."""
    from urllib.parse import urlsplit

    from tui.web.guard import Door, is_loopback

    if (certificate is None) != (key is None):
        raise CommandError(_("--certificate and --key belong together"), _("Give both, or neither."), Exit.USAGE)
    parts = urlsplit(public_url or "https://localhost")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
        remedy = _("Write it like https://amda.example.org")
        raise CommandError(_("--public-url is not the address of a server"), remedy, Exit.USAGE)
    if not is_loopback(host):
        if not allow_remote:
            raise CommandError(
                _("{host} can be reached from other machines").format(host=host),
                _("Leave --host out and use ssh -L, or add --allow-remote with --certificate and --key."),
                Exit.REFUSED,
            )
        if certificate is None:
            words = _("amda: WARNING: without --certificate anybody on the way can read the token and use it.")
            print(words, file=sys.stderr)
    return Door(host=host, port=port, encrypted=certificate is not None, public=public_url)


def _tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        words = _("certificate or key cannot be used: {why}").format(why=error.strerror or error)
        raise CommandError(words, _("Both have to be PEM files that belong together."), Exit.USAGE) from error
    return context


def _token(file: Path | None) -> str:
    """A new one, or the one in a file that nobody else can read."""
    import secrets

    from tui.web.guard import TOKEN_BYTES, TOKEN_MIN

    if file is None:
        return secrets.token_urlsafe(TOKEN_BYTES)
    try:
        mode, token = file.stat().st_mode, file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        words = _("{file} cannot be read: {why}").format(file=file, why=getattr(error, "strerror", error))
        raise CommandError(words, _("Name a file with the token and nothing else."), Exit.USAGE) from error
    if mode & 0o077:
        words = _("{file} can be read by others").format(file=file)
        raise CommandError(words, f"chmod 600 {file}", Exit.USAGE)
    if len(token) < TOKEN_MIN or not token.isascii() or not token.isprintable() or " " in token:
        words = _("{file} does not hold a token of at least {count} characters").format(file=file, count=TOKEN_MIN)
        raise CommandError(words, f"(umask 077; openssl rand -hex 32 > {file})", Exit.USAGE)
    return token


async def _serve(
    door: Door,
    token: str,
    command: list[str],
    viewers: int,
    tls: ssl.SSLContext | None,
    *,
    own_token: bool,
    as_json: bool,
) -> None:
    """Until a signal; then every viewer is ended."""
    import asyncio
    import signal

    from tui.web.server import WebServer

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with WebServer(door, token, command, viewers_max=viewers, tls=tls) as server:
        url = server.door.address + (f"?token={token}" if own_token else "")
        if as_json:
            print_json({"url": url})
        else:
            print(url, flush=True)
            hint = "" if own_token else _("(add ?token= and what the file holds)") + " "
            print(hint + _("Whoever has this address may do here what you may. Ctrl-C ends it."), file=sys.stderr)
        await stop.wait()
