"""What a person does in a day at the terminal, with a real daemon behind it."""

from __future__ import annotations

import asyncio
import re

from appliance.bench.rig import Rig, phone_number, until
from appliance.model import SessionState
from appliance.staging import control_types as ct
from tests.integration.tui.tmux import Tmux

CODE = re.compile(r"\b[A-Z0-9]{4}-[A-Z0-9]{4}\b")
FILTER = re.compile(r"^ */ ", re.MULTILINE)
"""The line in which a filter is typed."""
PHONE = "+221779990001"
PICTURES = 8
CONTACT = "+33612345601"
SMALL_STORE = {
    "AMDA_STORAGE_PRUNE_MODE": "manual",
    "AMDA_STORAGE_QUOTA_BYTES": str(1 << 20),
    "AMDA_STORAGE_HIGH_WATER": "0.5",
    "AMDA_STORAGE_LOW_WATER": "0.3",
}
"""A store in which a few pictures are too many; nothing goes by itself."""


async def day(rig: Rig, terminal: Tmux) -> None:
    """All of it, in a terminal that shows an appliance with every session online; at the end all of them still are."""
    await link_a_session(rig, terminal)
    await unplug(rig, terminal, PHONE.lstrip("+"))
    assert await most_disconnections(terminal, "newcomer") <= 5
    await fill(rig)
    await make_room(terminal)
    assert (await rig.api.status()).media_count < PICTURES
    await leave(terminal)
    assert {view.state for view in await rig.api.sessions()} == {SessionState.ONLINE}


async def fill(rig: Rig) -> None:
    """More is stored than the mark from which on room is made."""
    for _ in range(PICTURES):
        sent = ct.Send(
            account=phone_number(1),
            contact=CONTACT,
            kind=ct.SendKind.IMAGE,
            where=ct.Where.STATUS,
            size=90_000,
        )
        await rig.staging.send(sent)

    async def stored() -> bool:
        return (await rig.api.status()).media_count == PICTURES

    async with asyncio.timeout(60):
        await until(stored)


async def link_a_session(rig: Rig, terminal: Tmux) -> None:
    """Create it, ask for a code, copy the code, type it on the phone, see it come online."""
    await rig.staging.add_account(ct.AddAccount(phone=PHONE))
    await terminal.press("1", "n")
    await terminal.until("New session")
    await terminal.type("newcomer")
    await terminal.press("Enter")
    await terminal.until("Created: newcomer")
    await onto(terminal, "newcomer")
    await terminal.press("p")
    await terminal.until("with country code")
    await terminal.type(PHONE)
    await terminal.press("Enter")
    shown = await terminal.until(lambda screen: CODE.search(screen) is not None and "valid for" in screen)
    code = CODE.search(shown)
    assert code is not None
    await terminal.press("y")
    await terminal.until(f"Copied: {code[0]}")
    assert await terminal.clipboard() == code[0]
    await rig.staging.type_code(PHONE, code[0])
    await terminal.until("Linked within")
    await terminal.press("1")
    await terminal.until(lambda screen: "online" in row(screen, "newcomer"))


async def onto(terminal: Tmux, name: str) -> None:
    """Bring the cursor to a session, by its name."""
    await terminal.press("Escape")
    await terminal.until(lambda screen: not FILTER.search(screen))
    await terminal.press("/")
    await terminal.until(lambda screen: FILTER.search(screen) is not None)
    await terminal.type(name)
    await terminal.press("Enter")
    await terminal.until(lambda screen: row(screen, name).startswith("▸"))


def row(screen: str, name: str) -> str:
    """The session's line in the list: it has a sign before the name; empty: there is none."""
    return next((line for line in screen.splitlines() if re.match(rf"[▸ ][✓ ]\S {name} ", line)), "")


async def unplug(rig: Rig, terminal: Tmux, account: str) -> None:
    """Its network is gone: the state, the reason, and that it is back when the network is."""
    await terminal.press("1")
    await onto(terminal, "newcomer")
    fault = await rig.staging.set_fault(ct.SetFault(kind=ct.FaultKind.DOWN, account=account))
    await terminal.until(lambda screen: "reconnecting" in row(screen, "newcomer"))
    await terminal.press("Enter")
    await terminal.until(lambda screen: "redials by itself" in screen and "not yet back" in screen)
    await rig.staging.clear_faults(fault.id)
    async with asyncio.timeout(90):
        await rig.wait_state("newcomer", SessionState.ONLINE)
    await terminal.until(lambda screen: "● newcomer" in screen and "back after" in screen)
    await terminal.press("1")


async def most_disconnections(terminal: Tmux, name: str) -> int:
    """Which session lost its connection most since yesterday; how many keys that took."""
    before = terminal.keys_pressed
    await terminal.press("4")
    shown = await terminal.until("since yesterday")
    await terminal.until(lambda screen: "disconnections▼" in screen)
    shown = await terminal.until(lambda screen: "▸" in screen)
    first = next(line for line in shown.splitlines() if line.startswith("▸"))
    assert name in first, shown
    return terminal.keys_pressed - before


async def make_room(terminal: Tmux) -> None:
    """Look what would go, then let it go."""
    await terminal.press("3")
    await terminal.until("by session")
    await terminal.press("x")
    shown = await terminal.until(lambda screen: "What is deleted cannot be brought back" in screen)
    assert re.search(r"\d+ items? goe?s?", shown), shown
    await terminal.press("y")
    await terminal.until("Deleted: ")


async def leave(terminal: Tmux) -> None:
    await terminal.press("q")
    assert await terminal.ended() == 0
    assert "it has stopped nothing" in await terminal.screen()
