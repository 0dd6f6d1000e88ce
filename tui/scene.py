"""What a painter is given: what is known, the time, and the means; nothing that it could change."""

from __future__ import annotations

import msgspec

from tui.paint import Glyphs
from tui.store import Store


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """`now`: seconds since the epoch; stands still while paused. `read_only`: nothing may be changed from here."""

    store: Store
    now: float
    glyphs: Glyphs
    paused: bool = False
    read_only: bool = False
