"""Linking: the code in large type with its countdown, or a QR code; who waits, and how the last attempts ended."""

from __future__ import annotations

from typing import Final

from appliance.model import PairingState, PairingView, PairMethod, SessionView
from tui.actions import Place
from tui.bigtype import halves, large
from tui.edit import Editor
from tui.paint import Ground, Line, Pen, Tone, bar, rule, width_of, wrapped
from tui.scene import Scene
from tui.screens.page import Deed, Page, moved, scrolled
from tui.text import N_, _, known
from tui.words import collation, duration, lasting, since

CODE_S: Final = 160.0
"""What a fresh code has; the full length of the countdown's bar."""
HURRY_S: Final = 30.0
"""From here on the countdown warns."""
ENDED_SHOWN: Final = 20
_QUEUE_ROOM: Final = 3
"""Lines that the queue gets at least, with its title."""
_BIG_ROOM: Final = 14
"""Lines that a code with its explanation takes."""
_QUIET: Final = 2
"""Empty modules around a QR code; the standard wants four, phones are content with two on a light ground."""

STATES: Final[dict[PairingState, tuple[str, str, Tone]]] = {
    PairingState.QUEUED: (N_("waits"), "wait", Tone.INFO),
    PairingState.STARTING: (N_("starting"), "wait", Tone.INFO),
    PairingState.WAITING: (N_("type the code"), "half", Tone.ACCENT),
    PairingState.CONFIRMING: (N_("logging in"), "half", Tone.INFO),
    PairingState.LINKED: (N_("linked"), "ok", Tone.OK),
    PairingState.EXPIRED: (N_("expired"), "bad", Tone.WARN),
    PairingState.REFUSED: (N_("refused"), "bad", Tone.BAD),
    PairingState.CANCELLED: (N_("cancelled"), "off", Tone.DIM),
    PairingState.FAILED: (N_("failed"), "bad", Tone.BAD),
}
_ORDER: Final = (PairingState.WAITING, PairingState.CONFIRMING, PairingState.STARTING, PairingState.QUEUED)
STEPS_CODE: Final = N_("On the phone: WhatsApp → Linked devices → Link a device → Link with phone number instead")
STEPS_QR: Final = N_("On the phone: WhatsApp → Linked devices → Link a device, and point it here")


