"""Changes what is set for one session: asks for the new value, sends it, says what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.model_capture import CaptureChange, CaptureView
from tui.paint import Tone
from tui.screens.overlay import Ask
from tui.screens.session_settings import (
    PERSON,
    PROXY,
    Setting,
    Way,
    switched,
    typed_change,
    typed_person,
    typed_proxy,
)
from tui.text import _

if TYPE_CHECKING:
    from tui.app import AmdaTui


async def change_setting(app: AmdaTui, session: str, row: Setting, capture: CaptureView | None) -> None:
    """As its way of being changed asks for."""
    if row.way is Way.FIXED:
        app.say(_("{label}: this is not changed here.").format(label=row.label), Tone.WARN)
    elif app.scene.read_only:
        app.say(app.why_read_only(), Tone.WARN)
    elif row.way is Way.SWITCH:
        if capture is not None:
            await _capture(app, session, switched(row.id, capture), row)
    else:
        typed = await app.push_screen_wait(Ask(row.label, row.hint, value=row.typed))
        if typed is not None:
            await _typed(app, session, row, typed)


async def _typed(app: AmdaTui, session: str, row: Setting, typed: str) -> None:
    done = _changed(row)
    try:
        if row.id == PROXY:
            await app.change(lambda api: api.set_proxy(session, typed_proxy(typed)), done)
        elif row.id == PERSON and not typed:
            await app.change(lambda api: api.remove_person(session), done)
        elif row.id == PERSON:
            person = typed_person(typed)
            await app.change(lambda api: api.set_person(session, person), done)
        else:
            await _capture(app, session, typed_change(row.id, typed), row)
    except ValueError as error:
        app.say(_("Not changed: {why}").format(why=error), Tone.BAD)


async def _capture(app: AmdaTui, session: str, change: CaptureChange, row: Setting) -> None:
    await app.change(lambda api: api.set_capture(session, change), _changed(row))


def _changed(row: Setting) -> str:
    return _("Changed: {label}.").format(label=row.label)
