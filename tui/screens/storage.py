"""What is stored: how full it is and for how long there is room, whose it is, and making room with a look before."""

from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import Sequence
from typing import Final

from appliance.client import ClientError
from appliance.model import Category, SessionView
from appliance.model_storage import PruneReport, PruneRequest, Removal, StorageJob, StorageUsage
from tui.actions import Place
from tui.edit import Editor
from tui.paint import Ground, Line, Pen, Tone, bar, rule, width_of
from tui.port import Api
from tui.scene import Scene
from tui.screens.page import Deed, Page, moved, scrolled
from tui.screens.session_parts import CATEGORIES
from tui.screens.storage_prune import FOLLOW_S, ended, going, progress
from tui.store import Topic
from tui.text import N_, _, ngettext
from tui.words import collation, lasting, moment, size

RELOAD_S: Final = 15.0
FULL: Final = 0.9
"""Of the quota: from here on the gauge warns."""
REMOVALS: Final = 5
_DAY_S: Final = 86_400
ORDERS: Final = ("size", "name", "share")
_REASONS: Final = {
    "expired": N_("older than is kept"),
    "session quota": N_("above the quota of its session"),
    "quota": N_("above the quota"),
    "asked": N_("asked for"),
    "deleted": N_("deleted by somebody"),
    "session removed": N_("its session was removed"),
}
_MODES: Final = {"auto": N_("makes room by itself"), "manual": N_("deletes nothing by itself")}


class StoragePage(Page):
    place = Place.STORAGE
    reload_s = RELOAD_S

    def __init__(self) -> None:
        super().__init__(id="storage")
        self._usage: StorageUsage | None = None
        self._removals: Sequence[Removal] = ()
        self._order, self._reverse = "size", False
        self._cursor: str | None = None
        self._top = 0
        self._room = 10
        self._words = ""
        self._editor: Editor | None = None
        self._rows: list[str] = []
        self._busy = ""
        self._course: StorageJob | None = None
        """The prune that is under way, whoever has begun it."""
        self._mine = ""
        """The one that was begun here, until its end was told."""

    def deeds(self) -> dict[str, Deed]:
        return {
            "sort": self._sort,
            "reverse": self._turn,
            "filter": self._filter,
            "prune": self._prune,
            "stop-prune": self._stop,
        }

    def subject(self) -> str | None:
        """The prune that can be stopped."""
        return self._course.id if self._course is not None else None

    async def live(self, api: Api) -> None:
        """Somebody else's prune, as long as it is under way."""
        while not self._mine and going(job := await api.prune_job()):
            self._course = job
            self.tui.repaint()
            await asyncio.sleep(FOLLOW_S)
        if not self._mine and self._course is not None:
            self._course = None
            self.tui.load(self)

    async def load(self) -> None:
        self._usage = await self.tui.ask(lambda api: api.storage())
        self._removals = await self.tui.ask(lambda api: api.removals(limit=REMOVALS))

    def targets(self) -> list[SessionView]:
        known = self.tui.scene.store.sessions
        return [known[self._cursor]] if self._cursor in known else []

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
            self._cursor = self._rows[index]
        return index is not None

    def paint(self, width: int, height: int) -> list[Line]:
        scene, usage = self.tui.scene, self._usage
        if usage is None:
            return [Line(), Pen().put("    " + _("Reading what is stored …"), Tone.DIM).line(width)]
        self._rows = ranked(usage, scene, self._words, self._order, reverse=self._reverse)
        if self._rows and self._cursor not in self._rows:
            self._cursor = self._rows[0]
        course = None if self._course is None else progress(self._course, scene, width)
        top = [*gauge(usage, scene, width, self._busy, course), *categories(usage, scene, width)]
        below = removal_lines(self._removals, scene, width) if height - len(top) > REMOVALS + 8 else []
        self._room = max(1, height - len(top) - len(below) - 2)
        self._top = scrolled(self._top, self._index(), len(self._rows), self._room)
        lines = [*top, self._rule(width), titles(width, self._order, scene, reverse=self._reverse)]
        shown = self._rows[self._top : self._top + self._room]
        lines += [session_line(name, usage, self._cursor, scene, width) for name in shown]
        return [*lines, *([Line()] * (self._room - len(shown))), *below]

    # ---- what is done here

    def _filter(self) -> None:
        self._editor = Editor(self._words, len(self._words))

    def _sort(self) -> None:
        self._order = ORDERS[(ORDERS.index(self._order) + 1) % len(ORDERS)]

    def _turn(self) -> None:
        self._reverse = not self._reverse

    async def _prune(self) -> None:
        """First it is said what would go; only then it goes."""
        from tui.screens.overlay import Confirm

        self._busy = _("Looking what would go …")
        self.tui.repaint()
        report = await self.tui.change(lambda api: api.prune(PruneRequest(dry_run=True)), "")
        self._busy = ""
        if report is None:
            return
        if not report.objects:
            self.tui.say(_("Nothing would go: everything is young enough, and there is room."), Tone.OK)
            return
        words = ngettext("{count} item goes", "{count} items go", report.objects)
        title = _("{words}: {size}").format(words=words, size=size(report.size))
        question = Confirm(title, preview(report), _names(report, self.tui.scene), _("delete"))
        if not await self.tui.push_screen_wait(question):
            return
        begun = await self.tui.change(lambda api: api.begin_prune(PruneRequest()), "")
        if begun is not None:
            await self._follow(begun)

    async def _follow(self, begun: StorageJob) -> None:
        """Until it ends, whatever screen is looked at meanwhile; over a loss of the connection, too."""
        self._course, self._mine = begun, begun.id
        job: StorageJob | None = begun
        while job is not None and job.id == begun.id and going(job):
            self._course = job
            self.tui.repaint()
            await asyncio.sleep(FOLLOW_S)
            with contextlib.suppress(ClientError):  # the banner says that the appliance is away
                job = await self.tui.ask(lambda api: api.prune_job())
        self._course, self._mine = None, ""
        self.tui.say(*ended(job, begun.id))
        self.tui.hurry(Topic.SESSIONS, Topic.STATUS, Topic.STORAGE)
        self.tui.load(self)

    async def _stop(self) -> None:
        """What has gone is gone; the rest stays."""
        await self.tui.change(
            lambda api: api.stop_prune(), _("The rest stays; what is being deleted just now still goes.")
        )

    # ---- how it looks

    def _index(self) -> int:
        return self._rows.index(self._cursor) if self._cursor in self._rows else 0

    def _rule(self, width: int) -> Line:
        glyphs = self.tui.scene.glyphs
        if self._editor is not None:
            return self._editor.put(Pen(glyphs).put(" / ", Tone.KEY)).line(width)
        return rule(width, glyphs, _("by session") + (f" {glyphs.dot} / {self._words}" if self._words else ""))