class PairingPage(Page):
    place = Place.PAIRING

    def __init__(self) -> None:
        super().__init__(id="pairing")
        self._cursor: str | None = None
        self._top = 0
        self._words = ""
        self._editor: Editor | None = None
        self._rows: list[PairingView] = []

    def deeds(self) -> dict[str, Deed]:
        return {"filter": self._filter, "cancel-pairing": self._cancel, "qr": self._other_way}

    def focus_on(self, pairing: str) -> None:
        """Show this attempt first."""
        self._cursor = pairing

    def targets(self) -> list[SessionView]:
        chosen = self._chosen()
        known = self.tui.scene.store.sessions
        return [known[chosen.session]] if chosen is not None and chosen.session in known else []

    def subject(self) -> str | None:
        chosen = self._chosen()
        return None if chosen is None or chosen.state.final else chosen.id

    def copyable(self) -> str:
        chosen = self._chosen()
        return "" if chosen is None else chosen.code or chosen.qr or ""

    def editor(self) -> Editor | None:
        return self._editor

    async def edited(self, key: str) -> None:
        if self._editor is not None:
            self._words = "" if key == "escape" else self._editor.text
            if key in ("enter", "escape"):
                self._editor = None

    def back(self) -> bool:
        had, self._words = bool(self._words), ""
        return had

    def navigate(self, key: str) -> bool:
        index = moved(key, self._index(), len(self._rows), 8)
        if index is not None and self._rows:
            self._cursor = self._rows[index].id
        return index is not None

    def paint(self, width: int, height: int) -> list[Line]:
        scene = self.tui.scene
        self._rows = attempts(scene, self._words)
        chosen = self._chosen()
        if chosen is not None and chosen.qr and chosen.state is PairingState.WAITING:
            return qr_picture(chosen, scene, width, height)
        top = [] if chosen is None else code_picture(chosen, scene, width, height - 4)
        if len(top) + _QUEUE_ROOM > height:  # what is empty gives way to the queue
            top = [line for line in top if line.text.strip()]
        room = max(1, height - len(top) - 2)
        self._top = scrolled(self._top, self._index(), len(self._rows), room)
        lines = [*top, self._title(width)]
        cursor = None if chosen is None else chosen.id
        lines += [attempt_line(view, cursor, scene, width) for view in self._rows[self._top : self._top + room]]
        if not self._rows:
            text = _("Nobody waits to be linked. On the list of sessions, p asks for a code.")
            parts = wrapped(text, width - 5)
            lines += [Line(), *(Pen().put(f"    {part}", Tone.DIM).line(width) for part in parts)]
        return lines

    # ---- what is done here

    def _filter(self) -> None:
        self._editor = Editor(self._words, len(self._words))

    async def _cancel(self) -> None:
        chosen = self._chosen()
        if chosen is not None:
            name = _name(chosen, self.tui.scene)
            await self.tui.change(lambda api: api.cancel_pairing(chosen.id), _("Given up: {name}").format(name=name))

    async def _other_way(self) -> None:
        """The number is masked here: for a code it has to be typed again."""
        chosen = self._chosen()
        if chosen is None:
            return
        if chosen.method is PairMethod.QR:
            await self.tui.deeds.pair()
            return
        cancelled = _("A QR code is being asked for.")
        if await self.tui.change(lambda api: api.cancel_pairing(chosen.id), "") is not None:
            asked = await self.tui.change(lambda api: api.pair(chosen.session, method=PairMethod.QR), cancelled)
            self._cursor = None if asked is None else asked.id

    # ---- how it looks

    def _index(self) -> int:
        return next((index for index, view in enumerate(self._rows) if view.id == self._cursor), 0)

    def _chosen(self) -> PairingView | None:
        """The one under the cursor, otherwise the first: it is the one that needs somebody."""
        rows = self._rows or attempts(self.tui.scene, self._words)
        return next((view for view in rows if view.id == self._cursor), rows[0] if rows else None)

    def _title(self, width: int) -> Line:
        glyphs = self.tui.scene.glyphs
        if self._editor is not None:
            return self._editor.put(Pen(glyphs).put(" / ", Tone.KEY)).line(width)
        waiting = sum(not view.state.final for view in self._rows)
        title = _("queue and last attempts") + (f" {glyphs.dot} {waiting}" if waiting else "")
        return rule(width, glyphs, title + (f" {glyphs.dot} / {self._words}" if self._words else ""))


def attempts(scene: Scene, words: str) -> list[PairingView]:
    """Those under way first, in the order in which they need somebody; then how the last ones ended."""
    wanted = collation(words).split()
    views = [
        view
        for view in scene.store.pairings.values()
        if all(word in collation(f"{_name(view, scene)} {view.session} {view.phone or ''}") for word in wanted)
    ]
    under_way = [view for view in views if not view.state.final]
    under_way.sort(key=lambda view: (_ORDER.index(view.state), view.position or 0, view.created_at))
    ended = sorted((view for view in views if view.state.final), key=lambda view: -(view.ended_at or view.updated_at))
    return under_way + ended[:ENDED_SHOWN]


def _name(view: PairingView, scene: Scene) -> str:
    session = scene.store.sessions.get(view.session)
    return view.session if session is None else session.name


def left_of(view: PairingView, now: float) -> float:
    """Seconds that the code can still be used."""
    return 0.0 if view.expires_at is None else max(0.0, view.expires_at - now)


