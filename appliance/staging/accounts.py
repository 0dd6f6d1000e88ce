"""Who exists on the network: accounts with their linked devices, and contacts. Names are made up.

Every phone number that anybody asks for exists: a contact needs no registration, an account is made at its first link.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from typing import Final

import msgspec

from appliance.staging.codec.jid import LID, S_WHATSAPP_NET, Jid
from appliance.staging.control_types import AddAccount, TypingPlan
from appliance.staging.errors import RequestError
from appliance.staging.store import Store

_LID_LOW: Final = 10**14
_LID_RANGE: Final = 9 * 10**14
"""LIDs of the real service have 15 digits or so."""
MIN_DIGITS: Final = 5
MAX_DIGITS: Final = 15
"""Of a phone number with country code (ITU-T E.164); test numbers may be short."""
_NAMES: Final = ("Aminata", "Boubacar", "Chloé", "David", "Élodie", "Fatou", "Gaspard", "Hawa", "Ibrahima", "Jeanne")


def digits_of(phone: str, field: str) -> str:
    """The digits of a phone number. Raises RequestError, naming the field, if it is none."""
    digits = phone.strip().lstrip("+").replace(" ", "")
    if not (digits.isascii() and digits.isdigit() and MIN_DIGITS <= len(digits) <= MAX_DIGITS):
        raise RequestError(f"{field}: not a phone number; write {MIN_DIGITS} to {MAX_DIGITS} digits with country code")
    return digits


def lid_of(phone: str) -> str:
    """The number that hides a phone number: always the same for one phone number."""
    return str(_LID_LOW + int.from_bytes(hashlib.sha256(phone.encode()).digest()[:8]) % _LID_RANGE)


def name_of(phone: str) -> str:
    return f"{_NAMES[int(phone) % len(_NAMES)]} {phone[-3:]}"


class Prekey(msgspec.Struct, frozen=True):
    id: int
    public: bytes


class SignedPrekey(msgspec.Struct, frozen=True):
    id: int
    public: bytes
    signature: bytes


class Device(msgspec.Struct, kw_only=True):
    """A companion device as the server knows it."""

    number: int
    noise_public: bytes
    identity_public: bytes
    registration_id: int
    signed_prekey: SignedPrekey
    details: bytes
    """ADVDeviceIdentity that the phone has signed."""
    linked_at: float
    logged_in_before: bool = False


class Account(msgspec.Struct, kw_only=True):
    """An account: the number, its phone's habits and its linked devices."""

    phone: str
    name: str
    plan: TypingPlan = TypingPlan.TYPE
    delay_min_s: float = 0.0
    delay_max_s: float = 0.0
    history_texts: int = 0
    seed: int | None = None
    last_device: int = 0
    """Device numbers are not used again."""
    devices: dict[int, Device] = {}

    @property
    def lid(self) -> str:
        return lid_of(self.phone)

    def pn_jid(self, device: int = 0) -> Jid:
        return Jid(self.phone, S_WHATSAPP_NET, device)

    def lid_jid(self, device: int = 0) -> Jid:
        return Jid(self.lid, LID, device)


