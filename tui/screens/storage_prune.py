"""Making room on its way: how much is to go, how much has gone, and what is said at the end."""

from __future__ import annotations

from typing import Final

from appliance.model_storage import JobState, PruneReport, StorageJob
from tui.paint import Line, Pen, Tone, bar, width_of
from tui.scene import Scene
from tui.text import _, known
from tui.words import size

FOLLOW_S: Final = 0.5
"""How often it is asked how far it is."""
_LEAST_BAR: Final = 8
_ITEMS_FROM: Final = 72
"""From here on there is room for the number of items, too."""


def going(job: StorageJob | None) -> bool:
    return job is not None and job.state is JobState.RUNNING


def progress(job: StorageJob, scene: Scene, width: int) -> Line:
    """One line with a bar: bytes and items, those that have gone of those that were chosen; and the key that stops it,
    which the footer has no room for the rest of the time."""
    pen = Pen(scene.glyphs).put(" ").put(_("Making room") + " ", Tone.ACCENT)
    share = job.size_done / job.size_total if job.size_total else 0.0
    words = " " + _("{done} of {total}").format(done=size(job.size_done), total=size(job.size_total))
    if width >= _ITEMS_FROM:
        words += f" {scene.glyphs.dot} " + _("{done} of {total} items").format(done=job.done, total=job.total)
    key, stops = "  c ", _("stop it")
    room = width - pen.width - width_of(words + key + stops) - 1
    pen.spans(bar(share, max(_LEAST_BAR, room), scene.glyphs, Tone.WARN)).put(words, Tone.TEXT)
    return pen.put(key, Tone.OFF if scene.read_only else Tone.KEY).put(stops).line(width)


def ended(job: StorageJob | None, begun: str) -> tuple[str, Tone]:
    """What has become of the prune of that id."""
    if job is None or job.id != begun:
        return _("The appliance was started anew meanwhile: what was still to go has stayed."), Tone.WARN
    if job.prune is None:
        return known(job.error), Tone.BAD
    return outcome(job.prune)


def outcome(report: PruneReport) -> tuple[str, Tone]:
    words = _("Deleted: {size}; {used} are left.").format(size=size(report.size), used=size(report.used))
    if report.stopped:
        return f"{words} " + _("Stopped: the rest stays."), Tone.WARN
    return words, Tone.OK
