"""The two lines at the top: is everything all right, and where am I?"""

from __future__ import annotations

from typing import Final

from tui.actions import Place
from tui.paint import Ground, Line, Pen, Span, Tone, bar, rule, spark, wrapped
from tui.scene import Scene
from tui.store import Link
from tui.text import N_, _, ngettext
from tui.widgets.canvas import Canvas
from tui.words import age, clock, needs_person, size

TABS: Final = (
    (Place.SESSIONS, N_("Sessions")),
    (Place.PAIRING, N_("Pairing")),
    (Place.STORAGE, N_("Storage")),
    (Place.HISTORY, N_("History")),
    (Place.ALERTS, N_("Alerts")),
    (Place.LOG, N_("Log")),
    (Place.SYSTEM, N_("System")),
)
WIDE: Final = 100
"""From here on there is room for words beside the figures."""
FULL: Final = 130
TINY: Final = 72
_GAUGE: Final = 10


class Header(Canvas):
    DEFAULT_CSS = "Header { dock: top; height: 3; }"

    def paint(self, width: int, height: int) -> list[Line]:
        scene = self.tui.scene
        return [facts(scene, width), tabs(scene, self.tui.place, width), rule(width, scene.glyphs)][:height]


def facts(scene: Scene, width: int) -> Line:
    """Left: how many are online and who needs somebody. Right: today's disconnections, storage."""
    store, pen = scene.store, Pen(scene.glyphs)
    pen.put(" AMDA ", Tone.ACCENT)
    if scene.read_only:
        pen.put(" " + _("read only"), Tone.WARN)
    if store.status is not None and width >= WIDE:
        pen.put(f" {store.status.node_id[:18]} ", Tone.DIM)
    pen.put("  ")
    count, online = len(store.sessions), store.online
    tone = Tone.OK if online == count else Tone.WARN
    if width >= WIDE:
        pen.put(_("{online} of {count} online").format(online=online, count=count), tone)
    else:
        pen.put(f"{online}/{count} {scene.glyphs.ok}", tone)
    needy = sum(map(needs_person, store.sessions.values()))
    if needy:
        words = ngettext("{count} needs you", "{count} need you", needy)
        pen.put(f" {scene.glyphs.dot} " if width >= WIDE else "  ", Tone.DIM).put(words, Tone.BAD)
    right = _right(scene, width)
    room = width - 1 - sum(len(text) for text, _ in right)
    if room > pen.width:
        pen.to(room).spans(right)
    return pen.line(width, Ground.RAISED)


def _right(scene: Scene, width: int) -> list[Span]:
    store = scene.store
    lost = store.disconnections_today
    tone = Tone.TEXT if lost else Tone.DIM
    if width >= WIDE:
        words = ngettext("{count} disconnection today", "{count} disconnections today", lost)
    else:
        words = _("{count} disc.").format(count=lost)
    spans: list[Span] = [(words, tone)] if width >= TINY else []
    if store.hours and width >= FULL:
        spans += [(" ", Tone.TEXT), (spark(store.hours, scene.glyphs), Tone.INFO)]
    if store.status is not None:
        if width >= WIDE:
            spans += [("   ", Tone.TEXT), (_("storage") + " ", Tone.DIM)]
        spans.append(("  " if width < WIDE else "", Tone.TEXT))
        spans += _storage(scene, width)
    return spans


def _storage(scene: Scene, width: int) -> list[Span]:
    status = scene.store.status
    if status is None:
        return []
    usage = scene.store.storage
    if usage is None or not usage.quota:
        return [(size(status.media_bytes), Tone.TEXT)]
    share = usage.share
    tone = Tone.BAD if share >= 1 else Tone.WARN if share >= 0.9 else Tone.BAR
    words = f" {size(usage.used)} / {size(usage.quota)}" if width >= FULL else f" {100 * share:.0f} %"
    return [*bar(share, _GAUGE, scene.glyphs, tone), (words, Tone.TEXT)]


def tabs(scene: Scene, place: Place, width: int) -> Line:
    """The screens with their numbers; the present one is lifted out, and is the last to keep its name."""
    shown = Place.SESSIONS if place is Place.SESSION else place
    alerts = f" {scene.store.open_alerts}" if scene.store.open_alerts else ""
    for room, named in ((2, True), (1, True), (0, True), (1, False)):
        pen = Pen(scene.glyphs)
        for number, (tab, label) in enumerate(TABS, start=1):
            name = _(label) if named or tab is shown else ""
            ground = Ground.TAB if tab is shown else None
            pen.put(" " if room > 1 else "").put(" " * min(room, 1) + str(number), Tone.KEY, ground)
            pen.put(f" {name}" if name else "", Tone.STRONG if tab is shown else Tone.TEXT, ground)
            pen.put(alerts if tab is Place.ALERTS else "", Tone.BAD, ground)
            pen.put(" ", Tone.TEXT, ground)
        if pen.width <= width:
            break
    return pen.line(width, Ground.RAISED)


class Banner(Canvas):
    """There only while what is shown is not the present."""

    DEFAULT_CSS = "Banner { height: 1; display: none; }"

    def paint(self, width: int, height: int) -> list[Line]:
        lines = banner(self.tui.scene, width)
        self.take(len(lines))
        return lines[:height]

    def repaint(self) -> None:
        scene = self.tui.scene
        self.display = scene.paused or scene.store.link is not Link.LIVE
        super().repaint()


def banner(scene: Scene, width: int) -> list[Line]:
    """What is wrong with the picture, and how old it is."""
    words, tone, ground = _trouble(scene)
    return [Pen(scene.glyphs).put(f" {row}", tone).line(width, ground) for row in wrapped(words, width - 2)]


def _trouble(scene: Scene) -> tuple[str, Tone, Ground]:
    store, old = scene.store, scene.store.age(scene.now)
    if scene.paused:
        words = _("Paused: the picture is from {at}. z goes on.").format(at=clock(scene.now))
        return words, Tone.WARN, Ground.RAISED
    if store.link is Link.CONNECTING:
        return _("Asking the appliance …"), Tone.INFO, Ground.RAISED
    if old is None:
        words = store.note or _("The appliance does not answer.")
    else:
        words = _("The appliance does not answer: this is {age} old. Sessions go on; trying again.").format(
            age=age(old) if old >= 5 else _("a moment")
        )
    return f"{scene.glyphs.bad} {words}", Tone.STRONG, Ground.ALARM
