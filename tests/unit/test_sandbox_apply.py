"""Corners of applying a transaction that the network's own traffic never reaches, and the header's skip list."""

from hashlib import sha256

import pytest
from stellar_sdk import xdr

from sandbox.apply import SandboxError, apply_transaction, charge_fee
from sandbox.envelopes import NATIVE, Envelope, MuxedAccount, Operation, Payment, Transaction, seal
from sandbox.events import EventWriter
from sandbox.meta import skip_list
from sandbox.state import Account, Layer

NETWORK_ID = sha256(b"a network").digest()
ALICE, BOB = b"a" * 32, b"b" * 32
RESERVE = 10_000_000


def pay(amount: int, sequence: int = 6) -> Envelope:
    operation = Operation(Payment(MuxedAccount(BOB), NATIVE, amount))
    return seal(Transaction(MuxedAccount(ALICE), 100, sequence, (operation,)), NETWORK_ID, ())


def ledger_with(balance: int) -> Layer:
    state = Layer(9)
    state.put(Account(ALICE, balance, sequence=5))
    state.put(Account(BOB, RESERVE, sequence=0))
    return state.child(10)


def run(ledger: Layer, envelope: Envelope) -> tuple[xdr.TransactionResult, xdr.TransactionMetaV4]:
    fee = charge_fee(ledger, envelope)
    applied = apply_transaction(ledger, envelope, fee.amount, 1_000, EventWriter(NETWORK_ID))
    meta = xdr.TransactionMeta.from_xdr_bytes(applied.meta).v4
    assert meta is not None
    return xdr.TransactionResultPair.from_xdr_bytes(applied.result_pair).result, meta


def test_fee_that_eats_into_the_reserve_stops_the_transaction_but_takes_the_sequence() -> None:
    ledger = ledger_with(RESERVE + 50)
    result, meta = run(ledger, pay(1))
    assert result.result.code is xdr.TransactionResultCode.txINSUFFICIENT_BALANCE
    assert meta.operations == []
    account = ledger.account(ALICE)
    assert account is not None
    assert (account.balance, account.sequence, account.sequence_ledger) == (RESERVE - 50, 6, 10)


def test_fee_is_never_more_than_the_account_holds() -> None:
    ledger = ledger_with(30)
    result, _ = run(ledger, pay(1))
    assert result.fee_charged.int64 == 30
    account = ledger.account(ALICE)
    assert account is not None and account.balance == 0


def test_failed_transaction_leaves_nothing_of_its_successful_operations() -> None:
    good = Operation(Payment(MuxedAccount(BOB), NATIVE, 7))
    bad = Operation(Payment(MuxedAccount(b"c" * 32), NATIVE, 7))
    envelope = seal(Transaction(MuxedAccount(ALICE), 300, 6, (good, bad, good)), NETWORK_ID, ())
    ledger = ledger_with(RESERVE * 2)
    result, meta = run(ledger, envelope)
    assert result.result.results is not None
    codes = [item.tr.payment_result.code for item in result.result.results if item.tr and item.tr.payment_result]
    success = xdr.PaymentResultCode.PAYMENT_SUCCESS
    assert codes == [success, xdr.PaymentResultCode.PAYMENT_NO_DESTINATION, success]
    assert meta.operations == []
    bob = ledger.account(BOB)
    assert bob is not None and bob.balance == RESERVE and bob.last_modified == 9


def test_operations_see_what_earlier_ones_did() -> None:
    operations = (
        Operation(Payment(MuxedAccount(BOB), NATIVE, RESERVE)),
        Operation(Payment(MuxedAccount(ALICE), NATIVE, RESERVE), MuxedAccount(BOB)),
    )
    ledger = ledger_with(RESERVE * 2 + 200)
    result, meta = run(ledger, seal(Transaction(MuxedAccount(ALICE), 200, 6, operations), NETWORK_ID, ()))
    assert result.result.code is xdr.TransactionResultCode.txSUCCESS
    assert [len(operation.changes.ledger_entry_changes) for operation in meta.operations] == [4, 4]


def test_payment_of_lumens_to_oneself_changes_nothing() -> None:
    envelope = seal(
        Transaction(MuxedAccount(ALICE), 100, 6, (Operation(Payment(MuxedAccount(ALICE), NATIVE, 1 << 62)),)), NETWORK_ID, ()
    )
    result, meta = run(ledger_with(RESERVE + 100), envelope)
    assert result.result.code is xdr.TransactionResultCode.txSUCCESS
    assert meta.operations[0].changes.ledger_entry_changes == []


def test_wrong_sequence_number_in_a_set_is_a_defect() -> None:
    with pytest.raises(SandboxError, match="has sequence 9, not 6"):
        run(ledger_with(RESERVE * 2), pay(1, sequence=9))


def test_account_without_a_sent_transaction_has_no_extension() -> None:
    entry = xdr.LedgerEntry.from_xdr_bytes(Account(ALICE, 5, sequence=1).encode())
    assert entry.data.account is not None and entry.data.account.ext.v == 0


@pytest.mark.parametrize(
    ("sequence", "moved"),
    [(49, 0), (50, 1), (5_000, 1), (5_050, 2), (10_050, 2), (55_050, 3), (105_050, 3), (555_050, 4), (605_050, 3)],
)
def test_skip_list_moves_older_hashes_at_wider_intervals(sequence: int, moved: int) -> None:
    old = (b"0" * 32, b"1" * 32, b"2" * 32, b"3" * 32)
    new = b"n" * 32
    expected = (new, *old)[:moved] + old[moved:] if moved else old
    assert skip_list(old, sequence, new) == expected
