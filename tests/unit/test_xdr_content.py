"""What the rows say about real pubnet ledgers is what stellar_sdk reads from the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stellar_sdk import Asset, StrKey
from stellar_sdk import xdr as sdk

from lumenstream.xdr import decode_details, decode_ledger, rows
from schemas import strkey
from tests.unit.xdr_support import RealLedger, real_ledgers

pytestmark = pytest.mark.timeout(300)

STATE = sdk.LedgerEntryChangeType.LEDGER_ENTRY_STATE
REMOVED = sdk.LedgerEntryChangeType.LEDGER_ENTRY_REMOVED
CREATED = sdk.LedgerEntryChangeType.LEDGER_ENTRY_CREATED
RESTORED = sdk.LedgerEntryChangeType.LEDGER_ENTRY_RESTORED


class Both:
    """One ledger as the SDK reads it, and as rows."""

    def __init__(self, ledger: RealLedger) -> None:
        meta = sdk.LedgerCloseMeta.from_xdr_bytes(ledger.data)
        self.sdk: Any = meta.v0 or meta.v1 or meta.v2
        self.rows = decode_ledger(ledger.data, ledger.network_id)
        self.details = decode_details(ledger.data, ledger.network_id)
        self.network_id = ledger.network_id

    def transactions(self) -> Iterator[tuple[Any, rows.Transaction]]:
        yield from zip(self.sdk.tx_processing, self.rows.transactions, strict=True)

    def with_details(self) -> Iterator[tuple[Any, rows.Transaction, rows.TransactionDetails]]:
        yield from zip(self.sdk.tx_processing, self.rows.transactions, self.details, strict=True)

    def envelopes(self) -> Iterator[Any]:
        if isinstance(self.sdk, sdk.LedgerCloseMetaV0):
            yield from self.sdk.tx_set.txs
            return
        for phase in self.sdk.tx_set.v1_tx_set.phases:
            for component in phase.v0_components or []:
                yield from component.txs_maybe_discounted_fee.txs
            for stage in phase.parallel_txs_component.execution_stages if phase.parallel_txs_component else []:
                for cluster in stage.parallel_tx_execution_stage:
                    yield from cluster.dependent_tx_cluster


@pytest.fixture(scope="module")
def ledgers(shared_ledgers: Path) -> list[Both]:
    return [Both(ledger) for ledger in real_ledgers(shared_ledgers, "pubnet", "lake", "rebuilt")]


def signed_hash(envelope: Any, network_id: bytes) -> bytes:
    """Of the signature payload, built with the SDK's own types."""
    types = sdk.EnvelopeType
    kinds = types.ENVELOPE_TYPE_TX_FEE_BUMP if envelope.fee_bump else types.ENVELOPE_TYPE_TX
    if envelope.v0 is not None:
        v0 = envelope.v0.tx
        source = sdk.MuxedAccount(sdk.CryptoKeyType.KEY_TYPE_ED25519, ed25519=v0.source_account_ed25519)
        kind = sdk.PreconditionType.PRECOND_TIME if v0.time_bounds else sdk.PreconditionType.PRECOND_NONE
        conditions = sdk.Preconditions(kind, time_bounds=v0.time_bounds)
        ext = sdk.TransactionExt(0)
        tx = sdk.Transaction(source, v0.fee, v0.seq_num, conditions, v0.memo, v0.operations, ext)
        tagged = sdk.TransactionSignaturePayloadTaggedTransaction(kinds, tx=tx)
    elif envelope.fee_bump is not None:
        tagged = sdk.TransactionSignaturePayloadTaggedTransaction(kinds, fee_bump=envelope.fee_bump.tx)
    else:
        tagged = sdk.TransactionSignaturePayloadTaggedTransaction(kinds, tx=envelope.v1.tx)
    payload = sdk.TransactionSignaturePayload(sdk.Hash(network_id), tagged)
    return hashlib.sha256(payload.to_xdr_bytes()).digest()


