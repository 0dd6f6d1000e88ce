from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.staging.codec.jid import G_US, LID, S_WHATSAPP_NET, SERVER, STATUS, Jid

users = st.text("0123456789abcdefghij-_", min_size=1, max_size=20)


@given(user=users, server=st.sampled_from([S_WHATSAPP_NET, LID]), device=st.integers(0, 0xFFFF))
def test_text_form_is_read_back(user: str, server: str, device: int) -> None:
    jid = Jid(user, server, device)
    assert Jid.parse(str(jid)) == jid


@pytest.mark.parametrize(
    ("text", "jid"),
    [
        ("s.whatsapp.net", SERVER),
        ("status@broadcast", STATUS),
        ("221771234512:3@s.whatsapp.net", Jid("221771234512", S_WHATSAPP_NET, 3)),
        ("221771234512.0:3@s.whatsapp.net", Jid("221771234512", S_WHATSAPP_NET, 3)),
        ("120363@g.us", Jid("120363", G_US)),
    ],
)
def test_known_forms(text: str, jid: Jid) -> None:
    assert Jid.parse(text) == jid


def test_bare_drops_only_the_device() -> None:
    assert Jid("1", LID, 7).bare == Jid("1", LID)
    assert Jid("1", LID).bare == Jid("1", LID)


@pytest.mark.parametrize("text", ["", "1@", ":1@lid", "1:x@lid", "1:@lid", "1:-1@lid", "1:65536@lid", "1:²@lid"])
def test_what_is_no_jid_names_its_part(text: str) -> None:
    with pytest.raises(ValueError, match=r"server|device"):
        Jid.parse(text)
