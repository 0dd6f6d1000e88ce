"""What the actions do that change something: asked again where it is hard to undo, and what became of it is said."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from appliance.client import ClientError
from appliance.model import SESSION_ID_PATTERN, SessionState, SessionView
from tui.paint import Tone
from tui.port import Api
from tui.screens.page import Deed
from tui.store import Topic
from tui.text import _, known, ngettext

if TYPE_CHECKING:
    from tui.app import AmdaTui

_COPIED_SHOWN: Final = 40
"""Characters of what was copied: a pairing code is shown whole, a QR code's text helps nobody."""


class Deeds:
    """By the action's id, for every screen. Each asks the app for what is meant by it."""

    def __init__(self, app: AmdaTui) -> None:
        self._app = app

    def table(self) -> dict[str, Deed]:
        return {
            "pair": self.pair,
            "restart": self.restart,
            "start": self.start,
            "stop": self.stop,
            "remove": self.remove,
            "new": self.new,
            "copy": self.copy,
            "open": self.open,
            "log": self.log,
        }

    async def open(self) -> None:
        await self._app.show_session(self._app.page.targets()[0].id)

    async def log(self) -> None:
        """The session's screen, at its log."""
        await self._app.show_session(self._app.page.targets()[0].id, log=True)

    async def restart(self) -> None:
        views = [view for view in self._app.page.targets() if view.wanted]
        text = _("Their processes end and start anew; each is offline for a few seconds.")
        if len(views) > 1 and not await self._sure(_("Restart these sessions?"), text, views, _("restart them")):
            return
        await self._each(views, lambda api, view: api.restart_session(view.id), _("Restarted: {names}"))

    async def start(self) -> None:
        views = [view for view in self._app.page.targets() if view.state is not SessionState.ONLINE]
        await self._each(views, lambda api, view: api.start_session(view.id), _("Started: {names}"))

    async def stop(self) -> None:
        views = [view for view in self._app.page.targets() if view.wanted]
        text = _("While stopped nothing is captured: statuses and deleted messages of that time may be lost for good.")
        title = ngettext("Stop this session?", "Stop these {count} sessions?", len(views))
        if await self._sure(title, text, views, _("stop")):
            await self._each(views, lambda api, view: api.stop_session(view.id), _("Stopped: {names}"))

    async def remove(self) -> None:
        """The hardest to undo: its name has to be typed."""
        from tui.screens.overlay import Ask

        (view,) = self._app.page.targets()
        text = _("Unlinks {name} at WhatsApp and forgets it; what it captured stays. Type {id} to do it.")
        ask = Ask(_("Remove {name}").format(name=view.name), text.format(name=view.name, id=view.id))
        typed = await self._app.push_screen_wait(ask)
        if typed is None:
            return
        if typed != view.id:
            self._app.say(_("Not removed: that was not its name."), Tone.WARN)
            return
        removed = await self._app.change(lambda api: api.remove_session(view.id), "")
        if removed is not None:
            done = _("Removed: {names}").format(names=view.name)
            if removed.note is None:
                self._app.say(done, Tone.OK)
            else:
                why = _("Its device could not be unlinked: {why}").format(why=known(removed.note))
                self._app.say(f"{done}. {why}", Tone.WARN)

    async def new(self) -> None:
        from tui.screens.overlay import Ask

        text = _("A short name: lower case letters, digits and dashes. It cannot be changed later.")
        name = await self._app.push_screen_wait(Ask(_("New session"), text, _("for example awa")))
        if not name:
            return
        if not SESSION_ID_PATTERN.fullmatch(name):
            self._app.say(_("Not created: only lower case letters, digits and inner dashes."), Tone.WARN)
            return
        created = _("Created: {name}. p pairs it.").format(name=name)
        await self._app.change(lambda api: api.create_session(name), created)

    async def pair(self) -> None:
        """By code with a number, by QR code without one."""
        from tui.screens.overlay import Ask

        (view,) = self._app.page.targets()
        linked = view.phone is not None and view.state not in (SessionState.NEW, SessionState.NEEDS_PAIRING)
        works = view.state is SessionState.ONLINE
        text = _("It is linked and works. Link it anew?") if works else _("It has a login already. Link it anew?")
        if linked and not await self._sure(_("Pair again?"), text, [view], _("link it anew")):
            return
        text = _("Number of the phone, with country code. Leave it empty for a QR code.")
        phone = await self._app.push_screen_wait(
            Ask(_("Pair {name}").format(name=view.name), text, "+221 77 123 45 67")
        )
        if phone is None:
            return
        asked = await self._app.change(lambda api: api.pair(view.id, phone=phone or None, relink=linked), "")
        if asked is not None:
            await self._app.show_pairing(asked.id)

    def copy(self) -> None:
        """To the clipboard of the terminal, over any number of SSH connections (OSC 52)."""
        text = self._app.page.copyable()
        if text:
            self._app.copy_text(text)
            shown = text if len(text) <= _COPIED_SHOWN else text[:_COPIED_SHOWN] + " …"
            self._app.say(_("Copied: {text}").format(text=shown), Tone.OK)

    # ---- how

    async def _sure(self, title: str, text: str, views: Sequence[SessionView], yes: str) -> bool:
        from tui.screens.overlay import Confirm

        return await self._app.push_screen_wait(Confirm(title, text, [view.name for view in views], yes))

    async def _each(
        self, views: Sequence[SessionView], call: Callable[[Api, SessionView], Awaitable[Any]], done: str
    ) -> None:
        """One after the other at the daemon's own pace; what was refused is named."""
        names, refused = [], []
        for view in views:
            try:
                await self._app.ask(lambda api, one=view: call(api, one))  # type: ignore[misc]
                names.append(view.name)
            except ClientError as error:
                refused.append(f"{view.name}: {known(str(error))} {known(error.remedy)}".strip())
        if refused:
            self._app.say("; ".join(refused), Tone.BAD)
        elif names:
            self._app.say(done.format(names=", ".join(names)), Tone.OK)
        self._app.hurry(Topic.SESSIONS, Topic.STATUS)


def osc52(text: str) -> str:
    """The control sequence that puts a text on the clipboard of the person's own terminal (xterm, operating system
    command 52)."""
    return f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\x07"
