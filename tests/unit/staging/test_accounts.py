"""Numbers, LIDs, devices and their keys."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.staging.accounts import Directory, Prekey, SignedPrekey, digits_of, lid_of, new_device
from appliance.staging.codec.jid import Jid
from appliance.staging.control_types import AddAccount, TypingPlan
from appliance.staging.errors import RequestError
from appliance.staging.store import Store

PHONE = "221771000010"


@pytest.mark.parametrize("text", ["+221771000010", " 221 771 000 010 ", "221771000010"])
def test_a_number_is_read_as_people_write_it(text: str) -> None:
    assert digits_of(text, "phone") == PHONE


@pytest.mark.parametrize("text", ["", "12", "abc", "1" * 16, "٢٢١٧٧١٠٠٠"])
def test_what_is_no_number_is_refused_with_the_field(text: str) -> None:
    with pytest.raises(RequestError, match="contact: not a phone number"):
        digits_of(text, "contact")


@given(st.from_regex(r"[1-9][0-9]{7,14}", fullmatch=True))
def test_a_lid_is_a_number_of_its_own(phone: str) -> None:
    assert lid_of(phone) == lid_of(phone) != phone
    assert len(lid_of(phone)) == 15


def test_everything_is_remembered(tmp_path: Path) -> None:
    store = Store(tmp_path / "state.db")
    store.open()
    directory = Directory(store)
    account = directory.add(AddAccount(phone=PHONE, name="Awa", plan=TypingPlan.NEVER))
    directory.link(account, new_device(account, b"noise", b"identity", 7, SignedPrekey(1, b"key", b"signature")))
    directory.add_prekeys(PHONE, 1, [Prekey(1, b"a"), Prekey(2, b"b")])
    directory.add_prekeys(PHONE, 1, [Prekey(2, b"b"), Prekey(3, b"c")])
    assert directory.pop_prekey(PHONE, 1) == Prekey(1, b"a")
    store.close()
    store.open()
    again = Directory(store)
    again.load()
    loaded = again.require(PHONE)
    assert (loaded.name, loaded.plan, loaded.devices[1].registration_id) == ("Awa", TypingPlan.NEVER, 7)
    assert again.prekey_count(PHONE, 1) == 2
    assert again.phone_of(loaded.lid_jid(1)) == PHONE
    again.unlink(loaded, 1)
    assert again.prekey_count(PHONE, 1) == 0
    assert new_device(loaded, b"", b"", 1, SignedPrekey(1, b"", b"")).number == 2, "numbers are not used again"
    store.close()


def test_whom_nobody_has_met_has_no_number(store: Store) -> None:
    directory = Directory(store)
    assert directory.phone_of(Jid("123456789012345", "lid")) is None
    assert directory.phone_of(Jid("120363", "g.us")) is None
    with pytest.raises(RequestError, match="account: no account"):
        directory.require("221779999999")


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (2.0, 1.0)])
def test_delays_must_make_sense(store: Store, low: float, high: float) -> None:
    with pytest.raises(RequestError, match="delay_max_s"):
        Directory(store).add(AddAccount(phone=PHONE, delay_min_s=low, delay_max_s=high))
