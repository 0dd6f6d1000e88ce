"""The parts of the system's screen, each painted by a function of its own. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from appliance.model_system import MemoryKind, PartUse, SystemView
from tui.paint import Line, Pen, Tone, bar, plain, width_of
from tui.scene import Scene
from tui.text import N_, _, known, ngettext, number
from tui.words import age, lasting, size

LABEL: Final = 18
SCARCE: Final = 0.9
"""Of memory or disk: from here on a bar warns."""
PARTS: Final = {
    "daemon": N_("daemon"),
    "forkserver": N_("fork server"),
    "workers": N_("sessions"),
    "redis": N_("Redis"),
    "minio": N_("MinIO"),
    "proxy": N_("TLS proxy"),
}
_MEASURES: Final = {MemoryKind.PSS: "", MemoryKind.RSS: N_("with shared"), MemoryKind.GROUP: N_("with its cache")}


def machine_lines(view: SystemView, scene: Scene, width: int) -> list[Line]:
    """Memory and disk as bars; load, swap and how long it has been up."""
    machine, glyphs = view.machine, scene.glyphs
    used = machine.memory_bytes - machine.memory_available_bytes
    filled = machine.disk_bytes - machine.disk_free_bytes
    lines = [
        _bar_line(_("memory"), used, machine.memory_bytes, scene, width),
        _bar_line(_("disk"), filled, machine.disk_bytes, scene, width),
    ]
    dot = f" {glyphs.dot} "
    cores = ngettext("{count} core", "{count} cores", machine.cores)
    parts = [_("load {load}").format(load=number(machine.load, 2)) + ", " + cores]
    if machine.swap_bytes:
        parts.append(_("swap {used} of {all}").format(used=size(machine.swap_used_bytes), all=size(machine.swap_bytes)))
    parts.append(_("machine up {time}").format(time=age(scene.now - machine.started_at)))
    parts.append(_("daemon up {time}").format(time=age(scene.now - view.started_at)))
    parts.append(_("release {release}").format(release=view.release))
    return [*lines, _joined(parts, dot, width)]


def _joined(parts: Sequence[str], dot: str, width: int) -> Line:
    """As many as there is room for."""
    text = ""
    for part in parts:
        longer = f"{text}{dot}{part}" if text else part
        if width_of(longer) > width - 2:
            break
        text = longer
    return plain(f" {text}", width, Tone.DIM)


def _bar_line(label: str, used: int, whole: int, scene: Scene, width: int) -> Line:
    share = used / whole if whole else 0.0
    words = f" {size(used)} / {size(whole)}  {100 * share:.0f} %"
    pen = Pen(scene.glyphs).put(" ").cell(label, LABEL, Tone.DIM)
    tone = Tone.WARN if share >= SCARCE else Tone.BAR
    return pen.spans(bar(share, max(8, width - LABEL - width_of(words) - 2), scene.glyphs, tone)).put(words).line(width)


def part_lines(view: SystemView, cpu: Mapping[str, float], scene: Scene, width: int) -> list[Line]:
    """A row for each part. `cpu`: share of a core since the last look, by part."""
    wide = width >= 76
    pen = Pen(scene.glyphs).put(" ").cell(_("part"), LABEL, Tone.DIM).cell(_("processes"), 11, Tone.DIM, right=True)
    pen.cell(_("memory"), 10, Tone.DIM, right=True).cell(_("CPU"), 9, Tone.DIM, right=True)
    lines = [pen.line(width)]
    most = max((part.memory_bytes or 0 for part in view.parts), default=0)
    room = max(0, min(40, width - 80))
    for part in view.parts:
        pen = Pen(scene.glyphs).put(" ").cell(_(PARTS.get(part.name, part.name)), LABEL, Tone.STRONG)
        here = bool(part.processes)
        pen.cell(str(part.processes) if here else _("away"), 11, Tone.TEXT if here else Tone.WARN, right=True)
        pen.cell(_memory(part), 10, right=True).cell(_cpu(cpu.get(part.name)), 9, right=True)
        if wide:
            if room >= 8:
                share = (part.memory_bytes or 0) / most if most else 0.0
                pen.put("  ").spans(bar(share, room, scene.glyphs))
            pen.put("  " + _note(part, scene), Tone.DIM)
        lines.append(pen.line(width))
    known = [part.memory_bytes for part in view.parts if part.memory_bytes is not None]
    pen = Pen(scene.glyphs).put(" ").cell(_("together"), LABEL, Tone.DIM)
    pen.cell(str(sum(part.processes for part in view.parts)), 11, right=True).cell(size(sum(known)), 10, right=True)
    pen.cell(_cpu(sum(cpu.values()) if cpu else None), 9, right=True)
    return [*lines, pen.line(width)]


def _memory(part: PartUse) -> str:
    return "–" if part.memory_bytes is None else size(part.memory_bytes)


def _cpu(share: float | None) -> str:
    return "–" if share is None else f"{number(100 * share, 1)} %"


def _note(part: PartUse, scene: Scene) -> str:
    """What else is known: the largest of several, since when, how it was measured."""
    parts = []
    if part.largest_bytes is not None:
        parts.append(_("largest {size}").format(size=size(part.largest_bytes)))
    if part.started_at is not None:
        parts.append(_("up {time}").format(time=age(scene.now - part.started_at)))
    if measure := _MEASURES[part.memory_kind]:
        parts.append(_(measure))
    return f" {scene.glyphs.dot} ".join(parts)


def service_lines(view: SystemView, scene: Scene, width: int) -> list[Line]:
    """Redis, the store, the spools, the engine: well or not, and their figures."""
    return [
        _service(_("Redis"), view.redis.trouble, _redis_words(view), scene, width, warn=not view.redis.durable),
        _service(_("media store"), view.store.trouble, _store_words(view), scene, width),
        _service(_("spools"), "", _spool_words(view, scene), scene, width, warn=bool(view.spool.set_aside)),
        _service(_("engine"), "", _engine_words(view, scene), scene, width, warn=not view.engines),
    ]


def _service(label: str, trouble: str, words: str, scene: Scene, width: int, *, warn: bool = False) -> Line:
    sign, tone = ("bad", Tone.BAD) if trouble else ("half", Tone.WARN) if warn else ("ok", Tone.OK)
    pen = Pen(scene.glyphs).put(" ").put(getattr(scene.glyphs, sign) + " ", tone).cell(label, LABEL - 2, Tone.DIM)
    return pen.put(known(trouble) or words, tone if trouble else Tone.TEXT).line(width)


def _redis_words(view: SystemView) -> str:
    redis = view.redis
    kept = _("writes down everything") if redis.durable else _("does not write down what it is told")
    answers = _("answers in {time} ms").format(time=number(1000 * (redis.answer_s or 0), 1))
    return f"{redis.version}, {answers}, {size(redis.memory_bytes)}, {kept}"


def _store_words(view: SystemView) -> str:
    store = view.store
    return f"{store.kind} {store.place}, {size(store.used_bytes)} / {size(store.quota_bytes)}"


def _spool_words(view: SystemView, scene: Scene) -> str:
    spool = view.spool
    if spool.items:
        words = ngettext("{count} item waits", "{count} items wait", spool.items)
        words += f", {size(spool.size)}, " + _("the oldest for {time}").format(time=lasting(spool.oldest_s))
    else:
        words = _("empty: everything is stored")
    if spool.set_aside:
        aside = ngettext("{count} item set aside", "{count} items set aside", spool.set_aside)
        words += f" {scene.glyphs.dot} {aside}: amda media waiting"
    return words


def _engine_words(view: SystemView, scene: Scene) -> str:
    dot = f" {scene.glyphs.dot} "
    parts = []
    for engine in view.engines:
        count = ngettext("{count} session", "{count} sessions", engine.sessions)
        parts.append(f"neonize {engine.version}, {count}")
    if view.whatsapp:
        parts.append(_("WhatsApp {version}").format(version=view.whatsapp))
    return dot.join(parts) if parts else _("no session runs")


def shares(before: SystemView | None, now: SystemView) -> dict[str, float]:
    """Share of a core that each part has used between two answers; empty without two."""
    if before is None or now.at <= before.at:
        return {}
    old = {part.name: part.cpu_s for part in before.parts}
    found = {}
    for part in now.parts:
        was = old.get(part.name)
        if part.cpu_s is not None and was is not None:
            found[part.name] = max(0.0, part.cpu_s - was) / (now.at - before.at)
    return found
