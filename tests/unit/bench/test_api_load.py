"""The load generator of the rehearsal of the API: it must see what goes wrong, or its zeros would mean nothing."""

from __future__ import annotations

import pytest

from appliance.bench.api_plan import Series
from appliance.bench.api_subscribers import _Stream

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"15\r\n: the stream begins\n\n\r\n"
)
EVENTS = b"".join(
    b"%x\r\n%s\r\n" % (len(frame), frame)
    for frame in (
        b'id: 7\nevent: media.stored\ndata: {"seq":7,"data":{"detail":"id: 99\\nevent: no"}}\n\n',
        b":\n\n",
        b"id: 8\nevent: a\ndata: {}\n\nid: 9\nevent: b\ndata: {}\n\n",
    )
)


@pytest.mark.parametrize("step", [1, 7, 64, 10_000])
async def test_events_are_read_however_they_are_cut(step: int) -> None:
    taken: list[int] = []
    stream = _Stream(taken.append)
    content = HEAD + EVENTS
    for start in range(0, len(content), step):
        stream.data_received(content[start : start + step])
    assert stream.begun.result() is True
    assert taken == [7, 8, 9]
    stream.connection_lost(None)
    assert stream.lost.done()


async def test_a_refusal_is_seen_and_kept() -> None:
    stream = _Stream(lambda _seq: None)
    stream.data_received(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\n\r\n{}")
    assert stream.begun.result() is False
    assert stream.status.startswith(b"HTTP/1.1 429 ")


def test_gaps_and_repetitions_are_counted() -> None:
    series = Series(10)
    for seq in (11, 12, 12, 11, 15):
        series.take(seq)
    assert (series.last, series.missed, series.repeated) == (15, 2, 2)