def test_headers(ledgers: list[Both]) -> None:
    for both in ledgers:
        header, entry = both.rows.header, both.sdk.ledger_header
        assert header.sequence == entry.header.ledger_seq.uint32
        assert header.hash == entry.hash.hash == hashlib.sha256(entry.header.to_xdr_bytes()).digest()
        assert header.previous_hash == entry.header.previous_ledger_hash.hash
        assert header.close_time == entry.header.scp_value.close_time.time_point.uint64
        assert header.protocol_version == entry.header.ledger_version.uint32
        assert header.total_coins == entry.header.total_coins.int64
        assert header.fee_pool == entry.header.fee_pool.int64
        assert (header.base_fee, header.base_reserve) == (entry.header.base_fee.uint32, entry.header.base_reserve.uint32)
        assert header.max_tx_set_size == entry.header.max_tx_set_size.uint32
        assert header.tx_set_result_hash == entry.header.tx_set_result_hash.hash
        assert header.bucket_list_hash == entry.header.bucket_list_hash.hash


def test_envelopes_belong_to_their_results(ledgers: list[Both]) -> None:
    fee_bumps = 0
    for both in ledgers:
        by_hash = {signed_hash(envelope, both.network_id): envelope for envelope in both.envelopes()}
        for index, (processed, tx, details) in enumerate(both.with_details(), 1):
            assert tx.order == index
            assert tx.hash == processed.result.transaction_hash.hash
            envelope = by_hash[tx.hash]
            assert details.envelope_xdr == envelope.to_xdr_bytes()
            assert tx.meta_version == processed.tx_apply_processing.v
            inner = envelope
            if envelope.fee_bump:
                fee_bumps += 1
                inner = sdk.TransactionEnvelope(sdk.EnvelopeType.ENVELOPE_TYPE_TX, v1=envelope.fee_bump.tx.inner_tx.v1)
                assert tx.inner_hash == signed_hash(inner, both.network_id)
                assert tx.fee == envelope.fee_bump.tx.fee.int64
                assert tx.fee_source is not None
                assert strkey.encode(tx.fee_source)[0] in "GM"
            else:
                assert (tx.inner_hash, tx.fee_source, tx.inner_result_code) == (None, None, None)
            body = (inner.v1 or inner.v0).tx
            assert tx.seq_num == body.seq_num.sequence_number.int64
            assert tx.memo.type == body.memo.type.value
            assert [op.xdr for op in tx.operations] == [op.to_xdr_bytes() for op in body.operations]
            assert [op.type for op in tx.operations] == [op.body.type.value for op in body.operations]
            soroban = inner.v1.tx.ext.soroban_data if inner.v1 else None
            assert tx.is_soroban == (soroban is not None)
            assert tx.resource_fee == (soroban.resource_fee.int64 if soroban else 0)
    assert fee_bumps > 10


def test_results(ledgers: list[Both]) -> None:
    offers = 0
    for both in ledgers:
        for processed, tx in both.transactions():
            result = processed.result.result
            assert tx.fee_charged == result.fee_charged.int64
            assert tx.result_code == result.result.code.value
            inner = result.result.inner_result_pair
            outcomes = result.result.results
            if inner is not None:
                assert tx.inner_result_code == inner.result.result.code.value
                outcomes = inner.result.result.results
            if outcomes is None:
                assert all(op.result is None for op in tx.operations)
                continue
            for outcome, op in zip(outcomes, tx.operations, strict=True):
                assert op.result is not None
                assert op.result.code == outcome.code.value
                if outcome.tr is None:
                    assert (op.result.type, op.result.inner_code, op.result.value) == (None, None, None)
                    continue
                (body,) = [value for name, value in vars(outcome.tr).items() if name != "type" and value is not None]
                assert (op.result.type, op.result.inner_code) == (outcome.tr.type.value, body.code.value)
                if isinstance(op.result.value, rows.OfferResult):
                    offers += 1
                    assert op.result.value.effect == body.success.offer.effect.value
                    assert len(op.result.value.offers_claimed) == len(body.success.offers_claimed)
    assert offers > 100


