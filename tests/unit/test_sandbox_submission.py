"""Transactions from outside: built and signed with stellar_sdk, submitted to a network that generates none of its own."""

from decimal import Decimal
from hashlib import sha256

import pytest
from stellar_sdk import Account, Asset, FeeBumpTransactionEnvelope, Keypair, MuxedAccount, TransactionBuilder, TransactionEnvelope
from stellar_sdk import xdr as stellar_xdr

from sandbox import Sandbox, SandboxSettings, SubmissionRefused

SETTINGS = SandboxSettings(transactions_per_ledger=0, max_queued_operations=6)
PASSPHRASE = SETTINGS.network_passphrase
ROOT = Keypair.from_raw_ed25519_seed(sha256(PASSPHRASE.encode()).digest())


class Bench:
    """A quiet network, and sequence numbers kept as a wallet would."""

    def __init__(self, settings: SandboxSettings = SETTINGS) -> None:
        self.sandbox = Sandbox(settings)
        self.accounts = {ROOT.public_key: Account(ROOT.public_key, 0)}

    def builder(self, source: Keypair, base_fee: int = 100) -> TransactionBuilder:
        return TransactionBuilder(self.accounts[source.public_key], PASSPHRASE, base_fee=base_fee)

    def send(self, builder: TransactionBuilder, *signers: Keypair) -> bytes:
        return self.sandbox.submit(signed(builder, *signers).to_xdr())

    def create(self, *keys: Keypair, balance: str = "100") -> None:
        builder = self.builder(ROOT)
        for key in keys:
            builder.append_create_account_op(key.public_key, balance)
        self.send(builder, ROOT)
        self.close()
        for key in keys:
            self.accounts[key.public_key] = Account(key.public_key, self.sandbox.latest_sequence << 32)

    def close(self) -> list[stellar_xdr.TransactionResultMetaV1]:
        meta = stellar_xdr.LedgerCloseMeta.from_xdr_bytes(self.sandbox.close_ledger().meta).v2
        assert meta is not None
        return meta.tx_processing

    def outcome(self, builder: TransactionBuilder, *signers: Keypair) -> list[str]:
        """Send, close, and tell the operation results in short."""
        digest = self.send(builder, *signers)
        (processing,) = self.close()
        assert processing.result.transaction_hash.hash == digest
        results = processing.result.result.result.results
        assert results is not None
        return [result.tr.to_json() if result.tr is not None else result.code.name for result in results]


def signed(builder: TransactionBuilder, *signers: Keypair) -> TransactionEnvelope:
    envelope = builder.set_timeout(0).build()
    for signer in signers:
        envelope.sign(signer)
    return envelope


def refusal(bench: Bench, envelope: TransactionEnvelope | FeeBumpTransactionEnvelope | str) -> str:
    with pytest.raises(SubmissionRefused) as caught:
        bench.sandbox.submit(envelope if isinstance(envelope, str) else envelope.to_xdr())
    return caught.value.code


def key(index: int) -> Keypair:
    return Keypair.from_raw_ed25519_seed(bytes([index]) * 32)


ALICE, BOB, ISSUER = key(1), key(2), key(3)
POINT = Asset("POINT", ISSUER.public_key)


def payment(asset: str, code: str) -> str:
    return f'{{"{asset}": "{code}"}}'


def test_quiet_network_closes_empty_ledgers() -> None:
    bench = Bench()
    assert bench.close() == []
    assert bench.sandbox.latest_sequence == 2


def test_submitted_transaction_is_applied_with_its_hash() -> None:
    bench = Bench()
    envelope = signed(bench.builder(ROOT).append_create_account_op(ALICE.public_key, "100"), ROOT)
    assert bench.sandbox.submit(envelope.to_xdr()) == envelope.hash()
    (processing,) = bench.close()
    assert processing.result.transaction_hash.hash == envelope.hash()
    assert processing.result.result.result.code is stellar_xdr.TransactionResultCode.txSUCCESS


