"""What is said to WhatsApp of ourselves."""

from __future__ import annotations

from appliance.protocol import HistoryLimits
from appliance.worker.engine.outgoing import device_props, pair_phone
from appliance.worker.engine.protos import companion_pb, neonize_pb


def test_the_phone_is_asked_for_no_more_history_than_is_allowed() -> None:
    props = companion_pb.DeviceProps.FromString(device_props(HistoryLimits(days=2, size_mb=3, quota_mb=4)))
    sync = props.historySyncConfig
    assert (sync.fullSyncDaysLimit, sync.recentSyncDaysLimit, sync.fullSyncSizeMbLimit) == (2, 2, 3)
    assert sync.storageQuotaMb == 4
    assert not props.requireFullSync


def test_a_code_is_asked_for_as_a_browser_that_whatsapp_knows() -> None:
    params = neonize_pb.PairPhoneParams.FromString(pair_phone("221771234512"))
    assert (params.phone, params.clientType, params.clientDisplayName) == ("221771234512", 1, "Chrome (Linux)")