class Directory:
    """Accounts and contacts by number; remembers in the store what cannot be derived."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._accounts: dict[str, Account] = {}
        self._phones: dict[str, str] = {}
        self._prekeys: dict[tuple[str, int], list[Prekey]] = {}

    def load(self) -> None:
        for phone, value in self._store.all("account"):
            account = msgspec.msgpack.decode(value, type=Account)
            self._accounts[phone] = account
            self._phones[account.lid] = phone
            for number in account.devices:
                kept = self._store.get("prekeys", f"{phone}/{number}")
                self._prekeys[phone, number] = msgspec.msgpack.decode(kept, type=list[Prekey]) if kept else []
        for lid, value in self._store.all("phone"):
            self._phones[lid] = value.decode()

    def accounts(self) -> Iterator[Account]:
        yield from self._accounts.values()

    def account(self, phone: str) -> Account | None:
        return self._accounts.get(phone)

    def require(self, phone: str, field: str = "account") -> Account:
        """The account of a number. Raises RequestError, naming the field, if nobody has made it."""
        account = self._accounts.get(digits_of(phone, field))
        if account is None:
            raise RequestError(f"{field}: no account with this number; add it, or link a device to it")
        return account

    def ensure(self, phone: str) -> Account:
        """The account of a number, made now if there is none."""
        account = self._accounts.get(phone)
        if account is None:
            account = Account(phone=phone, name=name_of(phone))
            self._accounts[phone] = account
            self.save(account)
        self.meet(phone)
        return account

    def add(self, request: AddAccount) -> Account:
        """Make an account, or change the habits of one that exists."""
        account = self.ensure(digits_of(request.phone, "phone"))
        if request.delay_min_s < 0 or request.delay_max_s < request.delay_min_s:
            raise RequestError("delay_max_s: less than delay_min_s, or negative; write 0 ≤ delay_min_s ≤ delay_max_s")
        account.name = request.name or account.name
        account.plan, account.seed = request.plan, request.seed
        account.delay_min_s, account.delay_max_s = request.delay_min_s, request.delay_max_s
        account.history_texts = request.history_texts
        self.save(account)
        return account

    def save(self, account: Account) -> None:
        self._store.put("account", account.phone, msgspec.msgpack.encode(account))

    def meet(self, phone: str) -> str:
        """Make sure that the LID of a number can be traced back to it; return the LID."""
        lid = lid_of(phone)
        if lid not in self._phones:
            self._phones[lid] = phone
            self._store.put("phone", lid, phone.encode())
        return lid

    def phone_of(self, jid: Jid) -> str | None:
        """The phone number behind a JID, of whichever kind; None for a LID that nobody has."""
        if jid.server == LID:
            return self._phones.get(jid.user)
        if jid.server in (S_WHATSAPP_NET, "c.us"):
            phone = jid.user.lstrip("+")
            if phone.isascii() and phone.isdigit():
                self.meet(phone)
                return phone
        return None

    # ---- linked devices

    def link(self, account: Account, device: Device) -> None:
        account.devices[device.number] = device
        account.last_device = max(account.last_device, device.number)
        self.save(account)

    def unlink(self, account: Account, number: int) -> None:
        account.devices.pop(number, None)
        self._prekeys.pop((account.phone, number), None)
        self._store.delete("prekeys", f"{account.phone}/{number}")
        self.save(account)

    def prekey_count(self, phone: str, device: int) -> int:
        return len(self._prekeys.get((phone, device), ()))

    def add_prekeys(self, phone: str, device: int, prekeys: list[Prekey]) -> None:
        known = {prekey.id for prekey in self._prekeys.get((phone, device), ())}
        self._prekeys.setdefault((phone, device), []).extend(p for p in prekeys if p.id not in known)
        self._save_prekeys(phone, device)

    def pop_prekey(self, phone: str, device: int) -> Prekey | None:
        prekeys = self._prekeys.get((phone, device))
        if not prekeys:
            return None
        prekey = prekeys.pop(0)
        self._save_prekeys(phone, device)
        return prekey

    def _save_prekeys(self, phone: str, device: int) -> None:
        content = msgspec.msgpack.encode(self._prekeys.get((phone, device), []))
        self._store.put("prekeys", f"{phone}/{device}", content)


def new_device(
    account: Account, noise_public: bytes, identity_public: bytes, registration_id: int, signed: SignedPrekey
) -> Device:
    """A device with the account's next free number; it is not linked until the directory is told."""
    return Device(
        number=account.last_device + 1,
        noise_public=noise_public,
        identity_public=identity_public,
        registration_id=registration_id,
        signed_prekey=signed,
        details=b"",
        linked_at=time.time(),
    )
