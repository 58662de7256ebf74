"""The ledger's entries, their XDR, and layers of changes over them.

A `Layer` is a set of changes over a parent: read through, written locally, then either committed into the parent or
dropped. The same three levels as in stellar-core are used: ledger, transaction, operation. What a layer holds is what the
meta tells: STATE and UPDATED for an entry that existed, CREATED or REMOVED otherwise.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from stellar_sdk import xdr

from sandbox import wire
from sandbox.envelopes import Asset
from sandbox.settings import BASE_RESERVE_STROOPS

AUTHORIZED = int(xdr.TrustLineFlags.AUTHORIZED_FLAG)

_ACCOUNT = wire.int32(xdr.LedgerEntryType.ACCOUNT)
_TRUSTLINE = wire.int32(xdr.LedgerEntryType.TRUSTLINE)
_MASTER_WEIGHT_ONE = bytes((1, 0, 0, 0))
# Between numSubEntries and the extension: no inflation destination, no flags, no home domain, thresholds, no signers.
_ACCOUNT_MIDDLE = wire.ZERO * 3 + _MASTER_WEIGHT_ONE + wire.ZERO
# Extension v1 (no liabilities), v2 (no sponsorships), v3 up to its own extension point.
_ACCOUNT_EXTENSIONS = b"".join(
    (wire.int32(1), wire.int64(0), wire.int64(0), wire.int32(2), wire.ZERO * 3, wire.int32(3), wire.ZERO)
)


def account_key(account: bytes) -> bytes:
    """LedgerKey XDR of an account; also its key in a layer."""
    return _ACCOUNT + wire.account_id(account)


def trustline_key(account: bytes, asset: Asset) -> bytes:
    return _TRUSTLINE + wire.account_id(account) + asset.xdr


@dataclass(frozen=True, slots=True)
class Account:
    """AccountEntry with the master key as its only signer. `sequence_ledger` 0: it never sent anything (extension v0)."""

    account: bytes
    balance: int
    sequence: int
    subentries: int = 0
    sequence_ledger: int = 0
    sequence_time: int = 0
    last_modified: int = 0

    @property
    def key(self) -> bytes:
        return account_key(self.account)

    @property
    def available(self) -> int:
        """Balance above the reserve, in stroops; there are no liabilities and no sponsorships here."""
        return self.balance - (2 + self.subentries) * BASE_RESERVE_STROOPS

    def encode(self) -> bytes:
        extension = wire.ZERO
        if self.sequence_ledger:
            extension = _ACCOUNT_EXTENSIONS + wire.uint32(self.sequence_ledger) + wire.uint64(self.sequence_time)
        return b"".join(
            (
                wire.uint32(self.last_modified),
                self.key,
                wire.int64(self.balance),
                wire.int64(self.sequence),
                wire.uint32(self.subentries),
                _ACCOUNT_MIDDLE,
                extension,
                wire.ZERO,
            )
        )

    def touched(self, sequence: int) -> Self:
        return replace(self, last_modified=sequence)


@dataclass(frozen=True, slots=True)
class TrustLine:
    account: bytes
    asset: Asset
    balance: int
    limit: int
    flags: int = AUTHORIZED
    last_modified: int = 0

    @property
    def key(self) -> bytes:
        return trustline_key(self.account, self.asset)

    def encode(self) -> bytes:
        amounts = wire.int64(self.balance) + wire.int64(self.limit) + wire.uint32(self.flags)
        return wire.uint32(self.last_modified) + self.key + amounts + wire.ZERO + wire.ZERO

    def touched(self, sequence: int) -> Self:
        return replace(self, last_modified=sequence)


Entry = Account | TrustLine

_STATE = wire.int32(xdr.LedgerEntryChangeType.LEDGER_ENTRY_STATE)
_CREATED = wire.int32(xdr.LedgerEntryChangeType.LEDGER_ENTRY_CREATED)
_UPDATED = wire.int32(xdr.LedgerEntryChangeType.LEDGER_ENTRY_UPDATED)
_REMOVED = wire.int32(xdr.LedgerEntryChangeType.LEDGER_ENTRY_REMOVED)


class Layer:
    """Entries by LedgerKey XDR. The root layer (no parent) is the ledger's state; None in a child marks a removal."""

    def __init__(self, sequence: int, parent: "Layer | None" = None) -> None:
        self.sequence = sequence
        self._parent = parent
        self._entries: dict[bytes, Entry | None] = {}

    def child(self, sequence: int | None = None) -> "Layer":
        return Layer(self.sequence if sequence is None else sequence, self)

    def account(self, account: bytes) -> Account | None:
        entry = self._find(account_key(account))
        return entry if isinstance(entry, Account) else None

    def trustline(self, account: bytes, asset: Asset) -> TrustLine | None:
        entry = self._find(trustline_key(account, asset))
        return entry if isinstance(entry, TrustLine) else None

    def put(self, entry: Entry) -> None:
        """Write an entry, stamped with this layer's ledger; writing it unchanged is what loading does in stellar-core."""
        self._entries[entry.key] = entry.touched(self.sequence)

    def remove(self, key: bytes) -> None:
        self._entries[key] = None

    def commit(self) -> None:
        if self._parent is None:
            raise RuntimeError("the root layer has nothing to commit to")
        target = self._parent._entries
        if self._parent._parent is not None:
            target.update(self._entries)
            return
        for key, entry in self._entries.items():
            if entry is None:
                target.pop(key, None)
            else:
                target[key] = entry

    def entries(self) -> Iterable[Entry]:
        """The entries this very layer holds; of the root layer, all that exist."""
        return (entry for entry in self._entries.values() if entry is not None)

    def changes(self) -> list[bytes]:
        """LedgerEntryChange XDR of everything written here, in the order first written, against the parent."""
        if self._parent is None:
            raise RuntimeError("the root layer has no changes")
        result = []
        for key, after in self._entries.items():
            before = self._parent._find(key)
            if before is not None:
                result.append(_STATE + before.encode())
            if after is not None:
                result.append((_CREATED if before is None else _UPDATED) + after.encode())
            elif before is not None:
                result.append(_REMOVED + key)
        return result

    def _find(self, key: bytes) -> Entry | None:
        layer: Layer | None = self
        while layer is not None:
            if key in layer._entries:
                return layer._entries[key]
            layer = layer._parent
        return None
