"""What is alarming, what was, and what to do about each; acknowledge it, or have silence for a while."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from appliance.model import SessionView
from appliance.model_history import AlertPhase, AlertSeverity, AlertView, SilenceView
from tui.actions import Place
from tui.edit import Editor
from tui.paint import Ground, Line, Pen, Tone, rule, wrapped
from tui.scene import Scene
from tui.screens.page import Deed, Page, moved, scrolled
from tui.store import Topic
from tui.text import N_, _, known
from tui.words import age, collation, lasting

RELOAD_S: Final = 15.0
SILENCE_S: Final = 3600.0
_PHASES: Final = {
    AlertPhase.PENDING: (N_("pending"), "half", Tone.WARN),
    AlertPhase.DOWN: (N_("alarming"), "bad", Tone.BAD),
    AlertPhase.UP: (N_("over"), "ok", Tone.OK),
}
_SEVERITIES: Final = {
    AlertSeverity.WARNING: N_("warning"),
    AlertSeverity.ALERT: N_("alert"),
    AlertSeverity.PAGE: N_("page"),
}


class AlertsPage(Page):
    place = Place.ALERTS
    reload_s = RELOAD_S

    def __init__(self) -> None:
        super().__init__(id="alerts")
        self._cursor: str | None = None
        self._top = 0
        self._room = 10
        self._words = ""
        self._editor: Editor | None = None
        self._rows: list[AlertView] = []
        self._silences: Sequence[SilenceView] = ()

    def deeds(self) -> dict[str, Deed]:
        return {"filter": self._filter, "acknowledge": self._acknowledge, "silence": self._silence}

    async def load(self) -> None:
        self._silences = await self.tui.ask(lambda api: api.silences())
        self.tui.hurry(Topic.ALERTS)

    def targets(self) -> list[SessionView]:
        known, chosen = self.tui.scene.store.sessions, self._chosen()
        return [known[chosen.session]] if chosen is not None and chosen.session in known else []

    def subject(self) -> str | None:
        chosen = self._chosen()
        return None if chosen is None else chosen.id

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
        index = moved(key, self._index(), len(self._rows), self._room)
        if index is not None and self._rows:
            self._cursor = self._rows[index].id
        return index is not None

    def paint(self, width: int, height: int) -> list[Line]:
        scene = self.tui.scene
        wanted = collation(self._words).split()
        self._rows = [one for one in scene.store.alerts if _matches(one, wanted, scene)]
        chosen = self._chosen()
        below = explanation(chosen, scene, width) if chosen is not None else []
        self._room = max(1, height - len(below) - 1)
        self._top = scrolled(self._top, self._index(), len(self._rows), self._room)
        lines = [self._title(width)]
        cursor = None if chosen is None else chosen.id
        shown = self._rows[self._top : self._top + self._room]
        lines += [alert_line(alert, cursor, scene, width) for alert in shown]
        if not self._rows:
            lines += [Line(), Pen().put("    " + _("Nothing is alarming."), Tone.OK).line(width)]
        return [*lines, *([Line()] * (self._room - len(shown))), *below]

    # ---- what is done here

    def _filter(self) -> None:
        self._editor = Editor(self._words, len(self._words))

    async def _acknowledge(self) -> None:
        chosen = self._chosen()
        if chosen is not None:
            done = _("Acknowledged: nobody is told again.")
            await self.tui.change(lambda api: api.acknowledge_alert(chosen.id), done)
            self.tui.hurry(Topic.ALERTS)

    async def _silence(self) -> None:
        chosen = self._chosen()
        if chosen is not None:
            text = _("Silent for {time}: {rule}").format(time=lasting(SILENCE_S), rule=_rule(chosen))
            call = lambda api: api.silence(SILENCE_S, rule=chosen.rule, session=chosen.session)  # noqa: E731
            await self.tui.change(call, text)
            self.tui.load(self)

    # ---- how it looks

    def _chosen(self) -> AlertView | None:
        rows = self._rows
        return next((alert for alert in rows if alert.id == self._cursor), rows[0] if rows else None)

    def _index(self) -> int:
        return next((index for index, alert in enumerate(self._rows) if alert.id == self._cursor), 0)

    def _title(self, width: int) -> Line:
        glyphs = self.tui.scene.glyphs
        if self._editor is not None:
            return self._editor.put(Pen(glyphs).put(" / ", Tone.KEY)).line(width)
        title = _("{count} open").format(count=sum(alert.phase is not AlertPhase.UP for alert in self._rows))
        if self._silences:
            title += f" {glyphs.dot} " + _("{count} silences").format(count=len(self._silences))
        return rule(width, glyphs, title + (f" {glyphs.dot} / {self._words}" if self._words else ""))


def _matches(alert: AlertView, wanted: Sequence[str], scene: Scene) -> bool:
    text = collation(f"{_text(alert, scene)} {_rule(alert)} {alert.session or ''}")
    return all(word in text for word in wanted)


def _rule(alert: AlertView) -> str:
    return known(alert.rule.value.replace("_", " "))


def _text(alert: AlertView, scene: Scene) -> str:
    """What is alarming, and whose it is."""
    session = scene.store.sessions.get(alert.session or "")
    name = alert.session if session is None else session.name
    return _("{name}: {text}").format(name=name, text=known(alert.text)) if name else known(alert.text)


def alert_line(alert: AlertView, cursor: str | None, scene: Scene, width: int) -> Line:
    word, sign, tone = _PHASES[alert.phase]
    pen = Pen(scene.glyphs).put(scene.glyphs.cursor if alert.id == cursor else " ", Tone.ACCENT).put(" ")
    pen.put(getattr(scene.glyphs, sign) + " ", tone).cell(_(word), 10, tone)
    if width >= 76:
        pen.cell(_(_SEVERITIES[alert.severity]), 9, Tone.DIM)
    pen.cell(age(scene.now - alert.since), 8, Tone.DIM)
    if alert.acknowledged_by:
        pen.put(scene.glyphs.mark + " ", Tone.ACCENT)
    return pen.put(_text(alert, scene)).line(width, Ground.CURSOR if alert.id == cursor else Ground.PLAIN)


def explanation(alert: AlertView, scene: Scene, width: int) -> list[Line]:
    """The whole text of the one under the cursor, and what to do."""
    lines = [rule(width, scene.glyphs, _rule(alert))]
    lines += [Pen().put(f" {text}").line(width) for text in wrapped(_text(alert, scene), width - 2)]
    lines += [
        Pen().put(f" {scene.glyphs.arrow} " if not number else "   ", Tone.ACCENT).put(text, Tone.STRONG).line(width)
        for number, text in enumerate(wrapped(known(alert.remedy), width - 4))
    ]
    notes = []
    if alert.acknowledged_by:
        notes.append(_("acknowledged by {who}").format(who=alert.acknowledged_by))
    if alert.silenced_until is not None and alert.silenced_until > scene.now:
        notes.append(_("silent for {time}").format(time=lasting(alert.silenced_until - scene.now)))
    return lines + [Pen().put(f" {note}", Tone.DIM).line(width) for note in notes]
