from __future__ import annotations

import hmac
import json
import struct

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from appliance.staging.codec import protobuf
from appliance.staging.codec.protobuf import Fields
from appliance.staging.crypto import app_state
from appliance.staging.crypto.app_state import AppStateKey, Collection
from appliance.staging.crypto.primitives import hkdf

NOW_MS = 1_700_000_000_123


class Companion:
    """A client that applies patches as the facts describe it, with its own arithmetic."""

    def __init__(self, share: Fields) -> None:
        key = share.message(1)
        self.key_id = key.message(1).bytes(1)
        okm = hkdf(key.message(2).bytes(1), None, b"WhatsApp Mutation Keys", 160)
        self.index, self.cipher, self.value, self.snapshot, self.patch = (okm[n : n + 32] for n in range(0, 160, 32))
        self.hash = [0] * 64
        self.macs: dict[bytes, bytes] = {}
        self.version = 0

    def _mix(self, mac: bytes, sign: int) -> None:
        lanes = struct.unpack("<64H", hkdf(mac, None, b"WhatsApp Patch Integrity", 128))
        self.hash = [(old + sign * new) & 0xFFFF for old, new in zip(self.hash, lanes, strict=True)]

    def apply(self, name: str, patch: bytes) -> tuple[object, Fields]:
        fields = protobuf.decode(patch)
        self.version += 1
        assert fields.message(1).int(1) == self.version
        mutation = fields.message(2)
        assert (mutation.has(1), mutation.int(1)) == (True, 0)
        record = mutation.message(2)
        assert record.message(3).bytes(1) == fields.message(6).bytes(1) == self.key_id
        blob = record.message(2).bytes(1)
        ciphertext, mac = blob[:-32], blob[-32:]
        signed = b"\x01" + self.key_id + ciphertext + struct.pack(">Q", len(self.key_id) + 1)
        assert hmac.digest(self.value, signed, "sha512")[:32] == mac
        decryptor = Cipher(algorithms.AES(self.cipher), modes.CBC(ciphertext[:16])).decryptor()
        unpadder = padding.PKCS7(128).unpadder()
        plain = unpadder.update(decryptor.update(ciphertext[16:]) + decryptor.finalize()) + unpadder.finalize()
        action = protobuf.decode(plain)
        index_mac = record.message(1).bytes(1)
        assert hmac.digest(self.index, action.bytes(1), "sha256") == index_mac
        if index_mac in self.macs:
            self._mix(self.macs[index_mac], -1)
        self._mix(mac, 1)
        self.macs[index_mac] = mac
        tail = struct.pack(">Q", self.version) + name.encode()
        snapshot = hmac.digest(self.snapshot, struct.pack("<64H", *self.hash) + tail, "sha256")
        assert fields.bytes(4) == snapshot
        assert fields.bytes(5) == hmac.digest(self.patch, snapshot + mac + tail, "sha256")
        return json.loads(action.bytes(1)), action.message(2)


@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=4))
def test_a_companion_accepts_every_patch(names: list[str]) -> None:
    key = AppStateKey.generate(1_700_000_000)
    companion = Companion(protobuf.decode(protobuf.encode(key.share())))
    collection = Collection(app_state.CRITICAL_BLOCK)
    for name in names:
        patch = collection.set_push_name(name, key, NOW_MS)
        index, value = companion.apply(collection.name, patch)
        assert index == ["setting_pushName"]
        assert (value.int(1), value.message(7).str(1)) == (NOW_MS, name)
        collection = Collection.from_dict(json.loads(json.dumps(collection.to_dict())))


def test_several_indexes_live_in_one_collection() -> None:
    key = AppStateKey.generate(1)
    companion = Companion(protobuf.decode(protobuf.encode(key.share())))
    collection = Collection("regular")
    for index, value in ((["a", "1"], 1), (["b"], 2), (["a", "1"], 3)):
        patch = collection.set(index, {1: value}, key)
        assert companion.apply("regular", patch)[0] == index
    assert collection.since(1) == collection.patches[1:]
    assert collection.since(3) == []
    assert len(collection.since(0)) == collection.version == 3


def test_the_share_is_that_of_the_facts() -> None:
    key = AppStateKey.generate(1_700_000_000)
    share = protobuf.decode(protobuf.encode(key.share((0, 1, 300)))).message(1)
    assert (share.message(1).bytes(1), share.message(2).bytes(1)) == (key.key_id, key.data)
    assert (len(key.key_id), len(key.data), share.message(2).int(3)) == (6, 32, 1_700_000_000)
    fingerprint = share.message(2).message(2)
    assert (fingerprint.int(1), fingerprint.int(2), fingerprint.bytes(3)) == (key.raw_id, 300, b"\x00\x01\xac\x02")


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=5))
def test_the_hash_does_not_know_order_and_forgets(items: list[bytes]) -> None:
    zero = bytes(app_state.HASH_SIZE)
    total = app_state.lt_hash(zero, added=items, removed=[])
    assert app_state.lt_hash(zero, added=items[::-1], removed=[]) == total
    assert app_state.lt_hash(total, added=[], removed=items) == zero