def centred(text: str, width: int, tone: Tone, ground: Ground | None = None) -> Line:
    pad = max(0, (width - width_of(text)) // 2)
    return Pen().put(" " * pad).put(text, tone, ground).line(width)


def code_picture(view: PairingView, scene: Scene, width: int, room: int) -> list[Line]:
    """What the person at the phone needs: whose code, the code, how long it is good, where to type it."""
    name = f"{_name(view, scene)} {scene.glyphs.dot} {view.phone}" if view.phone else _name(view, scene)
    lines = [Line(), centred(name, width, Tone.STRONG), Line()]
    if view.code:
        type_ = large(view.code, width - 4, scene.glyphs)
        if len(type_) + _BIG_ROOM - 4 > room:
            type_ = large(view.code, min(width - 4, 60), scene.glyphs)
        lines += [centred(row, width, Tone.ACCENT) for row in type_]
        lines += [Line(), countdown(view, scene, width), Line()]
        lines += [centred(text, width, Tone.TEXT) for text in wrapped(_(STEPS_CODE), width - 4)]
        lines.append(centred(_("y copies the code, Q shows a QR code instead"), width, Tone.DIM))
        return [*lines, Line()]
    word, sign, tone = STATES[view.state]
    lines.append(centred(f"{getattr(scene.glyphs, sign)} {_(word)}", width, tone))
    for text in explanation(view, scene):
        lines += [centred(part, width, Tone.TEXT) for part in wrapped(text, min(width - 4, 90))]
    return [*lines, Line()]


def explanation(view: PairingView, scene: Scene) -> list[str]:
    """What is going on, or why it ended and what to do."""
    if view.state is PairingState.QUEUED:
        ahead = max(0, (view.position or 1) - 1)
        wait = f" {_('about')} {lasting(view.wait_s)}" if view.wait_s else ""
        return [_("{count} before it.").format(count=ahead) + wait]
    if view.state is PairingState.STARTING:
        return [_("Asking WhatsApp for a code: {age}.").format(age=lasting(scene.now - (view.started_at or scene.now)))]
    if view.state is PairingState.CONFIRMING:
        return [_("The phone has accepted; logging in for the first time.")]
    if view.state is PairingState.LINKED:
        return [_("Linked within {time}.").format(time=duration((view.ended_at or view.updated_at) - view.created_at))]
    return [known(text) for text in (view.reason, view.remedy) if text]


def countdown(view: PairingView, scene: Scene, width: int) -> Line:
    """How long the code can be typed, as figure and bar."""
    left = left_of(view, scene.now)
    tone = Tone.OK if left > HURRY_S else Tone.WARN if left else Tone.BAD
    words = _("valid for {time}").format(time=f"{int(left) // 60}:{int(left) % 60:02}") if left else _("expired")
    pen = Pen(scene.glyphs)
    pen.to(max(0, (width - width_of(words) - 26) // 2)).put(words + "  ", tone)
    return pen.spans(bar(left / CODE_S, 24, scene.glyphs, tone)).line(width)


def qr_picture(view: PairingView, scene: Scene, width: int, height: int) -> list[Line]:
    """The QR code by half blocks, always dark on light; or what room it would need."""
    import segno  # only whoever looks at a QR code pays for it

    matrix = segno.make(view.qr or "", error="l", boost_error=False).matrix_iter(border=_QUIET)
    rows = halves([[bool(dark) for dark in row] for row in matrix])
    if len(rows[0]) > width or len(rows) + 3 > height or scene.glyphs.full != "█":
        need = f"{len(rows[0])} × {len(rows) + 8}"
        text = _("Too small for a QR code: the terminal needs {need}. Make the type smaller, or press Q for a code.")
        lines = [centred(part, width, Tone.WARN) for part in wrapped(text.format(need=need), width - 4)]
        return [Line(), centred(_name(view, scene), width, Tone.STRONG), Line(), *lines]
    lines = [centred(row, width, Tone.TEXT, Ground.PAPER) for row in rows]
    title = f"{_name(view, scene)} {scene.glyphs.dot} {_(STEPS_QR)}"
    return [centred(title, width, Tone.STRONG), *lines, countdown(view, scene, width)]


def attempt_line(view: PairingView, cursor: str | None, scene: Scene, width: int) -> Line:
    word, sign, tone = STATES[view.state]
    pen, wide = Pen(scene.glyphs), width >= 100
    pen.put(scene.glyphs.cursor if view.id == cursor else " ", Tone.ACCENT).put(" ")
    pen.put(getattr(scene.glyphs, sign) + " ", tone)
    pen.cell(str(view.position or ""), 3, Tone.DIM).cell(_name(view, scene), 19 if wide else 13, Tone.STRONG)
    pen.put(" ").cell(_(word), 14, tone).put(" ")
    if wide:
        pen.cell(view.phone or _("QR code"), 16, Tone.DIM)
    if view.state.final:
        pen.cell(since(view.ended_at, scene.now), 8, Tone.DIM)
    elif view.state is PairingState.WAITING:
        left = int(left_of(view, scene.now))
        pen.cell(f"{left // 60}:{left % 60:02}", 8, Tone.OK if left > HURRY_S else Tone.WARN)
    else:
        pen.cell(lasting(scene.now - view.created_at), 8, Tone.DIM)
    if view.code:
        pen.put(view.code, Tone.ACCENT)
    elif not view.state.final or view.state is PairingState.LINKED:
        pen.put(" ".join(explanation(view, scene)), Tone.DIM)
    else:
        pen.put(known(view.reason or ""), Tone.DIM)
    return pen.line(width, Ground.CURSOR if view.id == cursor else Ground.PLAIN)
