"""A thousand subscribers of events and five hundred reads a second, for a minute, on the API as it is shipped."""

from __future__ import annotations

import msgspec
import pytest

from appliance.bench import api


@pytest.mark.timeout(400)
async def test_a_thousand_subscribers_and_five_hundred_reads_a_second() -> None:
    result = await api.run()
    assert result.passed, msgspec.json.format(msgspec.json.encode(result)).decode()
