"""Addresses as COPY fields, remembered: of the addresses of a ledger most were in the ledgers before."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Self

from schemas.strkey import storage_form
from sinks.timescale import binary
from sinks.timescale.binary import NULL, Field

MAX_REMEMBERED: Final = 1 << 16
_SIGN_BIT: Final = 1 << 63


class AddressFields(dict[bytes | None, Field]):
    """The 33-byte column of an address, NULL for None."""

    def ready(self) -> Self:
        """Forget everything once there is too much of it. Call it between ledgers."""
        if len(self) > MAX_REMEMBERED:
            self.clear()
        return self

    def fields(self, addresses: Iterable[bytes | None]) -> list[Field]:
        return [self[address] for address in addresses]

    def __missing__(self, address: bytes | None) -> Field:
        field = self[address] = self._nothing() if address is None else self._encode(address)
        return field

    def _nothing(self) -> Field:
        return NULL

    def _encode(self, address: bytes) -> Field:
        return binary.raw(storage_form(address).account_id)


class AccountAndNullableId(AddressFields):
    """Two columns: the account, and the id of an M address or NULL."""

    def _nothing(self) -> Field:
        return NULL + NULL

    def _encode(self, address: bytes) -> Field:
        form = storage_form(address)
        return binary.raw(form.account_id) + (NULL if form.muxed_id is None else binary.int64(twos_complement(form.muxed_id)))


class AccountAndId(AddressFields):
    """Two columns: the account, and the id of an M address or 0, because the id is part of a primary key."""

    def _encode(self, address: bytes) -> Field:
        form = storage_form(address)
        return binary.raw(form.account_id) + binary.int64(twos_complement(form.muxed_id or 0))


class SignerFields(AddressFields):
    """Two columns: the signer's key, and what a P (signed payload) signer has after it or NULL."""

    def _nothing(self) -> Field:
        return NULL + NULL

    def _encode(self, address: bytes) -> Field:
        form = storage_form(address)
        return binary.raw(form.account_id) + (NULL if form.payload is None else binary.raw(form.payload))


def twos_complement(unsigned: int) -> int:
    """An unsigned 64-bit number as the bigint with the same bits."""
    return unsigned - (1 << 64) if unsigned & _SIGN_BIT else unsigned
