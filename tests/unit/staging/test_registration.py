"""How long a registration lives, and which names the service accepts."""

from __future__ import annotations

import pytest

from appliance.staging import stanzas
from appliance.staging.codec.binary_xml import Node
from appliance.staging.codec.jid import Jid
from appliance.staging.phone import _mistyped
from appliance.staging.registration import _DISPLAY, life_of


@pytest.mark.parametrize(("references", "seconds"), [(1, 20), (2, 40), (5, 100), (6, 160)])
def test_life(references: int, seconds: float) -> None:
    assert life_of(references) == seconds


@pytest.mark.parametrize(("name", "accepted"), [("Chrome (Linux)", True), ("Chrome (Acme)", False), ("", False)])
def test_display_names(name: str, accepted: bool) -> None:
    assert bool(_DISPLAY.fullmatch(name)) is accepted


@pytest.mark.parametrize("code", ["ABCDEFGH", "1111111Z"])
def test_a_mistyped_code_is_another_one(code: str) -> None:
    assert _mistyped(code) != code
    assert len(_mistyped(code)) == len(code)


def test_an_acknowledgement_goes_back_where_the_stanza_went() -> None:
    receipt = Node("receipt", {"id": "A", "to": Jid("1", "lid"), "participant": Jid("2", "lid"), "type": "retry"})
    node = stanzas.ack(receipt)
    assert node.attrs["from"] == Jid("1", "lid")
    assert node.attrs["participant"] == Jid("2", "lid")
    assert (node.attr("class"), node.attr("type")) == ("receipt", "retry")


def test_only_a_temporary_ban_says_how_long() -> None:
    assert stanzas.failure(402, 3600).attr("expire") == "3600"
    assert stanzas.failure(401, 3600).attr("expire") is None
