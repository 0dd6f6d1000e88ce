"""How each screen is made; all but the first are loaded when they are first wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tui.action import Place
from tui.screens.page import Page
from tui.screens.sessions import SessionsPage


def _pairing() -> Page:
    from tui.screens.pairing import PairingPage

    return PairingPage()


def _session() -> Page:
    from tui.screens.session import SessionPage

    return SessionPage()


def _storage() -> Page:
    from tui.screens.storage import StoragePage

    return StoragePage()


def _alerts() -> Page:
    from tui.screens.alerts import AlertsPage

    return AlertsPage()


def _history() -> Page:
    from tui.screens.history import HistoryPage

    return HistoryPage()


def _log() -> Page:
    from tui.screens.log import LogPage

    return LogPage()


def _system() -> Page:
    from tui.screens.system import SystemPage

    return SystemPage()


PAGES: Final[dict[Place, Callable[[], Page]]] = {
    Place.SESSIONS: SessionsPage,
    Place.SESSION: _session,
    Place.PAIRING: _pairing,
    Place.STORAGE: _storage,
    Place.HISTORY: _history,
    Place.ALERTS: _alerts,
    Place.LOG: _log,
    Place.SYSTEM: _system,
}
