"""The report of `amda rehearse live`: what can be sent to us, without a name, a number, a message or a secret in it.

English, whoever made it, because it is read by others than its maker.
"""

from __future__ import annotations

import datetime
import enum
import os
import platform
from pathlib import Path
from typing import Final

import msgspec

from appliance.masking import clean_text

HEAD: Final = "AMDA: rehearsal with one real number"
PROMISE: Final = (
    "This report holds no name, no message, no secret, and of the number only its first five and last two digits."
)
_MIB: Final = 1 << 20


class Outcome(enum.StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    LEFT_OUT = "left_out"
    """After a step without which it makes no sense."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was tried. `figures` are seconds, bytes and counts; `seen`: what the operator said to a question
    (None: was not asked, or did not answer)."""

    name: str
    outcome: Outcome
    seconds: float
    figures: dict[str, float] = {}
    note: str = ""
    seen: bool | None = None


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the session, `at` seconds after the beginning."""

    at: float
    what: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    release: str
    engine: str
    network: str
    """`whatsapp`, or `staging` for one of our own: then it proves less."""
    machine: str
    began_at: float
    seconds: float
    phone: str
    """Masked."""
    method: str
    steps: list[Step]
    happenings: list[Happening]
    degraded: list[str]
    cleaned_up: bool
    """The device is unlinked, and nothing of the session is left."""

    @property
    def passed(self) -> bool:
        good = all(step.outcome is Outcome.PASSED and step.seen is not False for step in self.steps)
        return good and bool(self.steps) and self.cleaned_up


def machine() -> str:
    """This machine in one line."""
    try:
        system = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        system = "Linux"
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _MIB
    return (
        f"{system}, Linux {platform.release()}, {platform.machine()}, Python {platform.python_version()}, "
        f"{os.cpu_count()} processors, {memory} MiB"
    )


def cleaned(report: Report, digits: str) -> Report:
    """The report with everything masked that could be a number, and the number itself wherever it still stands."""

    def clean(text: str) -> str:
        text = clean_text(text)
        return text.replace(digits, "···") if digits else text

    steps = [msgspec.structs.replace(step, note=clean(step.note)) for step in report.steps]
    happenings = [msgspec.structs.replace(one, what=clean(one.what)) for one in report.happenings]
    degraded = [clean(part) for part in report.degraded]
    return msgspec.structs.replace(report, steps=steps, happenings=happenings, degraded=degraded)


def as_text(report: Report) -> str:
    """For people; everything that the JSON has."""
    began = datetime.datetime.fromtimestamp(report.began_at, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines = [
        HEAD,
        "",
        f"verdict    {'passed' if report.passed else 'NOT passed'}, {report.seconds:.0f} s",
        f"release    {report.release}, engine {report.engine or 'unknown'}",
        f"network    {report.network}",
        f"machine    {report.machine}",
        f"began      {began}",
        f"number     {report.phone or 'unknown'}, by {report.method}",
        f"cleaned up {'yes' if report.cleaned_up else 'NO'}",
    ]
    lines += [f"degraded   {part}" for part in report.degraded]
    lines += ["", "steps"]
    for number, step in enumerate(report.steps, 1):
        figures = "  ".join(f"{name}={value:g}" for name, value in step.figures.items())
        lines.append(f"  {number}. {step.name:<8} {step.outcome.value:<11} {step.seconds:>6.1f} s  {figures}".rstrip())
        if step.seen is not None:
            lines.append(f"     seen on the phone: {'yes' if step.seen else 'no'}")
        if step.note:
            lines.append(f"     {step.note}")
    lines += ["", "what happened (seconds since the beginning)"]
    lines += [f"  {one.at:>7.1f}  {one.what}" for one in report.happenings]
    return "\n".join([*lines, "", PROMISE, ""])


def write(report: Report, path: Path) -> None:
    """As JSON if the name says so. A file that is there is not overwritten. Raises OSError."""
    as_json = msgspec.json.format(msgspec.json.encode(report)).decode() + "\n"
    content = as_json if path.suffix == ".json" else as_text(report)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(content)
