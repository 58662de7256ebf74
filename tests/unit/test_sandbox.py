"""The generated chain, checked from the outside: everything is decoded with stellar_sdk and recomputed from the bytes."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice, pairwise

import pytest
from stellar_sdk import Asset, FeeBumpTransactionEnvelope, Keypair, StrKey, TransactionEnvelope, xdr

from sandbox import ClosedLedger, Sandbox, SandboxSettings

SETTINGS = SandboxSettings(seed=7, accounts=30)
LEDGERS = 40
ChangeType = xdr.LedgerEntryChangeType
Code = xdr.TransactionResultCode
FAILURES = {Code.txFAILED, Code.txFEE_BUMP_INNER_FAILED}


@dataclass(frozen=True)
class Applied:
    """A transaction of a ledger: its envelope next to what became of it."""

    envelope: xdr.TransactionEnvelope
    processing: xdr.TransactionResultMetaV1

    @property
    def meta(self) -> xdr.TransactionMetaV4:
        found = self.processing.tx_apply_processing.v4
        assert found is not None
        return found

    @property
    def result(self) -> xdr.TransactionResult:
        return self.processing.result.result

    @property
    def inner(self) -> xdr.TransactionV1Envelope:
        if self.envelope.v1 is not None:
            return self.envelope.v1
        assert self.envelope.fee_bump is not None and self.envelope.fee_bump.tx.inner_tx.v1 is not None
        return self.envelope.fee_bump.tx.inner_tx.v1

    @property
    def fee_source(self) -> bytes:
        bump = self.envelope.fee_bump
        return public_key(self.inner.tx.source_account if bump is None else bump.tx.fee_source)

    @property
    def operation_results(self) -> list[xdr.OperationResult]:
        pair = self.result.result.inner_result_pair
        results = self.result.result.results if pair is None else pair.result.result.results
        return list(results or [])


@dataclass(frozen=True)
class Decoded:
    closed: ClosedLedger
    meta: xdr.LedgerCloseMetaV2
    transactions: list[Applied]

    @property
    def header(self) -> xdr.LedgerHeader:
        return self.meta.ledger_header.header


def public_key(muxed: xdr.MuxedAccount) -> bytes:
    if muxed.ed25519 is not None:
        return muxed.ed25519.uint256
    assert muxed.med25519 is not None
    return muxed.med25519.ed25519.uint256


def sdk_envelope(envelope: xdr.TransactionEnvelope) -> TransactionEnvelope | FeeBumpTransactionEnvelope:
    if envelope.fee_bump is not None:
        return FeeBumpTransactionEnvelope.from_xdr(envelope.to_xdr(), SETTINGS.network_passphrase)
    return TransactionEnvelope.from_xdr(envelope.to_xdr(), SETTINGS.network_passphrase)


def set_envelopes(meta: xdr.LedgerCloseMetaV2) -> list[xdr.TransactionEnvelope]:
    assert meta.tx_set.v1_tx_set is not None
    classic, soroban = meta.tx_set.v1_tx_set.phases
    assert soroban.parallel_txs_component is not None
    assert soroban.parallel_txs_component.execution_stages == []
    found = []
    for component in classic.v0_components or []:
        assert component.txs_maybe_discounted_fee is not None
        found += component.txs_maybe_discounted_fee.txs
    return found


def decode(closed: ClosedLedger) -> Decoded:
    meta = xdr.LedgerCloseMeta.from_xdr_bytes(closed.meta).v2
    assert meta is not None
    by_hash = {sdk_envelope(envelope).hash(): envelope for envelope in set_envelopes(meta)}
    transactions = [Applied(by_hash[item.result.transaction_hash.hash], item) for item in meta.tx_processing]
    assert len(transactions) == len(by_hash)
    return Decoded(closed, meta, transactions)


def change_lists(ledger: Decoded) -> Iterator[xdr.LedgerEntryChanges]:
    """Every list of changes in the order they happened: all fees, then transaction by transaction."""
    for transaction in ledger.transactions:
        yield transaction.processing.fee_processing
    for transaction in ledger.transactions:
        yield transaction.meta.tx_changes_before
        for operation in transaction.meta.operations:
            yield operation.changes
        yield transaction.meta.tx_changes_after
        yield transaction.processing.post_tx_apply_fee_processing


def key_of(entry: xdr.LedgerEntry) -> bytes:
    data = entry.data
    if data.account is not None:
        return xdr.LedgerKey(data.type, account=xdr.LedgerKeyAccount(data.account.account_id)).to_xdr_bytes()
    assert data.trust_line is not None
    line = xdr.LedgerKeyTrustLine(data.trust_line.account_id, data.trust_line.asset)
    return xdr.LedgerKey(data.type, trust_line=line).to_xdr_bytes()


def replay(entries: dict[bytes, bytes], changes: xdr.LedgerEntryChanges, sequence: int) -> None:
    """Apply one list, insisting that each STATE is what the ledger held and that updates carry the ledger's number."""
    for change in changes.ledger_entry_changes:
        if change.state is not None:
            assert entries[key_of(change.state)] == change.state.to_xdr_bytes()
        elif change.created is not None:
            assert key_of(change.created) not in entries
            assert change.created.last_modified_ledger_seq.uint32 == sequence
            entries[key_of(change.created)] = change.created.to_xdr_bytes()
        elif change.updated is not None:
            assert change.updated.last_modified_ledger_seq.uint32 == sequence
            assert key_of(change.updated) in entries
            entries[key_of(change.updated)] = change.updated.to_xdr_bytes()
        else:
            assert change.removed is not None
            del entries[change.removed.to_xdr_bytes()]


