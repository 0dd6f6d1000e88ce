"""`amda doctor`: looks at what it can see itself, and asks the daemon for the rest."""

from __future__ import annotations

import contextlib
import enum
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from appliance.cli.common import CommandError, ConfigOption, JsonOption, loaded_settings, print_json, run_async
from appliance.language import N_, _, known, ngettext

if TYPE_CHECKING:
    from appliance.doctor.check import Check, Patient
    from appliance.model_doctor import DoctorReport, Finding, Severity

_EPILOG: Final = (
    "Exit status, as monitoring programs know it: 0 well, 1 a warning, 2 a problem, 3 no such check."
    " What this user may not see is said, and is no fault; as root nothing is hidden."
)


class DoctorExit(enum.IntEnum):
    """As the plugins of Nagios and its descendants."""

    WELL = 0
    WARNING = 1
    PROBLEM = 2
    UNKNOWN = 3


def register(app: typer.Typer) -> None:
    app.command(epilog=_EPILOG)(doctor)


def doctor(
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="CHECK", help="Only this check; may be given several times.")
    ] = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Put right what is safe to: file modes, what dead processes left behind.")
    ] = False,
    list_checks: Annotated[bool, typer.Option("--list", help="List the checks and end.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only what is not well.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look for what is wrong with the appliance and its machine, and say what to do about it.

    It works with the daemon running or not, as root and as a member of the group amda.
    """
    from appliance.doctor import daemon_seen
    from appliance.doctor.checks import MACHINE, ROOMS
    from appliance.doctor.checks import names as all_names

    names = [daemon_seen.NAME, *all_names()]
    if list_checks:
        texts = {daemon_seen.NAME: daemon_seen.LOOKS_AT, **ROOMS, **{check.name: check.looks_at for check in MACHINE}}
        if as_json:
            print_json([{"check": name, "looks_at": texts[name]} for name in names])
        else:
            print("\n".join(f"{name.ljust(_widest(names))}  {known(texts[name])}" for name in names))
        return
    for name in only or ():
        if name not in names:
            status = DoctorExit.UNKNOWN
            raise CommandError(
                _("There is no check {name}.").format(name=name),
                _("One of: {names}").format(names=", ".join(names)),
                status,
            )
    report = run_async(_examine(config, only or [], fix=fix, tell=_progress(len(only or names), quiet=as_json)))
    if as_json:
        print_json(report)
    else:
        _print(report, quiet=quiet)
    raise typer.Exit(exit_of(report.worst))


def exit_of(worst: Severity) -> DoctorExit:
    from appliance.model_doctor import Severity

    if worst is Severity.PROBLEM:
        return DoctorExit.PROBLEM
    return DoctorExit.WARNING if worst is Severity.WARNING else DoctorExit.WELL


async def _examine(
    config: Path | None, only: Sequence[str], *, fix: bool, tell: Callable[[Check], None]
) -> DoctorReport:
    from appliance.doctor import daemon_seen
    from appliance.doctor.checks import MACHINE, ROOMS, chosen, names
    from appliance.doctor.examination import examine, report_of

    began = time.monotonic()
    patient = patient_of(config)
    checks = [check for check in chosen(MACHINE, only) if not patient.broken or not check.needs_settings]
    found = await examine(checks, patient, fix=fix, tell=tell)
    asked = [name for name in names() if not only or name in only]
    made = {check.name for check in checks}
    lacking = {name for name in asked if name not in made} | {one.check for one in found if one.partial}
    told = not only or daemon_seen.NAME in only or not lacking.isdisjoint(ROOMS)
    theirs = await _ask(patient, [name for name in asked if name in lacking], told=told) if told or lacking else []
    return report_of(merged([daemon_seen.NAME, *names()], found, theirs), began)


def patient_of(config: Path | None) -> Patient:
    """With settings that cannot be used, as much as can be known without: where the daemon's socket is."""
    import msgspec

    from appliance.config import parse_settings
    from appliance.doctor.check import Patient
    from appliance.places import PlaceError, api_socket, default_config_path

    try:
        return Patient(loaded_settings(config))
    except CommandError as error:
        file = config or default_config_path()
        loaded = parse_settings(None, file.absolute(), {"HOME": os.environ.get("HOME", "/")})
        with contextlib.suppress(PlaceError):
            paths = msgspec.structs.replace(loaded.settings.paths, run_dir=api_socket(config).parent)
            loaded = msgspec.structs.replace(loaded, settings=msgspec.structs.replace(loaded.settings, paths=paths))
        return Patient(loaded, broken=str(error))


async def _ask(patient: Patient, names: Sequence[str], *, told: bool) -> list[Finding]:
    """What the daemon finds, after a finding about itself if that is to be `told`."""
    from appliance.client import ApiError, ApplianceClient, ClientError, NotRunningError
    from appliance.doctor import daemon_seen
    from appliance.doctor.check import problem

    socket = patient.settings.paths.api_socket
    theirs: list[Finding] = []
    try:
        async with ApplianceClient(socket) as client:
            seen = daemon_seen.answers((await client.version()).release)
            if names:
                theirs = (await client.doctor(names)).findings
    except NotRunningError as error:
        forbidden = isinstance(error.__cause__, PermissionError)
        user = os.environ.get("USER", "NAME")
        seen = daemon_seen.forbidden(socket, user) if forbidden else daemon_seen.away(socket)
    except ApiError as error:
        seen = daemon_seen.of_before(str(error))
    except ClientError as error:
        seen = problem(str(error), error.remedy)
    return [daemon_seen.finding(seen), *theirs] if told else theirs


def merged(names: Sequence[str], ours: Iterable[Finding], theirs: Iterable[Finding]) -> list[Finding]:
    """Each check by whom could see more of it, ours if that is the same; what was put right is told in any case."""
    result: list[Finding] = []
    ours, theirs = list(ours), list(theirs)
    for name in names:
        mine = [one for one in ours if one.check == name]
        other = [one for one in theirs if one.check == name]
        hidden = sum(one.partial for one in mine)
        if other and (not mine or sum(one.partial for one in other) < hidden):
            result += [one for one in mine if one.fixed] + other
        else:
            result += mine
    return result


def _progress(number: int, *, quiet: bool) -> Callable[[Check], None]:
    """On a terminal, how far it is; the line goes when it is done."""
    if quiet or not sys.stderr.isatty():
        return lambda _: None
    done = 0

    def tell(check: Check) -> None:
        nonlocal done
        done += 1
        print(f"\r\x1b[K{done} of {number}: {check.name}", end="", file=sys.stderr, flush=True)

    return tell


def _print(report: DoctorReport, *, quiet: bool) -> None:
    from appliance.model_doctor import Severity

    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    words = {severity: _(word) for severity, word in _WORDS.items()}
    first = _widest([*words.values(), _("fixed")])
    second = _widest([one.check for one in report.findings])
    indent = " " * (first + second + 4)
    for one in report.findings:
        if quiet and one.severity.rank < Severity.WARNING.rank and not one.fixed:
            continue
        word = _("fixed") if one.fixed else words[one.severity]
        text = _("{looked_at}: {found}").format(looked_at=known(one.looked_at), found=known(one.found))
        print(f"{word.ljust(first)}  {one.check.ljust(second)}  {text}")
        if one.remedy:
            print(indent + _("what to do: {remedy}").format(remedy=known(one.remedy)))
        if one.fix:
            text = _("done: {fix}") if one.fixed else _("amda doctor --fix does: {fix}")
            print(indent + text.format(fix=known(one.fix)))
    print(_summary(report))


_WORDS: Final = {"ok": N_("ok"), "info": N_("info"), "warning": N_("WARNING"), "problem": N_("PROBLEM")}


def _summary(report: DoctorReport) -> str:
    from appliance.model_doctor import Severity

    def count(*severities: Severity) -> int:
        return sum(one.severity in severities and not one.fixed for one in report.findings)

    parts = [
        ngettext("{count} problem", "{count} problems", count(Severity.PROBLEM)),
        ngettext("{count} warning", "{count} warnings", count(Severity.WARNING)),
        _("{count} well").format(count=count(Severity.OK, Severity.INFO)),
    ]
    if fixed := sum(one.fixed for one in report.findings):
        parts.append(_("{count} put right just now").format(count=fixed))
    if hidden := sum(one.partial for one in report.findings):
        parts.append(_("{count} could not be seen, or only in part").format(count=hidden))
    return f"{', '.join(parts)}; {report.took_s:.1f} s"


def _widest(names: Iterable[str]) -> int:
    return max(map(len, names), default=0)
