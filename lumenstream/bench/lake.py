"""Consecutive ledgers for benchmarks and long tests, made of a few real ones in turn.

Every copy is a real LedgerCloseMeta patched in place: sequence, close time, previous ledger hash and header hash (so the chain
holds), and every transaction's sequence number with its new hash wherever the old one stood (so hashes are unique and match
their envelopes). What is not renewed: signatures, the hash of the transaction set and of the result set. Deterministic.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from stellar_sdk import xdr

from lumenstream.xdr import decode_details

_TAG_TX: Final = struct.pack(">i", 2)
_TAG_FEE_BUMP: Final = struct.pack(">i", 5)
_ED25519_KEY_TYPE: Final = struct.pack(">i", 0)
_HASH_BYTES: Final = 32
_COPY_SHIFT: Final = 20
_MAX_SEQUENCE_NUMBER: Final = (1 << 63) - 1


class MadeLedger(NamedTuple):
    sequence: int
    close_time: int
    transactions: int
    data: bytes


class _HashedSpan(NamedTuple):
    """Bytes whose SHA-256 (behind a prefix) is a transaction hash, and the places where that hash stands."""

    prefix: bytes
    start: int
    end: int
    places: tuple[int, ...]


class _Template:
    """A real ledger and the offsets of everything that changes from copy to copy."""

    def __init__(self, data: bytes, network_id: bytes) -> None:
        self.data = data
        meta = xdr.LedgerCloseMeta.from_xdr_bytes(data)
        body = meta.v0 or meta.v1 or meta.v2
        if body is None:
            raise ValueError("a ledger of an unknown version")
        header = body.ledger_header.header
        entry = body.ledger_header.to_xdr_bytes()
        self.hash_at = data.index(entry)
        self.header_at = self.hash_at + _HASH_BYTES
        self.header_size = len(header.to_xdr_bytes())
        self.previous_hash_at = self.header_at + 4
        self.close_time_at = self.previous_hash_at + 2 * _HASH_BYTES
        self.sequence_at = self.previous_hash_at + _HASH_BYTES + len(header.scp_value.to_xdr_bytes()) + 2 * _HASH_BYTES
        if struct.unpack_from(">I", data, self.sequence_at)[0] != header.ledger_seq.uint32:
            raise ValueError("the ledger sequence is not where it should be")
        self.sequence_numbers: list[tuple[int, int]] = []
        self.spans: list[_HashedSpan] = []  # inner transactions before the fee bump around them
        details = decode_details(data, network_id)
        self.transactions = len(details)
        for transaction in details:
            self._find(transaction.envelope_xdr, network_id)

    def _find(self, envelope_xdr: bytes, network_id: bytes) -> None:
        start = self.data.index(envelope_xdr)
        envelope = xdr.TransactionEnvelope.from_xdr_bytes(envelope_xdr)
        if envelope.v0 is not None:
            body = start + 4
            self._sequence_number(body + 32 + 4)
            self._span(network_id + _TAG_TX + _ED25519_KEY_TYPE, body, len(envelope.v0.tx.to_xdr_bytes()))
        elif envelope.v1 is not None:
            self._classic(start + 4, envelope.v1, network_id)
        elif envelope.fee_bump is not None and envelope.fee_bump.tx.inner_tx.v1 is not None:
            outer = start + 4
            inner = outer + len(envelope.fee_bump.tx.fee_source.to_xdr_bytes()) + 8 + 4
            self._classic(inner, envelope.fee_bump.tx.inner_tx.v1, network_id)
            self._span(network_id + _TAG_FEE_BUMP, outer, len(envelope.fee_bump.tx.to_xdr_bytes()))
        else:
            raise ValueError("an envelope of an unknown type")

    def _classic(self, body: int, envelope: xdr.TransactionV1Envelope, network_id: bytes) -> None:
        self._sequence_number(body + len(envelope.tx.source_account.to_xdr_bytes()) + 4)
        self._span(network_id + _TAG_TX, body, len(envelope.tx.to_xdr_bytes()))

    def _sequence_number(self, at: int) -> None:
        self.sequence_numbers.append((at, struct.unpack_from(">q", self.data, at)[0]))

    def _span(self, prefix: bytes, start: int, size: int) -> None:
        digest = hashlib.sha256(prefix + self.data[start : start + size]).digest()
        places, at = [], self.data.find(digest)
        while at >= 0:
            places.append(at)
            at = self.data.find(digest, at + 1)
        if not places:
            raise ValueError(f"transaction {digest.hex()} has no result")
        self.spans.append(_HashedSpan(prefix, start, start + size, tuple(places)))

    def copy(self, sequence: int, close_time: int, previous_hash: bytes, copy: int) -> tuple[bytes, bytes]:
        """The patched ledger and its header hash."""
        data = bytearray(self.data)
        struct.pack_into(">I", data, self.sequence_at, sequence)
        struct.pack_into(">Q", data, self.close_time_at, close_time)
        data[self.previous_hash_at : self.previous_hash_at + _HASH_BYTES] = previous_hash
        if copy:
            for at, number in self.sequence_numbers:
                struct.pack_into(">q", data, at, number + (copy << _COPY_SHIFT) & _MAX_SEQUENCE_NUMBER)
            for span in self.spans:
                digest = hashlib.sha256(span.prefix + bytes(data[span.start : span.end])).digest()
                for place in span.places:
                    data[place : place + _HASH_BYTES] = digest
        header_hash = hashlib.sha256(bytes(data[self.header_at : self.header_at + self.header_size])).digest()
        data[self.hash_at : self.hash_at + _HASH_BYTES] = header_hash
        return bytes(data), header_hash


def make_ledgers(
    real: Sequence[bytes],
    count: int,
    network_id: bytes,
    *,
    first: int = 63_100_000,
    close_time: int = 1_795_219_200,
    seconds_between: int = 5,
) -> Iterator[MadeLedger]:
    """`count` ledgers from sequence `first` on, made of the `real` ones in turn. ValueError when a real one cannot be patched."""
    templates = [_Template(data, network_id) for data in real]
    previous_hash = hashlib.sha256(b"before the first made ledger").digest()
    for index in range(count):
        template = templates[index % len(templates)]
        closed = close_time + index * seconds_between
        data, previous_hash = template.copy(first + index, closed, previous_hash, index // len(templates))
        yield MadeLedger(first + index, closed, template.transactions, data)