def entry_key(entry: Any) -> bytes:
    """XDR of a ledger entry's key, put together by the SDK."""
    data, kind = entry.data, entry.data.type
    types = sdk.LedgerEntryType
    made: dict[Any, Any] = {
        types.ACCOUNT: lambda: {"account": sdk.LedgerKeyAccount(data.account.account_id)},
        types.TRUSTLINE: lambda: {"trust_line": sdk.LedgerKeyTrustLine(data.trust_line.account_id, data.trust_line.asset)},
        types.OFFER: lambda: {"offer": sdk.LedgerKeyOffer(data.offer.seller_id, data.offer.offer_id)},
        types.DATA: lambda: {"data": sdk.LedgerKeyData(data.data.account_id, data.data.data_name)},
        types.CLAIMABLE_BALANCE: lambda: {"claimable_balance": sdk.LedgerKeyClaimableBalance(data.claimable_balance.balance_id)},
        types.LIQUIDITY_POOL: lambda: {"liquidity_pool": sdk.LedgerKeyLiquidityPool(data.liquidity_pool.liquidity_pool_id)},
        types.CONTRACT_DATA: lambda: {
            "contract_data": sdk.LedgerKeyContractData(
                data.contract_data.contract, data.contract_data.key, data.contract_data.durability
            )
        },
        types.CONTRACT_CODE: lambda: {"contract_code": sdk.LedgerKeyContractCode(data.contract_code.hash)},
        types.TTL: lambda: {"ttl": sdk.LedgerKeyTtl(data.ttl.key_hash)},
    }
    return bytes(sdk.LedgerKey(kind, **made[kind]()).to_xdr_bytes())


def expected_pairs(changes: Any, of_operation: bool) -> list[tuple[int, Any, Any]]:
    """Spec 1.6, written down once more over the SDK's objects."""
    raw = changes.ledger_entry_changes
    pairs = []
    for position, change in enumerate(raw):
        after = change.created or change.updated or change.restored
        if change.type == STATE:
            continue
        before = None
        if change.type not in (CREATED, RESTORED):
            before = raw[position - 1].state or raw[position - 1].restored
        pairs.append((change.type.value, before, after))
    return sorted(pairs, key=lambda pair: entry_key(pair[1] or pair[2])) if of_operation else pairs


def assert_same_entry(entry: rows.Entry | None, expected: Any) -> None:
    if entry is None or expected is None:
        assert entry is expected
        return
    assert entry.type == expected.data.type.value
    assert entry.last_modified_ledger_seq == expected.last_modified_ledger_seq.uint32
    data, wanted = entry.data, expected.data
    if isinstance(data, rows.AccountEntry):
        key = wanted.account.account_id.account_id.ed25519.uint256
        assert strkey.encode(data.account_id) == StrKey.encode_ed25519_public_key(key)
        assert (data.balance, data.seq_num) == (wanted.account.balance.int64, wanted.account.seq_num.sequence_number.int64)
        assert data.flags == wanted.account.flags.uint32
        assert data.thresholds == wanted.account.thresholds.thresholds
        assert len(data.signers) == len(wanted.account.signers)
    elif isinstance(data, rows.TrustLineEntry):
        line = wanted.trust_line
        assert (data.balance, data.limit, data.flags) == (line.balance.int64, line.limit.int64, line.flags.uint32)
        if data.asset.issuer is not None:
            asset = Asset.from_xdr_object(line.asset)
            assert (data.asset.code, strkey.encode(data.asset.issuer)) == (asset.code, asset.issuer)
        if line.ext.v1 is not None:
            liabilities = line.ext.v1.liabilities
            assert (data.buying_liabilities, data.selling_liabilities) == (
                liabilities.buying.int64,
                liabilities.selling.int64,
            )
    elif isinstance(data, rows.OfferEntry):
        assert (data.offer_id, data.amount) == (wanted.offer.offer_id.int64, wanted.offer.amount.int64)
        assert (data.price.n, data.price.d) == (wanted.offer.price.n.int32, wanted.offer.price.d.int32)
    elif isinstance(data, rows.LiquidityPoolEntry):
        pool = wanted.liquidity_pool.body.constant_product
        assert (data.reserve_a, data.reserve_b) == (pool.reserve_a.int64, pool.reserve_b.int64)
    elif isinstance(data, rows.TtlEntry):
        assert data.live_until_ledger_seq == wanted.ttl.live_until_ledger_seq.uint32
    elif isinstance(data, rows.ContractDataEntry):
        assert (data.key.type, data.value.type) == (
            wanted.contract_data.key.type.value,
            wanted.contract_data.val.type.value,
        )


