"""The machine and every part of the appliance: memory, CPU, Redis, store, spools, engine; and what the doctor says."""

from __future__ import annotations

import math
from typing import Final

from appliance.client import ClientError
from appliance.model_doctor import DoctorReport, Finding
from appliance.model_system import SystemView
from tui.actions import Place
from tui.paint import Line, Tone, plain
from tui.screens.doctor_parts import doctor_title, finding_line, finding_whole, ordered
from tui.screens.page import Deed, Page, moved, scrolled
from tui.screens.system_parts import machine_lines, part_lines, service_lines, shares
from tui.text import _

RELOAD_S: Final = 5.0
DOCTOR_OLD_S: Final = 300.0
"""The doctor looks again when the screen is opened after so long; it takes seconds."""
_ROOM_FOR_ALL: Final = 3
"""Lines of findings that have to be left beside everything else; with less, the machine's bars give way."""


class SystemPage(Page):
    place = Place.SYSTEM
    reload_s = RELOAD_S

    def __init__(self) -> None:
        super().__init__(id="system")
        self._view: SystemView | None = None
        self._cpu: dict[str, float] = {}
        self._report: DoctorReport | None = None
        self._asked_at = -math.inf
        self._busy = ""
        self._findings: list[Finding] = []
        self._index = self._top = 0
        self._room = 5

    def deeds(self) -> dict[str, Deed]:
        return {"doctor": self._examine}

    async def load(self) -> None:
        view = await self.tui.ask(lambda api: api.system())
        self._cpu = shares(self._view, view) or self._cpu
        self._view = view
        allowed = not self.tui.scene.store.only_looks
        if allowed and self.tui.clock() - self._asked_at >= DOCTOR_OLD_S and self.tui.page is self:
            self.tui.do("doctor")

    def subject(self) -> str | None:
        return self._findings[self._index].check if self._index < len(self._findings) else None

    def copyable(self) -> str:
        """What the finding under the cursor says to do: often a command."""
        return self._findings[self._index].remedy if self._index < len(self._findings) else ""

    def navigate(self, key: str) -> bool:
        index = moved(key, self._index, len(self._findings), self._room)
        if index is not None:
            self._index = index
        return index is not None

    def paint(self, width: int, height: int) -> list[Line]:
        scene, view = self.tui.scene, self._view
        if view is None:
            return [Line(), plain("    " + _("Asking what every part uses …"), width, Tone.DIM)]
        self._index = max(0, min(self._index, len(self._findings) - 1))
        parts = [*part_lines(view, self._cpu, scene, width), *service_lines(view, scene, width)]
        top = [*machine_lines(view, scene, width), *parts]
        below = finding_whole(self._findings[self._index], scene, width) if self._findings else []
        if height - len(top) - len(below) - 1 < _ROOM_FOR_ALL:  # what to do is on the line, or on a larger screen
            below = below[-1:] if self._findings and self._findings[self._index].remedy else []
        if height - len(top) - len(below) - 1 < _ROOM_FOR_ALL:
            top = parts
        self._room = max(1, height - len(top) - len(below) - 1)
        self._top = scrolled(self._top, self._index, len(self._findings), self._room)
        lines = [*top, doctor_title(self._report, self._busy, scene, width)]
        shown = self._findings[self._top : self._top + self._room]
        for index, finding in enumerate(shown, start=self._top):
            lines.append(finding_line(finding, scene, width, chosen=index == self._index))
        return [*lines, *([Line()] * (self._room - len(shown))), *below]

    # ---- what is done here

    async def _examine(self) -> None:
        """What the doctor was told is kept until it has looked again."""
        if self._busy:
            return
        self._busy, self._asked_at = _("the doctor is looking …"), self.tui.clock()
        self.repaint()
        try:
            self._report = await self.tui.ask(lambda api: api.doctor())
            self._findings = ordered(self._report)
        except ClientError as error:
            self.tui.say(_("The doctor cannot be asked: {why}").format(why=error), Tone.WARN)
        finally:
            self._busy = ""
