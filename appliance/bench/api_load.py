"""The load generator of `amda bench api`: a process of its own, so that what is measured is the daemon.

`python -m appliance.bench.api_load PLAN` reads a `LoadPlan` and says on standard output how far it is (`LoadNews`).
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

from appliance.api.doors import raise_file_limit
from appliance.bench.api_plan import LoadFigures, LoadNews, LoadPlan, Phase
from appliance.bench.api_readers import Readers
from appliance.bench.api_subscribers import CONNECT_S, CONNECTS_PER_S, Subscriber, Tally
from appliance.bench.measure import percentile

LOOK_S: Final = 0.1
"""How often the connected are counted."""
QUIET_S: Final = 1.0
"""When nothing has happened for so long, what was published is all that there is."""
SETTLE_S: Final = 20.0
"""What a subscriber has not heard of by then counts as missed."""


async def load(plan: LoadPlan) -> LoadFigures:
    """Carry the plan out, and say how far it is."""
    tally = Tally(plan.subscribers + plan.spare // 2)
    subscribers = [Subscriber(number, plan, tally) for number in range(plan.subscribers + plan.spare)]
    tasks = [
        asyncio.create_task(subscriber.run(number / CONNECTS_PER_S)) for number, subscriber in enumerate(subscribers)
    ]
    async with Readers(plan) as readers:
        async with asyncio.timeout(len(tasks) / CONNECTS_PER_S + CONNECT_S):
            await tally.complete.wait()
        _say(LoadNews(phase=Phase.CONNECTED))
        fewest = await _read(readers, tally)
        _say(LoadNews(phase=Phase.MEASURED))
        tally.steady.set()
        await _all_told(readers, subscribers)
        last = await readers.last_event()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
    return _figures(readers, tally, subscribers, fewest, last)


async def _read(readers: Readers, tally: Tally) -> int:
    """Make the requests; returns the fewest subscribers that were connected meanwhile."""
    fewest = tally.connected
    reading = asyncio.create_task(readers.run())
    while not reading.done():
        fewest = min(fewest, tally.connected)
        await asyncio.wait((reading,), timeout=LOOK_S)
    await reading
    return fewest


async def _all_told(readers: Readers, subscribers: list[Subscriber]) -> None:
    """Until nothing is published any more and everybody has heard of all of it, at most `SETTLE_S`."""
    deadline = time.monotonic() + SETTLE_S
    last = -1
    while time.monotonic() < deadline:
        before, last = last, await readers.last_event()
        if before == last and all(one.series.last >= last for one in subscribers):
            return
        await asyncio.sleep(QUIET_S)


def _figures(readers: Readers, tally: Tally, subscribers: list[Subscriber], fewest: int, last: int) -> LoadFigures:
    latencies = [1000 * one for found in readers.latencies.values() for one in found]
    by_path = {path: round(1000 * percentile(found, 99), 1) for path, found in readers.latencies.items()}
    return LoadFigures(
        subscribers=fewest,
        reconnections=tally.reconnections,
        disconnects=tally.disconnects,
        events_missed=sum(one.series.missed + max(0, last - one.series.last) for one in subscribers),
        events_repeated=sum(one.series.repeated for one in subscribers),
        delivered=tally.delivered,
        requests=readers.answered,
        requests_per_s=round(readers.answered / readers.elapsed_s, 1),
        requests_failed=readers.failed,
        not_modified=readers.not_modified,
        read_p50_ms=round(percentile(latencies, 50), 1),
        read_p99_ms=round(percentile(latencies, 99), 1),
        read_max_ms=round(max(latencies, default=0.0), 1),
        slowest_reads_p99_ms=dict(sorted(by_path.items(), key=lambda item: -item[1])),
        generator_cpu_s=round(time.process_time(), 1),
        wrong=[*tally.wrong, *readers.wrong],
    )


def _say(news: LoadNews) -> None:
    sys.stdout.write(msgspec.json.encode(news).decode() + "\n")
    sys.stdout.flush()


def main() -> None:
    raise_file_limit()
    plan = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=LoadPlan)
    _say(LoadNews(phase=Phase.DONE, figures=asyncio.run(load(plan))))


if __name__ == "__main__":
    main()