def genesis_entries() -> dict[bytes, bytes]:
    return Sandbox(SETTINGS).ledger_entries()


def native_total(entries: dict[bytes, bytes]) -> int:
    accounts = (xdr.LedgerEntry.from_xdr_bytes(entry).data.account for entry in entries.values())
    return sum(account.balance.int64 for account in accounts if account is not None)


@pytest.fixture(scope="module")
def network() -> tuple[Sandbox, list[Decoded]]:
    sandbox = Sandbox(SETTINGS)
    return sandbox, [decode(sandbox.close_ledger()) for _ in range(LEDGERS)]


@pytest.fixture(scope="module")
def chain(network: tuple[Sandbox, list[Decoded]]) -> list[Decoded]:
    return network[1]


def transactions_of(chain: list[Decoded]) -> list[Applied]:
    return [transaction for ledger in chain for transaction in ledger.transactions]


def metas(settings: SandboxSettings, count: int) -> list[bytes]:
    sandbox = Sandbox(settings)
    return [sandbox.close_ledger().meta for _ in range(count)]


def test_same_seed_same_bytes() -> None:
    assert metas(SETTINGS, 8) == metas(SandboxSettings(seed=7, accounts=30), 8)


@pytest.mark.parametrize(
    "other",
    [
        SandboxSettings(seed=8, accounts=30),
        SandboxSettings(seed=7, accounts=31),
        SandboxSettings(seed=7, accounts=30, network_passphrase="another network"),
        SandboxSettings(seed=7, accounts=30, start_close_time=0),
    ],
)
def test_other_settings_other_bytes(other: SandboxSettings) -> None:
    assert set(metas(SETTINGS, 3)).isdisjoint(metas(other, 3))


def test_round_trip_through_the_sdk(chain: list[Decoded]) -> None:
    for ledger in chain:
        assert xdr.LedgerCloseMeta.from_xdr_bytes(ledger.closed.meta).to_xdr_bytes() == ledger.closed.meta


def test_first_ledger_is_two_and_clock_moves_by_whole_seconds() -> None:
    sandbox = Sandbox(SandboxSettings(close_seconds=5.2, start_close_time=1_000))
    assert sandbox.latest_sequence == 1
    closed = [sandbox.close_ledger() for _ in range(3)]
    assert [(ledger.sequence, ledger.close_time) for ledger in closed] == [(2, 1_005), (3, 1_010), (4, 1_015)]
    assert sandbox.latest_sequence == 4
    assert SandboxSettings(close_seconds=0.05).step_seconds == 1


def test_resume_regenerates_the_same_chain(chain: list[Decoded]) -> None:
    sandbox = Sandbox(SETTINGS)
    again = list(islice(sandbox.ledgers(first=5), 4))
    assert again == [ledger.closed for ledger in chain[3:7]]
    assert sandbox.latest_sequence == 1


