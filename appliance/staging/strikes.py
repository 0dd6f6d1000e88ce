"""Faults of transport: what they do to the sockets that are open, and to those that come.

The faults of what is said over a connection are asked for where it is said; these must act by themselves.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Final

from appliance.staging.clients import client_keys
from appliance.staging.control_types import FaultKind, SetFault
from appliance.staging.delivery import Delivery
from appliance.staging.faults import Fault, Faults, Target
from appliance.staging.proxy import Tunnel
from appliance.staging.session import Session

DROP_WITHIN_S: Final = 5.0
"""A dropped socket goes at a random moment within this time."""
_DIALLING: Final = frozenset(
    {
        FaultKind.REFUSE,
        FaultKind.DOWN,
        FaultKind.SILENCE,
        FaultKind.DROP,
        FaultKind.NO_UPGRADE,
        FaultKind.NO_HELLO,
    }
)
"""Faults that strike before a client has said which account it is."""


class Strikes:
    """Acts on the tunnels of the proxy; `begin` tells which they are."""

    def __init__(self, faults: Faults, sessions: dict[tuple[str, int], Session], delivery: Delivery) -> None:
        self._faults = faults
        self._sessions = sessions
        self._delivery = delivery
        self._chance = random.Random()  # noqa: S311 - which socket is dropped is no secret
        self._silenced: dict[int, set[int]] = {}
        self._clients: dict[str, str] = {}
        self._tunnels: dict[int, Tunnel] = {}
        self._port = 0

    def begin(self, tunnels: dict[int, Tunnel], port: int) -> None:
        self._tunnels = tunnels
        self._port = port

    def admit(self, tunnel: Tunnel) -> bool:
        """A tunnel is about to be made; False: it was cut."""
        if any(fault.spec.account and fault.spec.kind in _DIALLING for fault in self._faults.active()):
            keys = client_keys(tunnel.peer[1], self._port)
            tunnel.account = next((self._clients[key] for key in keys if key in self._clients), None)
        target = Target(tunnel.number, tunnel.account, tunnel.device)
        if fault := self._faults.find([FaultKind.REFUSE, FaultKind.DOWN], target):
            tunnel.reset(fault.name)
            return False
        if fault := self._faults.find([FaultKind.SILENCE], target):
            self._silence(fault, tunnel)
        if fault := self._faults.find([FaultKind.DROP], target):
            self._drop_soon(fault, tunnel)
        return True

    def set(self, spec: SetFault) -> Fault:
        """Set a fault, and let it strike the connections that are open.

        A fault of dialling for one account is for the client that is logged in as this account now, or was when an
        earlier such fault was set: a dial itself does not say who it is.
        """
        if spec.account and spec.kind in _DIALLING:
            self._identify(spec.account)
        fault = self._faults.set(spec)
        if spec.kind is FaultKind.STREAM_ERROR:
            self._stream_error(fault)
            return fault
        actions: dict[FaultKind, Callable[[Tunnel], None]] = {
            FaultKind.RESET: lambda t: t.reset(fault.name),
            FaultKind.CLOSE: lambda t: t.close(fault.name),
            FaultKind.DOWN: lambda t: t.reset(fault.name),
            FaultKind.STALL: lambda t: self._silence(fault, t),
            FaultKind.SILENCE: lambda t: self._silence(fault, t),
            FaultKind.DROP: lambda t: self._drop_soon(fault, t),
        }
        if action := actions.get(spec.kind):
            for tunnel in list(self._tunnels.values()):
                target = Target(tunnel.number, tunnel.account, tunnel.device)
                if fault.matches(target) and not fault.spent and self._chance.uniform(0, 100) < spec.percent:
                    action(tunnel)
                    self._faults.strike(fault, target)
        return fault

    def clear(self, fault_id: int | None) -> None:
        """End one fault, or all of them; sockets that fell silent go on."""
        if fault_id is not None:
            self._faults.end(fault_id)
            return
        self._faults.clear()
        self._silenced.clear()
        for tunnel in self._tunnels.values():
            if tunnel.stalled:
                tunnel.resume()

    def ended(self, fault: Fault) -> None:
        """A fault is over. One that was spent by its count leaves the sockets silent that it has struck."""
        if not fault.spent:
            for number in self._silenced.pop(fault.id, ()):
                tunnel = self._tunnels.get(number)
                if tunnel is not None and not any(number in others for others in self._silenced.values()):
                    tunnel.resume()
        if fault.spec.kind is FaultKind.HOLD:
            self._delivery.release()

    def _identify(self, account: str) -> None:
        for (phone, _), session in self._sessions.items():
            if phone == account:
                for key in client_keys(session.connection.tunnel.peer[1], self._port):
                    self._clients[key] = account

    def _stream_error(self, fault: Fault) -> None:
        conflict = fault.spec.text
        code = fault.spec.code or (401 if conflict == "device_removed" else 0)
        for session in list(self._sessions.values()):
            if fault.matches(session.target) and not fault.spent:
                self._faults.strike(fault, session.target)
                session.stream_error(code, conflict, fault.name)

    def _silence(self, fault: Fault, tunnel: Tunnel) -> None:
        self._silenced.setdefault(fault.id, set()).add(tunnel.number)
        tunnel.stall()

    def _drop_soon(self, fault: Fault, tunnel: Tunnel) -> None:
        delay = self._chance.uniform(0, DROP_WITHIN_S)
        asyncio.get_running_loop().call_later(delay, self._drop, fault, tunnel)

    def _drop(self, fault: Fault, tunnel: Tunnel) -> None:
        if fault.spent or fault in self._faults.active():
            tunnel.reset(fault.name)
