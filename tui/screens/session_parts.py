"""The parts of a session's screen, each painted by a function of its own. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from appliance.model import MediaView, SessionView
from appliance.model_history import Disconnection, UptimeSpan, UptimeStrip
from tui.paint import Ground, Line, Pen, Span, Tone, condensed, rule, uptime_strip, width_of, wrapped
from tui.scene import Scene
from tui.text import N_, _, known, ngettext
from tui.words import STATES, age, duration, lasting, moment, percent, reason_word, sign_of, since, size, todo

LABEL: Final = 16
CATEGORIES: Final = {
    "statuses": N_("status"),
    "deleted-messages": N_("deleted"),
    "view-once": N_("view once"),
}


_NOT_AGAIN: Final = frozenset({"never", "fail"})
"""Decisions after which nothing is tried until somebody acts."""


def heading(title: str, scene: Scene, width: int) -> Line:
    return rule(width, scene.glyphs, title)


def nothing(text: str, width: int) -> Line:
    return Pen().put(f"  {text}", Tone.DIM).line(width)


def headline(view: SessionView, scene: Scene, width: int) -> list[Line]:
    """Sign, name, state and how long; below what that means, its particular cause, and what to do."""
    words = STATES[view.state]
    pen = Pen(scene.glyphs).put(f" {sign_of(view.state, scene.glyphs)} ", words.tone).put(view.name, Tone.STRONG)
    if view.phone:
        pen.put(f"  {view.phone}", Tone.DIM)
    pen.put("   ").put(_(words.word), words.tone)
    pen.put("  " + _("for {time}").format(time=age(scene.now - view.since)), Tone.DIM)
    lines = [pen.line(width)]
    told = [known(view.meaning), known(view.detail) if view.detail not in view.meaning else ""]
    if view.next_try_at is not None and view.next_try_at > scene.now:
        told.append(_("The next attempt is in {time}.").format(time=age(view.next_try_at - scene.now)))
    lines += [Pen().put(f"   {text}").line(width) for text in wrapped(" ".join(filter(None, told)), width - 4)]
    done = todo(view, width - 6)
    if done:
        lines.append(Pen().put(f" {scene.glyphs.arrow} ", words.tone).put(done, Tone.STRONG).line(width))
    if view.remedy:
        lines += [Pen().put(f"   {text}", Tone.DIM).line(width) for text in wrapped(known(view.remedy), width - 4)]
    return lines


def facts(view: SessionView, scene: Scene, width: int) -> list[Line]:
    """Figures in two columns, or one."""
    memory = "–" if view.memory_bytes is None else size(view.memory_bytes)
    known = [
        (_("last traffic"), since(view.last_traffic_at, scene.now)),
        (_("lost today"), str(view.disconnections_today)),
        (_("media"), f"{view.media_count} {scene.glyphs.dot} {size(view.media_bytes)}"),
        (_("memory"), memory),
        (_("process"), "–" if view.pid is None else str(view.pid)),
        (_("engine"), view.engine or "–"),
        (_("linked"), ngettext("{count} time", "{count} times", view.generation)),
        (_("created"), moment(view.created_at, scene.now)),
    ]
    columns = 4 if width >= 150 else 2 if width >= 56 else 1
    room = (width - 2) // columns
    lines = []
    for start in range(0, len(known), columns):
        pen = Pen(scene.glyphs).put(" ")
        for label, value in known[start : start + columns]:
            pen.cell(label, min(LABEL, room - 8), Tone.DIM).cell(value, room - min(LABEL, room - 8))
        lines.append(pen.line(width))
    return lines


def timeline(strips: Mapping[UptimeSpan, UptimeStrip], scene: Scene, width: int) -> list[Line]:
    """When it was online: a day, and a month, each with its share."""
    lines = []
    for span, title in ((UptimeSpan.DAY, N_("24 hours")), (UptimeSpan.MONTH, N_("30 days"))):
        strip = strips.get(span)
        room = min(96, width - LABEL - 12)
        pen = Pen(scene.glyphs).put(" ").cell(_(title), LABEL, Tone.DIM)
        pen.spans(uptime_strip(condensed([] if strip is None else strip.values, room), scene.glyphs))
        share = None if strip is None else strip.share
        lines.append(pen.put("  " + ("–" if share is None else percent(share)), Tone.TEXT).line(width))
    return lines


def loss_line(row: Disconnection, scene: Scene, width: int) -> Line:
    """One disconnection: when, why, how long it had been up, and how soon it was back."""
    pen = Pen(scene.glyphs).put(" ").cell(moment(row.at, scene.now), 14, Tone.DIM)
    back: Span
    if row.back_at is not None:
        back = (_("back after {time}").format(time=duration(row.recovery_s)), Tone.OK)
    elif row.decision in _NOT_AGAIN:
        back = (_("not tried again"), Tone.BAD)
    else:
        back = (_("not yet back"), Tone.WARN)
    code = f" ({row.code})" if row.code else ""
    room = width - 15 - 20 if width < 100 else width - 15 - 24 - 24
    text = known(row.text).rstrip(".") + code
    pen.cell(text if width_of(text) < room else reason_word(row.reason) + code, room).put(" ")
    if width < 100:
        return pen.spans([back]).line(width)
    up = "" if row.uptime_s is None else _("after {time} online").format(time=lasting(row.uptime_s))
    return pen.cell(up, 23, Tone.DIM).spans([back]).line(width)


def media_line(item: MediaView, scene: Scene, width: int, *, chosen: bool) -> Line:
    pen = Pen(scene.glyphs).put(scene.glyphs.cursor if chosen else " ", Tone.ACCENT)
    pen.put(scene.glyphs.mark if item.pinned else " ", Tone.ACCENT).cell(
        moment(item.stored_at, scene.now), 14, Tone.DIM
    )
    pen.cell(_(CATEGORIES.get(item.category, item.category)), 11).cell(item.kind.replace("_", " "), 11, Tone.INFO)
    pen.cell(size(item.size), 9, right=True).put("  ")
    if width >= 100:
        pen.cell(item.sender, 22, Tone.DIM)
    pen.put(item.caption or item.id, Tone.DIM)
    return pen.line(width, Ground.CURSOR if chosen else Ground.PLAIN)


def caption(item: MediaView, scene: Scene) -> str:
    """What a picture is, in a line."""
    category = _(CATEGORIES.get(item.category, item.category))
    return f" {category} {scene.glyphs.dot} {moment(item.stored_at, scene.now)} {scene.glyphs.dot} {size(item.size)}"