def test_hashes_chain(chain: list[Decoded]) -> None:
    for ledger in chain:
        header = ledger.header
        assert sha256(header.to_xdr_bytes()).digest() == ledger.meta.ledger_header.hash.hash == ledger.closed.hash
        assert header.previous_ledger_hash.hash == ledger.closed.previous_hash
        assert header.scp_value.tx_set_hash.hash == sha256(ledger.meta.tx_set.to_xdr_bytes()).digest()
        assert ledger.meta.tx_set.v1_tx_set is not None
        assert ledger.meta.tx_set.v1_tx_set.previous_ledger_hash.hash == ledger.closed.previous_hash
        results = xdr.TransactionResultSet([item.result for item in ledger.meta.tx_processing])
        assert header.tx_set_result_hash.hash == sha256(results.to_xdr_bytes()).digest()
        assert header.ledger_seq.uint32 == ledger.closed.sequence
        assert header.scp_value.close_time.time_point.uint64 == ledger.closed.close_time
    for before, after in pairwise(chain):
        assert after.closed.previous_hash == before.closed.hash


def test_close_value_is_signed_by_the_validator(chain: list[Decoded]) -> None:
    network_id = sha256(SETTINGS.network_passphrase.encode()).digest()
    value = chain[-1].header.scp_value
    proof = value.ext.lc_value_signature
    assert proof is not None and proof.node_id.node_id.ed25519 is not None
    tag = xdr.EnvelopeType.ENVELOPE_TYPE_SCPVALUE.to_xdr_bytes()
    signed = network_id + tag + value.tx_set_hash.to_xdr_bytes() + value.close_time.to_xdr_bytes()
    Keypair.from_raw_ed25519_public_key(proof.node_id.node_id.ed25519.uint256).verify(signed, proof.signature.signature)


def test_transaction_set_is_sorted_by_hash_and_applied_in_another_order(chain: list[Decoded]) -> None:
    shuffled = 0
    for ledger in chain:
        hashes = [sha256(envelope.to_xdr_bytes()).digest() for envelope in set_envelopes(ledger.meta)]
        assert hashes == sorted(hashes)
        shuffled += [sha256(transaction.envelope.to_xdr_bytes()).digest() for transaction in ledger.transactions] != hashes
    assert shuffled > LEDGERS // 2


def test_every_signature_verifies_and_every_source_signed(chain: list[Decoded]) -> None:
    two_signers = 0
    for transaction in transactions_of(chain):
        inner = transaction.inner
        sources = {public_key(operation.source_account or inner.tx.source_account) for operation in inner.tx.operations}
        layers = [(xdr.TransactionEnvelope(xdr.EnvelopeType.ENVELOPE_TYPE_TX, v1=inner), inner.signatures)]
        wanted = [sources | {public_key(inner.tx.source_account)}]
        if transaction.envelope.fee_bump is not None:
            layers.append((transaction.envelope, transaction.envelope.fee_bump.signatures))
            wanted.append({transaction.fee_source})
        for (envelope, signatures), signers in zip(layers, wanted, strict=True):
            digest = sdk_envelope(envelope).hash()
            assert {signer[-4:] for signer in signers} == {signature.hint.signature_hint for signature in signatures}
            by_hint = {signer[-4:]: Keypair.from_raw_ed25519_public_key(signer) for signer in signers}
            for signature in signatures:
                by_hint[signature.hint.signature_hint].verify(digest, signature.signature.signature)
        two_signers += len(inner.signatures) == 2
    assert two_signers > 0


def test_changes_replay_to_the_sandbox_state(network: tuple[Sandbox, list[Decoded]]) -> None:
    sandbox, chain = network
    entries = genesis_entries()
    for ledger in chain:
        for changes in change_lists(ledger):
            replay(entries, changes, ledger.closed.sequence)
        assert native_total(entries) + ledger.header.fee_pool.int64 == ledger.header.total_coins.int64 == 10**18
    assert entries == sandbox.ledger_entries()
    assert sandbox.fee_pool == chain[-1].header.fee_pool.int64


def test_subentries_and_reserves_hold(network: tuple[Sandbox, list[Decoded]]) -> None:
    sandbox, _ = network
    entries = [xdr.LedgerEntry.from_xdr_bytes(entry).data for entry in sandbox.ledger_entries().values()]
    lines = [entry.trust_line for entry in entries if entry.trust_line is not None]
    owned = Counter(line.account_id.to_xdr_bytes() for line in lines)
    for account in (entry.account for entry in entries if entry.account is not None):
        assert account.num_sub_entries.uint32 == owned[account.account_id.to_xdr_bytes()]
        assert account.balance.int64 >= (2 + account.num_sub_entries.uint32) * 5_000_000
    assert all(0 <= line.balance.int64 <= line.limit.int64 for line in lines)