def assert_same_changes(found: tuple[rows.Change, ...], changes: Any, of_operation: bool) -> int:
    expected = expected_pairs(changes, of_operation)
    assert [change.kind for change in found] == [kind for kind, _, _ in expected]
    for change, (_, before, after) in zip(found, expected, strict=True):
        assert_same_entry(change.pre, before)
        assert_same_entry(change.post, after)
    return len(expected)


def test_changes(ledgers: list[Both]) -> None:
    compared = 0
    for both in ledgers:
        for processed, tx, details in both.with_details():
            meta = processed.tx_apply_processing
            body = meta.v4 or meta.v3 or meta.v2 or meta.v1
            compared += assert_same_changes(tx.fee_changes, processed.fee_processing, False)
            if meta.v == 1:
                compared += assert_same_changes(details.changes_before, body.tx_changes, False)
            else:
                compared += assert_same_changes(details.changes_before, body.tx_changes_before, False)
                compared += assert_same_changes(tx.changes_after, body.tx_changes_after, False)
            if isinstance(processed, sdk.TransactionResultMetaV1):
                compared += assert_same_changes(tx.post_fee_changes, processed.post_tx_apply_fee_processing, False)
            for op, operation_meta in zip(tx.operations, body.operations, strict=False):
                compared += assert_same_changes(op.changes, operation_meta.changes, True)
    assert compared > 5000


def assert_same_event(event: rows.ContractEvent, expected: Any) -> None:
    assert event.type == expected.type.value
    contract = expected.contract_id
    assert event.contract_id == (None if contract is None else bytes((strkey.CONTRACT,)) + contract.contract_id.hash)
    body = expected.body.v0
    for value, wanted in zip((*event.topics, event.data), (*body.topics, body.data), strict=True):
        assert value.type == wanted.type.value
        if wanted.sym is not None:
            assert value.value == wanted.sym.sc_symbol.decode()
        elif wanted.i128 is not None:
            assert value.value == (wanted.i128.hi.int64 << 64) | wanted.i128.lo.uint64
        elif wanted.address is not None and wanted.address.account_id is not None:
            key = wanted.address.account_id.account_id.ed25519.uint256
            assert value.value == bytes((strkey.ACCOUNT,)) + key


def test_events(ledgers: list[Both]) -> None:
    compared = 0
    for both in ledgers:
        for processed, tx, details in both.with_details():
            v4 = processed.tx_apply_processing.v4
            if v4 is None:
                continue
            for event, expected in zip(details.events, v4.events, strict=True):
                assert event.stage == expected.stage.value
                assert_same_event(event.event, expected.event)
                compared += 1
            for op, operation_meta in zip(tx.operations, v4.operations, strict=False):
                for found, wanted in zip(op.events, operation_meta.events, strict=True):
                    assert_same_event(found, wanted)
                    compared += 1
            returned = v4.soroban_meta.return_value if v4.soroban_meta else None
            assert (details.soroban_return_value is None) == (returned is None)
    assert compared > 2000


def test_contract_ids_of_asset_contracts(shared_ledgers: Path) -> None:
    """A created asset contract has the id that the SDK computes for its asset."""
    found = 0
    for ledger in real_ledgers(shared_ledgers, "stellar-core"):
        for tx in decode_ledger(*ledger[1:]).transactions:
            for op in tx.operations:
                if not isinstance(op.body, rows.InvokeHostFunction) or not isinstance(op.body.function, rows.CreateContract):
                    continue
                preimage = op.body.function.preimage
                if preimage.asset is None or preimage.asset.issuer is None:
                    continue
                asset = Asset(preimage.asset.code, strkey.encode(preimage.asset.issuer))
                assert strkey.encode(preimage.contract_id) == asset.contract_id("(V) (;,,;) (V)")
                found += 1
    assert found > 0