def test_life_of_a_trustline() -> None:
    bench = Bench()
    bench.create(ALICE, BOB, ISSUER)
    asset = POINT
    alice, issuer = ALICE.public_key, ISSUER.public_key
    trusted, paid = payment("change_trust", "success"), payment("payment", "success")

    def alone(builder: TransactionBuilder, signer: Keypair) -> str:
        (result,) = bench.outcome(builder, signer)
        return result

    send = bench.builder
    assert alone(send(ISSUER).append_payment_op(alice, asset, "5"), ISSUER) == payment("payment", "no_trust")
    assert alone(send(ALICE).append_change_trust_op(asset, "0"), ALICE) == payment("change_trust", "invalid_limit")
    assert alone(send(ALICE).append_change_trust_op(asset, "10"), ALICE) == trusted
    assert alone(send(ISSUER).append_payment_op(alice, asset, "11"), ISSUER) == payment("payment", "line_full")
    assert alone(send(ISSUER).append_payment_op(alice, asset, "10"), ISSUER) == paid
    assert alone(send(ALICE).append_change_trust_op(asset, "9"), ALICE) == payment("change_trust", "invalid_limit")
    assert alone(send(BOB).append_payment_op(alice, asset, "1"), BOB) == payment("payment", "line_full")
    assert alone(send(ALICE).append_payment_op(issuer, asset, "4"), ALICE) == paid
    assert alone(send(BOB).append_payment_op(alice, asset, "1"), BOB) == payment("payment", "src_no_trust")
    assert alone(send(ALICE).append_payment_op(BOB.public_key, asset, "1"), ALICE) == payment("payment", "no_trust")
    assert alone(send(ALICE).append_payment_op(issuer, asset, "7"), ALICE) == payment("payment", "underfunded")
    back_and_close = send(ALICE).append_payment_op(issuer, asset, "6").append_change_trust_op(asset, "0")
    assert bench.outcome(back_and_close, ALICE) == [paid, trusted]
    keys = [stellar_xdr.LedgerKey.from_xdr_bytes(entry).type for entry in bench.sandbox.ledger_entries()]
    assert stellar_xdr.LedgerEntryType.TRUSTLINE not in keys


def test_reserves_are_kept() -> None:
    bench = Bench()
    bench.create(ALICE, balance="1.4")
    bench.create(ISSUER)
    low = bench.builder(ALICE).append_change_trust_op(POINT, "10")
    assert bench.outcome(low, ALICE) == [payment("change_trust", "low_reserve")]
    too_much = bench.builder(ALICE).append_payment_op(ROOT.public_key, Asset.native(), "0.4")
    assert bench.outcome(too_much, ALICE) == [payment("payment", "underfunded")]
    all_of_it = Decimal("0.4") - 3 * Decimal("0.00001")
    rest = bench.builder(ALICE).append_payment_op(ROOT.public_key, Asset.native(), all_of_it)
    assert bench.outcome(rest, ALICE) == [payment("payment", "success")]
    assert refusal(bench, signed(bench.builder(ALICE).append_payment_op(ROOT.public_key, Asset.native(), "1"), ALICE)) == (
        "txINSUFFICIENT_BALANCE"
    )
    tiny = bench.builder(ROOT).append_create_account_op(key(9).public_key, "0.9")
    assert bench.outcome(tiny, ROOT) == [payment("create_account", "low_reserve")]


def test_unknown_issuer_and_unknown_operation_source() -> None:
    bench = Bench()
    bench.create(ALICE)
    strange = Asset("NONE", key(8).public_key)
    line = bench.builder(ALICE).append_change_trust_op(strange, "10")
    assert bench.outcome(line, ALICE) == [payment("change_trust", "no_issuer")]
    nobody = key(7)
    from_nobody = bench.builder(ALICE).append_payment_op(ALICE.public_key, Asset.native(), "1", source=nobody.public_key)
    assert bench.outcome(from_nobody, ALICE, nobody) == ["opNO_ACCOUNT"]


