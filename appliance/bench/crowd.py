"""Many linked sessions in a rig: what every rehearsal of a whole fleet begins and ends with."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from appliance.bench.rig import Rig, phone_number, until
from appliance.client import ApiError, ClientError
from appliance.model import SessionState
from appliance.staging import control_types as ct

LINK_TIMEOUT_S: Final = 400.0
PARALLEL_LINKS: Final = 8
"""Users who ask at once; how many are linked at once is the appliance's own decision."""
CONTACT: Final = "+33612345601"


class Crowd:
    """`phones`: session → number, `count` of them."""

    def __init__(self, rig: Rig, count: int) -> None:
        self._rig = rig
        self.phones = {f"session-{number:03d}": phone_number(number) for number in range(1, count + 1)}

    @property
    def accounts(self) -> dict[str, str]:
        """Session → digits of its number, as the network's journal writes them."""
        return {session: phone.lstrip("+") for session, phone in self.phones.items()}

    async def link_all(self, parallel: int = PARALLEL_LINKS) -> float:
        """Seconds until everybody is linked and online. Raises BenchError with the first one's reason."""
        started = time.monotonic()
        turns = asyncio.Semaphore(parallel)

        async def link(session: str, phone: str) -> None:
            async with turns:
                await self._rig.link(session, phone, timeout_s=LINK_TIMEOUT_S)

        async with asyncio.TaskGroup() as group:
            for session, phone in self.phones.items():
                group.create_task(link(session, phone))
        return time.monotonic() - started

    async def offline(self) -> dict[str, SessionState]:
        """Sessions that the API does not call online."""
        views = await self._rig.api.sessions()
        return {view.id: view.state for view in views if view.state is not SessionState.ONLINE}

    async def all_online(self) -> None:
        """Until the API calls everybody online; unbounded, see asyncio.timeout. The daemon may be away meanwhile."""

        async def online() -> bool:
            try:
                return not await self.offline()
            except ApiError:
                raise
            except ClientError:
                return False

        await until(online)

    async def silent(self, timeout_s: float = 30.0) -> list[str]:
        """Sessions through which a message that is sent now does not get; empty: everybody is online for sure."""
        sent = {
            session: (await self._rig.staging.send(ct.Send(account=phone, contact=CONTACT)))[0]
            for session, phone in self.phones.items()
        }
        passed = await asyncio.gather(*(self._receipted(session, sent[session], timeout_s) for session in sent))
        return [session for session, through in zip(sent, passed, strict=True) if not through]

    async def _receipted(self, session: str, message_id: str, timeout_s: float) -> bool:
        try:
            await self._rig.staging.wait_for(
                ct.JournalKind.RECEIPTED,
                account=self.accounts[session],
                message_id=message_id,
                timeout_s=timeout_s,
            )
        except TimeoutError:
            return False
        return True
