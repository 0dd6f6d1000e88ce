"""The Signal endpoints of every simulated phone, kept in the store session by session.

Whole endpoints would be too much to write for every message: a contact of sixty accounts holds sixty conversations.
"""

from __future__ import annotations

import msgspec

from appliance.staging.accounts import Account, Directory
from appliance.staging.codec.jid import Jid
from appliance.staging.crypto.keys import KeyPair
from appliance.staging.crypto.ratchet import Session
from appliance.staging.crypto.signal import Endpoint, MessageType, PreKeyBundle, pad, unpad
from appliance.staging.store import Store


class Endpoints:
    """One endpoint per phone number, made at first use."""

    def __init__(self, store: Store, directory: Directory) -> None:
        self._store = store
        self._directory = directory
        self._loaded: dict[str, Endpoint] = {}

    def of(self, phone: str) -> Endpoint:
        endpoint = self._loaded.get(phone)
        if endpoint is not None:
            return endpoint
        kept = self._store.get("endpoint", phone)
        if kept is None:
            endpoint = Endpoint.generate()
            self._save(phone, endpoint)
        else:
            endpoint = msgspec.msgpack.decode(kept, type=Endpoint)
            for key, value in self._store.all("session", f"{phone}/"):
                endpoint.sessions[key.partition("/")[2]] = msgspec.msgpack.decode(value, type=list[Session])
        self._loaded[phone] = endpoint
        return endpoint

    def identity(self, phone: str) -> KeyPair:
        """The identity key of a phone; of an account's phone, the key that vouches for its linked devices."""
        return self.of(phone).identity

    def bundle(self, phone: str, *, one_time: bool) -> PreKeyBundle:
        """What a phone publishes."""
        endpoint = self.of(phone)
        bundle = endpoint.bundle(one_time=one_time)
        if one_time:
            self._save(phone, endpoint)
        return bundle

    def device_bundle(
        self, account: Account, number: int, *, one_time: bool = True, given: tuple[int, bytes] | None = None
    ) -> PreKeyBundle:
        """What a linked device has published; `given` is a one-time key that it handed over itself."""
        device = account.devices[number]
        if given is None and one_time and (popped := self._directory.pop_prekey(account.phone, number)):
            given = (popped.id, popped.public)
        signed = device.signed_prekey
        return PreKeyBundle(
            device.registration_id,
            device.identity_public,
            signed.id,
            signed.public,
            signed.signature,
            given[0] if given else None,
            given[1] if given else None,
        )

    def encrypt(
        self, sender: str, account: Account, number: int, message: bytes, fresh: PreKeyBundle | None = None
    ) -> tuple[MessageType, bytes]:
        """Pad and encrypt a Message of one phone for one linked device; `fresh` begins a new session."""
        endpoint, address = self.of(sender), account.lid_jid(number)
        if fresh is None and not endpoint.has_session(address):
            fresh = self.device_bundle(account, number)
        result = endpoint.encrypt(address, fresh, pad(message))
        self._save_session(sender, endpoint, address)
        return result

    def decrypt(self, receiver: str, address: Jid, message_type: str, ciphertext: bytes) -> bytes:
        """Decrypt and unpad what a linked device sent to one phone. Raises DecryptionError."""
        endpoint = self.of(receiver)
        plaintext = endpoint.decrypt(address, message_type, ciphertext)
        self._save_session(receiver, endpoint, address)
        return unpad(plaintext)

    def forget(self, phone: str, address: Jid) -> None:
        """Drop the sessions of one phone with a device that is gone."""
        self.of(phone).forget(address)
        self._store.delete("session", f"{phone}/{address}")

    def forget_device(self, address: Jid) -> None:
        """Drop everybody's sessions with a device that is gone."""
        for phone in self._loaded:
            self.forget(phone, address)
        for key, _ in self._store.all("session"):
            if key.partition("/")[2] == str(address):
                self._store.delete("session", key)

    def _save(self, phone: str, endpoint: Endpoint) -> None:
        core = msgspec.structs.replace(endpoint, sessions={})
        self._store.put("endpoint", phone, msgspec.msgpack.encode(core))

    def _save_session(self, phone: str, endpoint: Endpoint, address: Jid) -> None:
        sessions = endpoint.sessions.get(str(address), [])
        self._store.put("session", f"{phone}/{address}", msgspec.msgpack.encode(sessions))