def test_fees_are_the_base_fee_per_operation_and_taken_from_the_fee_source(chain: list[Decoded]) -> None:
    for transaction in transactions_of(chain):
        is_bump = transaction.envelope.fee_bump is not None
        charged = transaction.result.fee_charged.int64
        assert charged == 100 * (len(transaction.inner.tx.operations) + is_bump)
        state, updated = transaction.processing.fee_processing.ledger_entry_changes
        assert state.state is not None and state.state.data.account is not None
        assert updated.updated is not None and updated.updated.data.account is not None
        before, after = state.state.data.account, updated.updated.data.account
        assert before.balance.int64 - after.balance.int64 == charged
        assert before.seq_num.sequence_number.int64 == after.seq_num.sequence_number.int64
        key = after.account_id.account_id.ed25519
        assert key is not None and key.uint256 == transaction.fee_source


def test_sequence_numbers_follow_and_are_stamped(chain: list[Decoded]) -> None:
    latest: dict[bytes, int] = {}
    for ledger in chain:
        for transaction in ledger.transactions:
            source = public_key(transaction.inner.tx.source_account)
            sequence = transaction.inner.tx.seq_num.sequence_number.int64
            if source in latest:
                assert sequence == latest[source] + 1
            latest[source] = sequence
            changes = transaction.meta.tx_changes_before.ledger_entry_changes
            assert [change.type for change in changes] == [ChangeType.LEDGER_ENTRY_STATE, ChangeType.LEDGER_ENTRY_UPDATED] * (
                2 if transaction.envelope.fee_bump is not None else 1
            )
            bumped = changes[-1].updated
            assert bumped is not None and bumped.data.account is not None
            assert bumped.data.account.seq_num.sequence_number.int64 == sequence
            assert bumped.data.account.ext.v1 is not None and bumped.data.account.ext.v1.ext.v2 is not None
            stamp = bumped.data.account.ext.v1.ext.v2.ext.v3
            assert stamp is not None
            assert stamp.seq_ledger.uint32 == ledger.closed.sequence
            assert stamp.seq_time.time_point.uint64 == ledger.closed.close_time


def test_failures_have_operation_results_and_no_operation_metas(chain: list[Decoded]) -> None:
    codes: Counter[str] = Counter()
    mixed = 0
    for transaction in transactions_of(chain):
        count = len(transaction.inner.tx.operations)
        assert len(transaction.operation_results) == count
        if transaction.result.result.code not in FAILURES:
            assert len(transaction.meta.operations) == count
            continue
        assert transaction.meta.operations == []
        assert len(transaction.meta.events) == 1
        outcomes = [result.tr.to_json() for result in transaction.operation_results if result.tr is not None]
        codes.update(outcomes)
        mixed += 1 < count != sum("success" not in outcome for outcome in outcomes)
    failing = {code for code in codes if "success" not in code}
    for wanted in ("no_trust", "src_no_trust", "underfunded", "no_destination", "line_full", "low_reserve", "already_exist"):
        assert any(wanted in code for code in failing), wanted
    assert mixed > 0


def test_traffic_has_every_shape(chain: list[Decoded]) -> None:
    transactions = transactions_of(chain)
    kinds = Counter(operation.body.type for transaction in transactions for operation in transaction.inner.tx.operations)
    assert set(kinds) == {
        xdr.OperationType.CREATE_ACCOUNT,
        xdr.OperationType.PAYMENT,
        xdr.OperationType.CHANGE_TRUST,
    }
    codes = Counter(transaction.result.result.code for transaction in transactions)
    assert set(codes) == {Code.txSUCCESS, Code.txFEE_BUMP_INNER_SUCCESS, *FAILURES}
    assert codes[Code.txFAILED] + codes[Code.txFEE_BUMP_INNER_FAILED] < len(transactions) // 5
    memos = {transaction.inner.tx.memo.type for transaction in transactions}
    assert memos == set(xdr.MemoType)
    payments = [op.body.payment_op for transaction in transactions for op in transaction.inner.tx.operations]
    assert any(payment is not None and payment.destination.med25519 is not None for payment in payments)
    assert any(transaction.inner.tx.source_account.med25519 is not None for transaction in transactions)
    changes = [change for ledger in chain for changes in change_lists(ledger) for change in changes.ledger_entry_changes]
    assert {change.type for change in changes} == {
        ChangeType.LEDGER_ENTRY_STATE,
        ChangeType.LEDGER_ENTRY_CREATED,
        ChangeType.LEDGER_ENTRY_UPDATED,
        ChangeType.LEDGER_ENTRY_REMOVED,
    }


