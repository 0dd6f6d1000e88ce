"""App state: the encrypted, ordered list of changes that an account's devices share. A phone tells its companions the
push name this way, and in no other.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

import msgspec

from appliance.staging.codec import protobuf
from appliance.staging.crypto.primitives import cbc_encrypt, hkdf, hmac_sha256, hmac_sha512

CRITICAL_BLOCK: Final = "critical_block"
"""The collection that holds the push name."""

HASH_SIZE: Final = 128
_KEY_ID_SIZE: Final = 6
_KEY_SIZE: Final = 32
_IV_SIZE: Final = 16
_VALUE_MAC_SIZE: Final = 32

_KEYS_INFO: Final = b"WhatsApp Mutation Keys"
_HASH_INFO: Final = b"WhatsApp Patch Integrity"
_SET: Final = 0
"""SyncdMutation.operation"""
_OPERATION_SET: Final = b"\x01"
"""The same, as it goes into the value's MAC."""
_LANE_SIZE: Final = 2
_ACTION_VERSION: Final = 1
"""SyncActionData.version of a push name."""


class AppStateKey(msgspec.Struct, frozen=True):
    """The key that all devices of an account share. `timestamp` in seconds."""

    key_id: bytes
    data: bytes
    timestamp: int
    raw_id: int
    """Names the account's list of devices; the companion only stores it."""

    @classmethod
    def generate(cls, timestamp: int) -> Self:
        return cls(secrets.token_bytes(_KEY_ID_SIZE), secrets.token_bytes(_KEY_SIZE), timestamp, secrets.randbits(31))

    def share(self, device_indexes: Sequence[int] = (0, 1)) -> dict[int, protobuf.Value]:
        """AppStateSyncKeyShare: field 7 of the protocol message of type APP_STATE_SYNC_KEY_SHARE."""
        fingerprint: dict[int, protobuf.Value] = {
            1: self.raw_id,
            2: max(device_indexes),
            3: b"".join(protobuf.varint(index) for index in device_indexes),
        }
        return {1: {1: {1: self.key_id}, 2: {1: self.data, 2: fingerprint, 3: self.timestamp}}}


class Collection(msgspec.Struct):
    """One collection, as the devices that write it keep it."""

    name: str
    version: int = 0
    hash: bytes = bytes(HASH_SIZE)
    value_macs: dict[str, bytes] = {}
    """By index: what must be taken out of the hash when a value is set again."""
    patches: list[bytes] = []
    """SyncdPatch of version 1, 2, …"""

    def since(self, version: int) -> list[bytes]:
        """The patches that a device at `version` lacks."""
        return self.patches[version:]

    def set(self, index: Sequence[str], value: protobuf.Message, key: AppStateKey) -> bytes:
        """Append the patch that sets `index` to a SyncActionValue; the answer is its SyncdPatch."""
        index_json = json.dumps(list(index), separators=(",", ":"))
        keys = _derive(key)
        ciphertext, value_mac = _seal(keys, key.key_id, index_json, value)
        removed = self.value_macs.get(index_json)
        self.hash = lt_hash(self.hash, added=[value_mac], removed=[] if removed is None else [removed])
        self.value_macs[index_json] = value_mac
        self.version += 1
        version, name = self.version.to_bytes(8), self.name.encode()
        snapshot_mac = hmac_sha256(keys.snapshot_mac, self.hash + version + name)
        patch_mac = hmac_sha256(keys.patch_mac, snapshot_mac + value_mac + version + name)
        record: dict[int, protobuf.Value] = {
            1: {1: hmac_sha256(keys.index, index_json.encode())},
            2: {1: ciphertext + value_mac},
            3: {1: key.key_id},
        }
        patch = protobuf.encode(
            {1: {1: self.version}, 2: {1: _SET, 2: record}, 4: snapshot_mac, 5: patch_mac, 6: {1: key.key_id}}
        )
        self.patches.append(patch)
        return patch

    def set_push_name(self, name: str, key: AppStateKey, timestamp_ms: int) -> bytes:
        """The patch with which a phone tells its name. Only in CRITICAL_BLOCK."""
        return self.set(["setting_pushName"], {1: timestamp_ms, 7: {1: name}}, key)

    def to_dict(self) -> dict[str, Any]:
        """For JSON, bytes as base64."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return msgspec.convert(data, cls)


class MutationKeys(msgspec.Struct, frozen=True):
    """The five keys of one app state key."""

    index: bytes
    value_cipher: bytes
    value_mac: bytes
    snapshot_mac: bytes
    patch_mac: bytes


def _derive(key: AppStateKey) -> MutationKeys:
    okm = hkdf(key.data, None, _KEYS_INFO, 5 * _KEY_SIZE)
    return MutationKeys(*(okm[start : start + _KEY_SIZE] for start in range(0, len(okm), _KEY_SIZE)))


def _seal(keys: MutationKeys, key_id: bytes, index_json: str, value: protobuf.Message) -> tuple[bytes, bytes]:
    """Encrypt a SyncActionData: ciphertext with its IV, and MAC."""
    action = protobuf.encode({1: index_json, 2: value, 3: b"", 4: _ACTION_VERSION})
    iv = secrets.token_bytes(_IV_SIZE)
    ciphertext = iv + cbc_encrypt(keys.value_cipher, iv, action)
    associated = _OPERATION_SET + key_id
    mac = hmac_sha512(keys.value_mac, associated + ciphertext + len(associated).to_bytes(8))
    return ciphertext, mac[:_VALUE_MAC_SIZE]


def lt_hash(state: bytes, *, added: Sequence[bytes], removed: Sequence[bytes]) -> bytes:
    """The summation hash of a collection: 64 lanes of 16 bits, little-endian, so that order does not matter."""
    lanes = _lanes(state)
    for items, direction in ((added, 1), (removed, -1)):
        for item in items:
            lanes = [
                (lane + direction * other) % (1 << 8 * _LANE_SIZE)
                for lane, other in zip(lanes, _lanes(hkdf(item, None, _HASH_INFO, HASH_SIZE)), strict=True)
            ]
    return b"".join(lane.to_bytes(_LANE_SIZE, "little") for lane in lanes)


def _lanes(data: bytes) -> list[int]:
    return [int.from_bytes(data[at : at + _LANE_SIZE], "little") for at in range(0, len(data), _LANE_SIZE)]