def test_refusals_by_code() -> None:
    bench = Bench()
    bench.create(ALICE, BOB)
    native = Asset.native()

    def pay(fee: int = 100, amount: str = "1") -> TransactionBuilder:
        source = Account(ALICE.public_key, bench.accounts[ALICE.public_key].sequence)
        return TransactionBuilder(source, PASSPHRASE, base_fee=fee).append_payment_op(BOB.public_key, native, amount)

    late = pay().add_time_bounds(0, SETTINGS.start_close_time).build()
    late.sign(ALICE)
    early = pay().add_time_bounds(SETTINGS.start_close_time + 1_000, 0).build()
    early.sign(ALICE)
    stranger = Account(key(9).public_key, 0)
    from_stranger = TransactionBuilder(stranger, PASSPHRASE).append_payment_op(BOB.public_key, native, "1")
    old = TransactionBuilder(Account(ALICE.public_key, 5), PASSPHRASE).append_payment_op(BOB.public_key, native, "1")
    own_line = Asset("SELF", ALICE.public_key)
    assert refusal(bench, "AAAA") == "txNOT_SUPPORTED"
    assert refusal(bench, "A" * 100_000) == "txNOT_SUPPORTED"
    assert refusal(bench, signed(pay(), BOB)) == "txBAD_AUTH"
    assert refusal(bench, signed(pay())) == "txBAD_AUTH"
    assert refusal(bench, signed(pay(), ALICE, BOB)) == "txBAD_AUTH_EXTRA"
    assert refusal(bench, signed(pay(fee=99), ALICE)) == "txINSUFFICIENT_FEE"
    assert refusal(bench, signed(pay().append_change_trust_op(own_line, "1"), ALICE)) == "txFAILED"
    assert refusal(bench, signed(pay().set_min_sequence_number(1), ALICE)) == "txNOT_SUPPORTED"
    assert refusal(bench, signed(pay().append_bump_sequence_op(1), ALICE)) == "txNOT_SUPPORTED"
    assert refusal(bench, late) == "txTOO_LATE"
    assert refusal(bench, early) == "txTOO_EARLY"
    assert refusal(bench, signed(from_stranger, key(9))) == "txNO_ACCOUNT"
    assert refusal(bench, signed(old, ALICE)) == "txBAD_SEQ"
    assert bench.close() == []


def test_wrong_network_is_a_bad_signature() -> None:
    bench = Bench()
    foreign = TransactionBuilder(Account(ROOT.public_key, 0), "Some other network")
    assert refusal(bench, signed(foreign.append_create_account_op(ALICE.public_key, "10"), ROOT)) == "txBAD_AUTH"


def test_queue_is_bounded_and_frees_itself() -> None:
    """Guards memory: what does not fit in the next ledger is refused, not kept."""
    bench = Bench()

    def three_creations(first: int) -> TransactionEnvelope:
        builder = bench.builder(ROOT)
        for index in range(first, first + 3):
            builder.append_create_account_op(key(index).public_key, "10")
        return signed(builder, ROOT)

    first = three_creations(10)
    bench.sandbox.submit(first.to_xdr())
    assert refusal(bench, first) == "TRY_AGAIN_LATER"
    bench.sandbox.submit(three_creations(20).to_xdr())
    third = three_creations(30)
    assert refusal(bench, third) == "TRY_AGAIN_LATER"
    assert len(bench.close()) == 2
    bench.sandbox.submit(third.to_xdr())
    assert len(bench.close()) == 1


def test_fee_bump_from_outside() -> None:
    bench = Bench()
    bench.create(ALICE, BOB)
    inner = signed(bench.builder(ALICE).append_payment_op(BOB.public_key, Asset.native(), "1"), ALICE)
    cheap = TransactionBuilder.build_fee_bump_transaction(BOB, 100, inner, PASSPHRASE)
    unsigned = cheap.to_xdr()
    cheap.sign(BOB)
    assert refusal(bench, unsigned) == "txBAD_AUTH"
    assert bench.sandbox.submit(cheap.to_xdr()) == cheap.hash()
    assert refusal(bench, inner) == "TRY_AGAIN_LATER"
    (processing,) = bench.close()
    assert processing.result.result.fee_charged.int64 == 200
    assert processing.result.result.result.code is stellar_xdr.TransactionResultCode.txFEE_BUMP_INNER_SUCCESS


def test_muxed_accounts_memo_and_several_in_one_ledger() -> None:
    bench = Bench()
    bench.create(ALICE, BOB)
    for memo in ("one", "two"):
        builder = bench.builder(ALICE).add_text_memo(memo)
        builder.append_payment_op(MuxedAccount(BOB.public_key, 77), Asset.native(), "1")
        bench.send(builder, ALICE)
    processing = bench.close()
    codes = [item.result.result.result.code for item in processing]
    assert codes == [stellar_xdr.TransactionResultCode.txSUCCESS] * 2


def test_generated_traffic_goes_on_after_submitted_sequence_numbers() -> None:
    """The founding transaction of ledger 2 comes from the root account too, right behind a submitted one."""
    bench = Bench(SandboxSettings(accounts=3))
    bench.send(bench.builder(ROOT).append_create_account_op(ALICE.public_key, "100"), ROOT)
    processing = bench.close()
    assert len(processing) == 2
    assert {item.result.result.result.code for item in processing} == {stellar_xdr.TransactionResultCode.txSUCCESS}
