"""`amda pair`: ask for a code or a QR code, show it as long as it lives, wait for the result."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Annotated, Final, TextIO

import typer

from appliance.cli.common import CommandError, ConfigOption, Exit, JsonOption, print_json, with_client
from appliance.language import N_, _, known
from appliance.model import PairingState, PairMethod

if TYPE_CHECKING:
    from appliance.client import ApplianceClient
    from appliance.model import PairingView

_EXIT: Final = {
    PairingState.LINKED: Exit.OK,
    PairingState.EXPIRED: Exit.DEGRADED,
    PairingState.REFUSED: Exit.REFUSED,
    PairingState.CANCELLED: Exit.REFUSED,
    PairingState.FAILED: Exit.FAILED,
}
_STEPS: Final = {
    PairingState.STARTING: N_("Asking WhatsApp …"),
    PairingState.CONFIRMING: N_("The phone has accepted; logging in for the first time …"),
}
_ON_THE_PHONE: Final = {
    PairMethod.CODE: N_("On the phone: WhatsApp → Linked devices → Link a device → Link with phone number instead."),
    PairMethod.QR: N_("On the phone: WhatsApp → Linked devices → Link a device; point its camera at this:"),
}


def register(app: typer.Typer) -> None:
    app.command()(pair)


def pair(
    session: Annotated[str, typer.Argument(metavar="ID", help="Name of the session.")],
    phone: Annotated[str | None, typer.Option(help="Number with country code: show a code to type on it.")] = None,
    qr: Annotated[bool, typer.Option("--qr", help="Show a QR code to scan.")] = False,
    relink: Annotated[bool, typer.Option("--relink", help="Even if the session is linked and alive.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Link a session to a WhatsApp account, and wait until that is done.

    On the phone: WhatsApp → Linked devices → Link a device. Ctrl-C leaves the attempt alive; the same command shows its
    code again. Exit status: 0 linked, 4 refused, 6 nothing came from the phone in time. --json: one line per change.
    """
    if qr == (phone is not None):
        remedy = _("amda pair ID --phone +221…, or: amda pair ID --qr")
        raise CommandError(_("give either --phone or --qr"), remedy, Exit.USAGE)
    last = with_client(config, lambda client: _follow(client, session, phone, relink=relink, as_json=as_json))
    if last.state is not PairingState.LINKED and not as_json:
        remedy = known(last.remedy or "").replace(" ID", f" {session}")
        raise CommandError(last.reason or str(last.state), remedy, _EXIT[last.state])
    if last.state is not PairingState.LINKED:
        raise typer.Exit(_EXIT[last.state])


async def _follow(
    client: ApplianceClient, session: str, phone: str | None, *, relink: bool, as_json: bool
) -> PairingView:
    view = await client.pair(session, phone=phone, relink=relink)
    display = None if as_json else PairingDisplay()
    async for found in client.follow_pairing(view):
        view = found
        if display is None:
            print_json(view)
        else:
            await display.show(view)
    if display is not None:
        await display.close()
        if view.state is PairingState.LINKED:
            print(_("Linked: session {id} is {phone}.").format(id=session, phone=view.phone or _("connected")))
    return view


class PairingDisplay:
    """The attempt on a terminal: on a real one the countdown runs, elsewhere each line is printed once."""

    def __init__(self, output: TextIO | None = None) -> None:
        self._output = output or sys.stdout
        self._live = self._output.isatty()
        self._shown: str | None = None
        self._said: str | None = None
        self._ticker: asyncio.Task[None] | None = None

    async def show(self, view: PairingView) -> None:
        await self.close()
        value = view.code or view.qr
        if value is None:
            step = _(_STEPS[view.state]) if view.state in _STEPS else None
            if view.position is not None and view.wait_s:
                words = _("Place {position} in the queue, about {seconds:.0f} s to wait …")
                step = words.format(position=view.position, seconds=view.wait_s)
            if step is not None and step != self._said:
                self._print(step)
            self._said = step
            return
        if value != self._shown:
            if self._shown is None:
                self._print(_(_ON_THE_PHONE[view.method]))
            self._shown = value
            if view.qr is not None:
                _draw(view.qr, self._output)
        if view.expires_at is None:
            return
        label = _("Code: {code}").format(code=view.code) if view.code else _("Scan it with the phone")
        if self._live:
            self._ticker = asyncio.create_task(self._count_down(label, view.expires_at))
        else:
            left = _("(valid for {seconds} s)").format(seconds=_seconds_left(view.expires_at))
            self._print(f"{label}   {left}")

    async def close(self) -> None:
        """Stop the countdown and leave its line."""
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.wait([self._ticker])
            self._ticker = None
            self._print("")

    async def _count_down(self, label: str, expires_at: float) -> None:
        while (left := _seconds_left(expires_at)) > 0:
            words = _("valid for {time}").format(time=f"{left // 60}:{left % 60:02}")
            self._print(f"\r{label}   {words} ", end="")
            await asyncio.sleep(1)

    def _print(self, text: str, end: str = "\n") -> None:
        print(text, end=end, file=self._output, flush=True)


def _seconds_left(expires_at: float) -> int:
    return max(0, int(expires_at - time.time()))


def _draw(text: str, output: TextIO) -> None:
    import segno

    segno.make(text, error="l", micro=False).terminal(output, compact=True, border=2)