def _names(report: PruneReport, scene: Scene) -> list[str]:
    """Whose it is, the most first."""
    order = sorted(report.by_session, key=lambda session: -report.by_session[session])
    return [f"{_name(session, scene)} ({size(report.by_session[session])})" for session in order]


def preview(report: PruneReport) -> str:
    """Why, and what is left."""
    reasons = ", ".join(f"{why(reason)}: {count}" for reason, count in sorted(report.by_reason.items()))
    left = _("What is deleted cannot be brought back. {used} are left.").format(used=size(report.used))
    return f"{reasons}. {left}" if reasons else left


def why(reason: str) -> str:
    """Why something goes, or has gone, for people; what is not known as the appliance calls it."""
    return _(_REASONS[reason]) if reason in _REASONS else reason.replace("_", " ")


def ranked(usage: StorageUsage, scene: Scene, words: str, order: str, *, reverse: bool) -> list[str]:
    """Sessions by name, filtered and in order."""
    wanted = collation(words).split()
    uses = [use for use in usage.sessions if all(word in collation(_name(use.session, scene)) for word in wanted)]
    if order == "name":
        uses.sort(key=lambda use: collation(_name(use.session, scene)), reverse=reverse)
    elif order == "share":
        uses.sort(key=lambda use: -(use.share or 0.0), reverse=reverse)
    else:
        uses.sort(key=lambda use: -use.size, reverse=reverse)
    return [use.session for use in uses]


def _name(session: str, scene: Scene) -> str:
    view = scene.store.sessions.get(session)
    return session if view is None else view.name


