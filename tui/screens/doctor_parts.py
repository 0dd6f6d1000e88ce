"""What the doctor has found, the worst first. Pure."""

from __future__ import annotations

from typing import Final

from appliance.model_doctor import DoctorReport, Finding, Severity
from tui.paint import Ground, Line, Pen, Tone, plain, rule, wrapped
from tui.scene import Scene
from tui.text import N_, _, known, ngettext
from tui.words import moment

_SEVERITIES: Final = {
    Severity.OK: (N_("well"), "ok", Tone.OK),
    Severity.INFO: (N_("note"), "dot", Tone.INFO),
    Severity.WARNING: (N_("warning"), "half", Tone.WARN),
    Severity.PROBLEM: (N_("problem"), "bad", Tone.BAD),
}


def ordered(report: DoctorReport) -> list[Finding]:
    """The worst first; those that are equally bad in the order of the checks."""
    return sorted(report.findings, key=lambda finding: -finding.severity.rank)


def doctor_title(report: DoctorReport | None, busy: str, scene: Scene, width: int) -> Line:
    if busy or report is None:
        return rule(width, scene.glyphs, busy or _("doctor"))
    bad = sum(finding.severity in (Severity.PROBLEM, Severity.WARNING) for finding in report.findings)
    needy = ngettext("{count} finding needs somebody", "{count} findings need somebody", bad)
    parts = [_("doctor"), needy if bad else _("all is well"), moment(report.at, scene.now)]
    return rule(width, scene.glyphs, f" {scene.glyphs.dot} ".join(parts))


def finding_line(finding: Finding, scene: Scene, width: int, *, chosen: bool) -> Line:
    word, sign, tone = _SEVERITIES[finding.severity]
    pen = Pen(scene.glyphs).put(scene.glyphs.cursor if chosen else " ", Tone.ACCENT).put(" ")
    pen.put(getattr(scene.glyphs, sign) + " ", tone).cell(_(word), 10, tone)
    pen.cell(finding.check, 14, Tone.STRONG).put(" ").put(known(finding.found or finding.looked_at), Tone.TEXT)
    return pen.line(width, Ground.CURSOR if chosen else Ground.PLAIN)


def finding_whole(finding: Finding, scene: Scene, width: int) -> list[Line]:
    """What was looked at, what was found, what to do."""
    lines = [rule(width, scene.glyphs, finding.check)]
    lines += [plain(f" {part}", width, Tone.DIM) for part in wrapped(known(finding.looked_at), width - 2)]
    lines += [plain(f" {part}", width) for part in wrapped(known(finding.found), width - 2)]
    for number, part in enumerate(wrapped(known(finding.remedy), width - 4)):
        pen = Pen(scene.glyphs).put("   " if number else f" {scene.glyphs.arrow} ", Tone.ACCENT)
        lines.append(pen.put(part, Tone.STRONG).line(width))
    return lines
