"""The sandbox's apply order against the public network's: real transaction sets must come out as they were applied."""

import gzip
from hashlib import sha256
from pathlib import Path

import pytest
from stellar_sdk import xdr

from sandbox.envelopes import Envelope, MuxedAccount, Transaction
from sandbox.meta import apply_order

NETWORK_ID = sha256(b"Public Global Stellar Network ; September 2015").digest()


def source_of(transaction: xdr.Transaction) -> bytes:
    muxed = transaction.source_account
    if muxed.ed25519 is not None:
        return muxed.ed25519.uint256
    assert muxed.med25519 is not None
    return muxed.med25519.ed25519.uint256


def envelope_of(raw: xdr.TransactionEnvelope) -> Envelope:
    """As much of an envelope as the order depends on."""
    inner = raw.fee_bump.tx.inner_tx.v1 if raw.fee_bump is not None else raw.v1
    assert inner is not None
    body = raw.fee_bump.tx if raw.fee_bump is not None else inner.tx
    digest = sha256(NETWORK_ID + raw.type.to_xdr_bytes() + body.to_xdr_bytes()).digest()
    source = source_of(inner.tx)
    encoded = raw.to_xdr_bytes()
    transaction = Transaction(MuxedAccount(source), 0, inner.tx.seq_num.sequence_number.int64, ())
    return Envelope(transaction, digest, source, 0, digest, encoded, sha256(encoded).digest(), raw.fee_bump is not None)


@pytest.mark.golden
@pytest.mark.parametrize("sequence", [51000294, 57500008, 63092990])
def test_real_sets_come_out_in_the_order_they_were_applied(shared_ledgers: Path, sequence: int) -> None:
    packed = (shared_ledgers / "pubnet" / f"ledger-{sequence}.xdr.gz").read_bytes()
    meta = xdr.LedgerCloseMeta.from_xdr_bytes(gzip.decompress(packed))
    ledger = meta.v2 or meta.v1
    assert ledger is not None and ledger.tx_set.v1_tx_set is not None
    envelopes = [
        envelope_of(raw)
        for component in ledger.tx_set.v1_tx_set.phases[0].v0_components or []
        if component.txs_maybe_discounted_fee is not None
        for raw in component.txs_maybe_discounted_fee.txs
    ]
    ordered = apply_order(envelopes, ledger.ledger_header.header.scp_value.tx_set_hash.hash)
    applied = [item.result.transaction_hash.hash for item in ledger.tx_processing]
    assert len(ordered) > 200
    assert [envelope.hash for envelope in ordered] == applied[: len(ordered)]