def gauge(usage: StorageUsage, scene: Scene, width: int, busy: str, course: Line | None = None) -> list[Line]:
    """How full, how fast it fills, and what happens when it is full; while room is made: how far that is."""
    tone = Tone.BAD if usage.share >= 1 else Tone.WARN if usage.share >= FULL else Tone.BAR
    words = f" {size(usage.used)} / {size(usage.quota)}  {100 * usage.share:.0f} %"
    first = Pen(scene.glyphs).put(" ").spans(bar(usage.share, max(10, width - len(words) - 2), scene.glyphs, tone))
    grows = _("grows {size} a day").format(size=size(round(usage.per_day)))
    left = _("full in {time}").format(time=lasting(usage.days_left * _DAY_S)) if usage.days_left is not None else ""
    mode = _(_MODES.get(usage.prune_mode, usage.prune_mode))
    dot = f" {scene.glyphs.dot} "
    second = Pen(scene.glyphs).put(" ").put(busy or dot.join(filter(None, (grows, left, mode))), Tone.TEXT)
    pinned = dot + _("{size} pinned").format(size=size(usage.pinned))
    if usage.pinned and not busy and second.width + width_of(pinned) < width:
        second.put(pinned, Tone.INFO)
    saved = usage.original_size - usage.used
    if saved > 0 and not busy and width >= 120:
        second.put(dot + _("{size} saved by compression").format(size=size(saved)), Tone.DIM)
    return [first.put(words, Tone.STRONG).line(width), course or second.line(width)]


def categories(usage: StorageUsage, scene: Scene, width: int) -> list[Line]:
    sizes: collections.Counter[str] = collections.Counter()
    items: collections.Counter[str] = collections.Counter()
    for row in usage.rows:
        sizes[row.category] += row.size
        items[row.category] += row.items
    most = max(sizes.values(), default=0)
    lines = []
    for category in Category:
        pen = Pen(scene.glyphs).put(" ").cell(_(CATEGORIES.get(category, category)), 13)
        pen.spans(bar(sizes[category] / most if most else 0.0, max(8, width - 34), scene.glyphs))
        pen.cell(str(items[category]), 8, Tone.DIM, right=True).cell(size(sizes[category]), 10, right=True)
        lines.append(pen.line(width))
    return lines


def titles(width: int, order: str, scene: Scene, *, reverse: bool) -> Line:
    arrow = scene.glyphs.up if reverse else scene.glyphs.down
    pen = Pen(scene.glyphs).put("  ")
    for key, title, room in (("name", N_("name"), 18), ("size", N_("stored"), 18), ("share", N_("of its quota"), 16)):
        pen.cell(_(title) + (arrow if key == order else ""), room, Tone.ACCENT if key == order else Tone.DIM)
    return pen.line(width)


def session_line(session: str, usage: StorageUsage, cursor: str | None, scene: Scene, width: int) -> Line:
    use = next(use for use in usage.sessions if use.session == session)
    pen = Pen(scene.glyphs).put(scene.glyphs.cursor if session == cursor else " ", Tone.ACCENT).put(" ")
    pen.cell(_name(session, scene), 17, Tone.STRONG).put(" ").cell(size(use.size), 8, right=True)
    pen.cell(str(use.items), 8, Tone.DIM, right=True).put("  ")
    if use.share is None:
        pen.put(_("no quota"), Tone.DIM)
    else:
        tone = Tone.BAD if use.share >= 1 else Tone.WARN if use.share >= FULL else Tone.BAR
        pen.spans(bar(use.share, max(8, min(40, width - 46)), scene.glyphs, tone)).put(f" {100 * use.share:.0f} %")
    return pen.line(width, Ground.CURSOR if session == cursor else Ground.PLAIN)


def removal_lines(removals: Sequence[Removal], scene: Scene, width: int) -> list[Line]:
    lines = [rule(width, scene.glyphs, _("last removed"))]
    for item in removals:
        pen = Pen(scene.glyphs).put(" ").cell(moment(item.at, scene.now), 14, Tone.DIM)
        pen.cell(_name(item.session, scene), 16).cell(size(item.size), 9, right=True)
        lines.append(pen.put("  " + why(item.reason), Tone.DIM).line(width))
    return lines if removals else [*lines, Pen().put("  " + _("Nothing has been removed."), Tone.DIM).line(width)]