def test_fee_bumps_hold_the_inner_pair(chain: list[Decoded]) -> None:
    bumps = [transaction for transaction in transactions_of(chain) if transaction.envelope.fee_bump is not None]
    assert bumps
    for transaction in bumps:
        pair = transaction.result.result.inner_result_pair
        assert pair is not None
        inner = xdr.TransactionEnvelope(xdr.EnvelopeType.ENVELOPE_TYPE_TX, v1=transaction.inner)
        assert pair.transaction_hash.hash == sdk_envelope(inner).hash()
        assert transaction.processing.result.transaction_hash.hash == sdk_envelope(transaction.envelope).hash()


def event_parts(event: xdr.ContractEvent) -> tuple[bytes, list[str], xdr.SCVal]:
    """Contract id, topics as text, data."""
    assert event.contract_id is not None and event.body.v0 is not None
    topics = []
    for topic in event.body.v0.topics:
        if topic.sym is not None:
            topics.append(topic.sym.sc_symbol.decode())
        elif topic.str is not None:
            topics.append(topic.str.sc_string.decode())
        else:
            assert topic.address is not None and topic.address.account_id is not None
            key = topic.address.account_id.account_id.ed25519
            assert key is not None
            topics.append(StrKey.encode_ed25519_public_key(key.uint256))
    return event.contract_id.contract_id.hash, topics, event.body.v0.data


def strkey(key: bytes) -> str:
    return StrKey.encode_ed25519_public_key(key)


def expected_topics(transaction: Applied, operation: xdr.Operation) -> list[str]:
    """The rule of CAP-67, read off the operation; empty for one that moves nothing."""
    source = strkey(public_key(operation.source_account or transaction.inner.tx.source_account))
    if operation.body.create_account_op is not None:
        created = operation.body.create_account_op.destination.account_id.ed25519
        assert created is not None
        return ["transfer", source, strkey(created.uint256), "native"]
    if operation.body.payment_op is None:
        return []
    asset = Asset.from_xdr_object(operation.body.payment_op.asset)
    destination = strkey(public_key(operation.body.payment_op.destination))
    name = "native" if asset.is_native() else f"{asset.code}:{asset.issuer}"
    if source == asset.issuer:
        return ["mint", destination, name]
    if destination == asset.issuer:
        return ["burn", source, name]
    return ["transfer", source, destination, name]


def test_events_follow_from_the_operations(chain: list[Decoded]) -> None:
    names: Counter[str] = Counter()
    for transaction in transactions_of(chain):
        for operation, meta in zip(transaction.inner.tx.operations, transaction.meta.operations, strict=False):
            expected = expected_topics(transaction, operation)
            assert len(meta.events) == bool(expected)
            for event in meta.events:
                contract, topics, data = event_parts(event)
                assert topics == expected
                code, _, issuer = topics[-1].partition(":")
                asset = Asset(code, issuer) if issuer else Asset.native()
                assert contract == StrKey.decode_contract(asset.contract_id(SETTINGS.network_passphrase))
                names[topics[0]] += 1
                names["with receiver id"] += data.map is not None
    assert set(names) == {"transfer", "mint", "burn", "with receiver id"}
    assert all(names.values())


def test_fee_events_say_what_was_charged(chain: list[Decoded]) -> None:
    for transaction in transactions_of(chain):
        (event,) = transaction.meta.events
        assert event.stage is xdr.TransactionEventStage.TRANSACTION_EVENT_STAGE_BEFORE_ALL_TXS
        contract, topics, data = event_parts(event.event)
        assert contract == StrKey.decode_contract(Asset.native().contract_id(SETTINGS.network_passphrase))
        assert topics == ["fee", strkey(transaction.fee_source)]
        assert data.i128 is not None and data.i128.lo.uint64 == transaction.result.fee_charged.int64


@pytest.mark.parametrize(
    "build",
    [
        lambda: SandboxSettings(accounts=1),
        lambda: SandboxSettings(transactions_per_ledger=-1),
        lambda: SandboxSettings(close_seconds=0),
        lambda: SandboxSettings(network_passphrase=""),
        lambda: SandboxSettings(seed=-1),
        lambda: SandboxSettings(max_queued_operations=-1),
    ],
)
def test_settings_refuse_nonsense(build: Callable[[], SandboxSettings]) -> None:
    with pytest.raises(ValueError):
        build()
