"""Heavy ledgers of any size, joined from the transactions of a load test's ledgers: does the cost of a transaction stay flat?

The transactions are drawn from all ledgers with a fixed seed, so that small and big ledgers hold the same mixture. Envelopes
stand in one phase of the set, results and metas in the order drawn; that is enough for decoders, which find envelopes by hash.
What is not renewed: header, and the hashes of the sets.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable
from typing import Final, NamedTuple

from stellar_sdk import xdr

from lumenstream.xdr import decode_details

_SEED: Final = 26
_VERSION: Final = struct.pack(">i", 2)
# A generalized transaction set (1) of one phase of kind 0 with one component of kind 0 without a discounted fee.
_SET_OF_ONE_COMPONENT: Final = struct.pack(">i", 1), struct.pack(">iiiii", 1, 0, 1, 0, 0)


class _Drawn(NamedTuple):
    envelope: bytes
    processed: bytes


class HeavyLedgers:
    """Transactions to draw from. ValueError when a ledger is not a LedgerCloseMeta V2."""

    def __init__(self, ledgers: Iterable[bytes], network_id: bytes) -> None:
        self._drawn: list[_Drawn] = []
        for data in ledgers:
            body = xdr.LedgerCloseMeta.from_xdr_bytes(data).v2
            if body is None:
                raise ValueError("heavy ledgers are joined from LedgerCloseMeta V2")
            details = decode_details(data, network_id)
            self._drawn += [
                _Drawn(tx.envelope_xdr, result.to_xdr_bytes()) for tx, result in zip(details, body.tx_processing, strict=True)
            ]
            tx_set = body.tx_set.v1_tx_set
            if tx_set is None:
                raise ValueError("a transaction set of an unknown version")
            self._front = _VERSION + body.ext.to_xdr_bytes() + body.ledger_header.to_xdr_bytes()
            self._set_hash = tx_set.previous_ledger_hash.to_xdr_bytes()
            self._back = struct.pack(">iiQi", 0, 0, 0, 0)  # no upgrades, no SCP messages, no state size, no evictions
        random.Random(_SEED).shuffle(self._drawn)

    def __len__(self) -> int:
        return len(self._drawn)

    def ledger(self, transactions: int) -> bytes:
        """One LedgerCloseMeta of so many transactions. ValueError when there are not so many."""
        if transactions > len(self._drawn):
            raise ValueError(f"{transactions} transactions of {len(self._drawn)}")
        chosen, count = self._drawn[:transactions], struct.pack(">i", transactions)
        version, component = _SET_OF_ONE_COMPONENT
        envelopes = b"".join(drawn.envelope for drawn in chosen)
        processed = b"".join(drawn.processed for drawn in chosen)
        return b"".join([self._front, version, self._set_hash, component, count, envelopes, count, processed, self._back])
