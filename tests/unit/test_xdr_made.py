"""Shapes that no real ledger at hand shows, made with stellar_sdk: rare operations, pairing of changes, wide values."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from stellar_sdk import xdr as sdk

from lumenstream.xdr import Decoder, LedgerContentError, rows
from tests.unit.xdr_support import decoders, network_id

NETWORK = network_id("unit")
Types = sdk.LedgerEntryChangeType
EACH_DECODER = pytest.mark.parametrize("decoder", decoders(), ids=lambda decoder: decoder.name)
G, T, X, P, M = b"\x30", b"\x98", b"\xb8", b"\x78", b"\x60"


def key(fill: int) -> sdk.Uint256:
    return sdk.Uint256(bytes((fill,)) * 32)


def account_id(fill: int) -> sdk.AccountID:
    return sdk.AccountID(sdk.PublicKey(sdk.PublicKeyType.PUBLIC_KEY_TYPE_ED25519, ed25519=key(fill)))


def muxed(fill: int, number: int | None = None) -> sdk.MuxedAccount:
    kinds = sdk.CryptoKeyType
    if number is None:
        return sdk.MuxedAccount(kinds.KEY_TYPE_ED25519, ed25519=key(fill))
    med25519 = sdk.MuxedAccountMed25519(sdk.Uint64(number), key(fill))
    return sdk.MuxedAccount(kinds.KEY_TYPE_MUXED_ED25519, med25519=med25519)


def entry(fill: int, balance: int) -> sdk.LedgerEntry:
    account = sdk.AccountEntry(
        account_id(fill), sdk.Int64(balance), sdk.SequenceNumber(sdk.Int64(1)), sdk.Uint32(0), None, sdk.Uint32(0),
        sdk.String32(b"example.org"), sdk.Thresholds(b"\1\0\0\0"), [], sdk.AccountEntryExt(0),
    )  # fmt: skip
    return sdk.LedgerEntry(
        sdk.Uint32(balance), sdk.LedgerEntryData(sdk.LedgerEntryType.ACCOUNT, account=account), sdk.LedgerEntryExt(0)
    )


def change(kind: Types, fill: int, balance: int = 0) -> sdk.LedgerEntryChange:
    if kind == Types.LEDGER_ENTRY_REMOVED:
        removed = sdk.LedgerKey(sdk.LedgerEntryType.ACCOUNT, account=sdk.LedgerKeyAccount(account_id(fill)))
        return sdk.LedgerEntryChange(kind, removed=removed)
    made_entry = entry(fill, balance)
    match kind:
        case Types.LEDGER_ENTRY_CREATED:
            return sdk.LedgerEntryChange(kind, created=made_entry)
        case Types.LEDGER_ENTRY_UPDATED:
            return sdk.LedgerEntryChange(kind, updated=made_entry)
        case Types.LEDGER_ENTRY_STATE:
            return sdk.LedgerEntryChange(kind, state=made_entry)
        case _:
            return sdk.LedgerEntryChange(kind, restored=made_entry)


def made(
    shared_ledgers: Path,
    *,
    operations: Sequence[sdk.OperationBody] = (),
    source: sdk.MuxedAccount | None = None,
    memo: sdk.Memo | None = None,
    results: Sequence[sdk.OperationResult] | None = None,
    operation_changes: Sequence[sdk.LedgerEntryChange] = (),
    fee_changes: Sequence[sdk.LedgerEntryChange] = (),
    return_value: sdk.SCVal | None = None,
) -> bytes:
    """A LedgerCloseMeta of one transaction, around one of the unit ledgers."""
    data = gzip.decompress((shared_ledgers / "unit" / "unit-1037.xdr.gz").read_bytes())
    meta = sdk.LedgerCloseMeta.from_xdr_bytes(data)
    ledger: Any = meta.v0 or meta.v1 or meta.v2
    bodies = [sdk.Operation(None, body) for body in operations] or [sdk.Operation(None, INFLATION)]
    tx = sdk.Transaction(
        source or muxed(1), sdk.Uint32(100), sdk.SequenceNumber(sdk.Int64(7)),
        sdk.Preconditions(sdk.PreconditionType.PRECOND_NONE), memo or sdk.Memo(sdk.MemoType.MEMO_NONE), bodies,
        sdk.TransactionExt(0),
    )  # fmt: skip
    envelope = sdk.TransactionEnvelope(sdk.EnvelopeType.ENVELOPE_TYPE_TX, v1=sdk.TransactionV1Envelope(tx, []))
    phase = ledger.tx_set.v1_tx_set.phases[0]
    phase.v0_components[0].txs_maybe_discounted_fee.txs = [envelope]
    processed = ledger.tx_processing[0]
    payload = NETWORK + (2).to_bytes(4, "big") + tx.to_xdr_bytes()
    processed.result.transaction_hash = sdk.Hash(hashlib.sha256(payload).digest())
    result = sdk.TransactionResultResult(sdk.TransactionResultCode.txSUCCESS, results=list(results or []))
    processed.result.result.result = result
    processed.fee_processing = sdk.LedgerEntryChanges(list(fee_changes))
    changes = sdk.LedgerEntryChanges(list(operation_changes))
    soroban = sdk.SorobanTransactionMetaV2(sdk.SorobanTransactionMetaExt(0), return_value)
    none = sdk.LedgerEntryChanges([])
    v4 = sdk.TransactionMetaV4(
        sdk.ExtensionPoint(0), none, [sdk.OperationMetaV2(sdk.ExtensionPoint(0), changes, [])], none, soroban, [], []
    )
    processed.tx_apply_processing = sdk.TransactionMeta(4, v4=v4)
    return meta.to_xdr_bytes()


INFLATION = sdk.OperationBody(sdk.OperationType.INFLATION)


def transaction(decoder: Decoder, data: bytes) -> rows.Transaction:
    (found,) = decoder.decode_ledger(data, NETWORK).transactions
    return found


def returned(decoder: Decoder, data: bytes) -> rows.ScVal | None:
    (found,) = decoder.decode_details(data, NETWORK)
    return found.soroban_return_value


@EACH_DECODER
def test_revoke_sponsorship_of_an_entry_and_of_signers(shared_ledgers: Path, decoder: Decoder) -> None:
    kinds, signer_kinds = sdk.RevokeSponsorshipType, sdk.SignerKeyType
    signed_payload = sdk.SignerKeyEd25519SignedPayload(key(6), b"\1\2\3\4\5")
    signers = [
        (sdk.SignerKey(signer_kinds.SIGNER_KEY_TYPE_ED25519, ed25519=key(3)), G + b"\3" * 32),
        (sdk.SignerKey(signer_kinds.SIGNER_KEY_TYPE_PRE_AUTH_TX, pre_auth_tx=key(4)), T + b"\4" * 32),
        (sdk.SignerKey(signer_kinds.SIGNER_KEY_TYPE_HASH_X, hash_x=key(5)), X + b"\5" * 32),
        (
            sdk.SignerKey(signer_kinds.SIGNER_KEY_TYPE_ED25519_SIGNED_PAYLOAD, ed25519_signed_payload=signed_payload),
            P + b"\6" * 32 + b"\0\0\0\5\1\2\3\4\5\0\0\0",
        ),
    ]
    ledger_key = sdk.LedgerKey(sdk.LedgerEntryType.DATA, data=sdk.LedgerKeyData(account_id(2), sdk.String64(b"caf\xe9")))
    revokes = [sdk.RevokeSponsorshipOp(kinds.REVOKE_SPONSORSHIP_LEDGER_ENTRY, ledger_key=ledger_key)]
    for signer_key, _ in signers:
        signer = sdk.RevokeSponsorshipOpSigner(account_id(2), signer_key)
        revokes.append(sdk.RevokeSponsorshipOp(kinds.REVOKE_SPONSORSHIP_SIGNER, signer=signer))
    bodies = [sdk.OperationBody(sdk.OperationType.REVOKE_SPONSORSHIP, revoke_sponsorship_op=op) for op in revokes]
    found = [op.body for op in transaction(decoder, made(shared_ledgers, operations=bodies)).operations]
    account = G + b"\2" * 32
    assert found[0] == rows.RevokeSponsorship(rows.LedgerKey(3, (account, b"caf\xe9")), None, None)
    assert found[1:] == [rows.RevokeSponsorship(None, account, address) for _, address in signers]


@EACH_DECODER
def test_inflation_with_its_payouts(shared_ledgers: Path, decoder: Decoder) -> None:
    payouts = [sdk.InflationPayout(account_id(8), sdk.Int64(5)), sdk.InflationPayout(account_id(9), sdk.Int64(6))]
    inflation = sdk.InflationResult(sdk.InflationResultCode.INFLATION_SUCCESS, payouts=payouts)
    inner = sdk.OperationResultTr(sdk.OperationType.INFLATION, inflation_result=inflation)
    results = [sdk.OperationResult(sdk.OperationResultCode.opINNER, tr=inner)]
    (op,) = transaction(decoder, made(shared_ledgers, operations=[INFLATION], results=results)).operations
    assert op.body == rows.Inflation()
    expected = (rows.InflationPayout(G + b"\x08" * 32, 5), rows.InflationPayout(G + b"\x09" * 32, 6))
    assert op.result == rows.OperationResult(0, 9, 0, expected)


@EACH_DECODER
def test_muxed_source_and_memos(shared_ledgers: Path, decoder: Decoder) -> None:
    largest = 2**64 - 1
    memos = [
        (sdk.Memo(sdk.MemoType.MEMO_TEXT, text=b"gr\xc3\xbc\xc3\x9fe"), rows.Memo(1, "grüße")),
        (sdk.Memo(sdk.MemoType.MEMO_TEXT, text=b"\xff\xfe"), rows.Memo(1, b"\xff\xfe")),
        (sdk.Memo(sdk.MemoType.MEMO_ID, id=sdk.Uint64(largest)), rows.Memo(2, largest)),
        (sdk.Memo(sdk.MemoType.MEMO_HASH, hash=sdk.Hash(b"\1" * 32)), rows.Memo(3, b"\1" * 32)),
        (sdk.Memo(sdk.MemoType.MEMO_RETURN, ret_hash=sdk.Hash(b"\2" * 32)), rows.Memo(4, b"\2" * 32)),
    ]
    for memo, expected in memos:
        found = transaction(decoder, made(shared_ledgers, memo=memo, source=muxed(4, largest - 1)))
        assert found.memo == expected
        assert found.source == M + b"\4" * 32 + (largest - 1).to_bytes(8, "big")


def scval(kind: str, number: int) -> sdk.SCVal:
    """A wide integer of `kind`, split as XDR does."""
    words = [(number >> shift) & (2**64 - 1) for shift in (192, 128, 64, 0)]
    signed = words[0] - 2**64 if words[0] >> 63 else words[0]
    match kind:
        case "u128":
            return sdk.SCVal(sdk.SCValType.SCV_U128, u128=sdk.UInt128Parts(*map(sdk.Uint64, words[2:])))
        case "i128":
            high = words[2] - 2**64 if words[2] >> 63 else words[2]
            return sdk.SCVal(sdk.SCValType.SCV_I128, i128=sdk.Int128Parts(sdk.Int64(high), sdk.Uint64(words[3])))
        case "u256":
            return sdk.SCVal(sdk.SCValType.SCV_U256, u256=sdk.UInt256Parts(*map(sdk.Uint64, words)))
        case _:
            low = [sdk.Uint64(word) for word in words[1:]]
            return sdk.SCVal(sdk.SCValType.SCV_I256, i256=sdk.Int256Parts(sdk.Int64(signed), *low))


@EACH_DECODER
def test_wide_integers_at_their_edges(shared_ledgers: Path, decoder: Decoder) -> None:
    powers = {sign * 2**bits for bits in (31, 32, 63, 64, 127, 128, 255) for sign in (1, -1)}
    edges = {0, 1, -1} | {power + more for power in powers for more in (-1, 0, 1)}
    ranges = {"u128": (0, 2**128), "i128": (-(2**127), 2**127), "u256": (0, 2**256), "i256": (-(2**255), 2**255)}
    for kind, (first, last) in ranges.items():
        numbers = sorted({first, last - 1} | {number for number in edges if first <= number < last})
        vector = sdk.SCVal(sdk.SCValType.SCV_VEC, vec=sdk.SCVec([scval(kind, number) for number in numbers]))
        value = returned(decoder, made(shared_ledgers, return_value=vector))
        assert value is not None
        assert isinstance(value.value, tuple)
        assert [item.value for item in value.value] == numbers, kind


@EACH_DECODER
def test_small_values(shared_ledgers: Path, decoder: Decoder) -> None:
    kinds = sdk.SCValType
    values: list[tuple[sdk.SCVal, rows.ScVal]] = [
        (sdk.SCVal(kinds.SCV_I64, i64=sdk.Int64(-(2**63))), rows.ScVal(6, -(2**63))),
        (sdk.SCVal(kinds.SCV_U64, u64=sdk.Uint64(2**64 - 1)), rows.ScVal(5, 2**64 - 1)),
        (sdk.SCVal(kinds.SCV_I32, i32=sdk.Int32(-1)), rows.ScVal(4, -1)),
        (sdk.SCVal(kinds.SCV_U32, u32=sdk.Uint32(2**32 - 1)), rows.ScVal(3, 2**32 - 1)),
        (sdk.SCVal(kinds.SCV_BOOL, b=True), rows.ScVal(0, True)),
        (sdk.SCVal(kinds.SCV_VEC, vec=None), rows.ScVal(16, None)),
        (sdk.SCVal(kinds.SCV_STRING, str=sdk.SCString(b"\xc3")), rows.ScVal(14, b"\xc3")),
        (sdk.SCVal(kinds.SCV_SYMBOL, sym=sdk.SCSymbol(b"transfer")), rows.ScVal(15, "transfer")),
        (sdk.SCVal(kinds.SCV_STRING, str=sdk.SCString(b"transfer")), rows.ScVal(14, "transfer")),
        (
            sdk.SCVal(kinds.SCV_ERROR, error=sdk.SCError(sdk.SCErrorType.SCE_AUTH, code=sdk.SCErrorCode.SCEC_EXCEEDED_LIMIT)),
            rows.ScVal(2, (9, sdk.SCErrorCode.SCEC_EXCEEDED_LIMIT.value)),
        ),
    ]
    vector = sdk.SCVal(kinds.SCV_VEC, vec=sdk.SCVec([value for value, _ in values]))
    found = returned(decoder, made(shared_ledgers, return_value=vector))
    assert found == rows.ScVal(16, tuple(expected for _, expected in values))


# --- pairing of changes (spec 1.6) ------------------------------------------------------------------------------------

CREATED, UPDATED = Types.LEDGER_ENTRY_CREATED, Types.LEDGER_ENTRY_UPDATED
REMOVED, STATE, RESTORED = Types.LEDGER_ENTRY_REMOVED, Types.LEDGER_ENTRY_STATE, Types.LEDGER_ENTRY_RESTORED
Short = tuple[int, int | None, int | None]


def short(changes: tuple[rows.Change, ...]) -> list[Short]:
    """(kind, balance before, balance after)."""

    def balance(found: rows.Entry | None) -> int | None:
        if found is None:
            return None
        assert isinstance(found.data, rows.AccountEntry)
        return found.data.balance

    return [(found.kind, balance(found.pre), balance(found.post)) for found in changes]


PAIRINGS: dict[str, tuple[list[sdk.LedgerEntryChange], list[Short], list[Short]]] = {
    "state and update": ([change(STATE, 1, 5), change(UPDATED, 1, 6)], [(1, 5, 6)], [(1, 5, 6)]),
    "state and removal": ([change(STATE, 1, 5), change(REMOVED, 1)], [(2, 5, None)], [(2, 5, None)]),
    "restored, then updated": (
        [change(RESTORED, 1, 5), change(UPDATED, 1, 6)],
        [(4, None, 5), (1, 5, 6)],
        [(4, None, 5), (1, 5, 6)],
    ),
    "restored, then removed": (
        [change(RESTORED, 1, 5), change(REMOVED, 1)],
        [(4, None, 5), (2, 5, None)],
        [(4, None, 5), (2, 5, None)],
    ),
    "lone states": (
        [change(STATE, 1, 5), change(STATE, 2, 6), change(CREATED, 3, 7), change(STATE, 4, 8)],
        [(0, None, 7)],
        [(3, 5, None), (3, 6, None), (0, None, 7), (3, 8, None)],
    ),
    "order": (
        [change(CREATED, 9, 1), change(CREATED, 3, 2), change(STATE, 200, 3), change(UPDATED, 200, 4), change(CREATED, 3, 5)],
        [(0, None, 2), (0, None, 5), (0, None, 1), (1, 3, 4)],
        [(0, None, 1), (0, None, 2), (1, 3, 4), (0, None, 5)],
    ),
}


@EACH_DECODER
@pytest.mark.parametrize("name", PAIRINGS)
def test_pairs_of_an_operation_and_of_anything_else(shared_ledgers: Path, decoder: Decoder, name: str) -> None:
    raw, of_operation, elsewhere = PAIRINGS[name]
    found = transaction(decoder, made(shared_ledgers, operation_changes=raw, fee_changes=raw))
    assert short(found.operations[0].changes) == of_operation
    assert short(found.fee_changes) == elsewhere


@EACH_DECODER
@pytest.mark.parametrize("kind", [UPDATED, REMOVED], ids=["update", "removal"])
def test_a_lone_update_or_removal_is_an_error_in_an_operation_only(shared_ledgers: Path, decoder: Decoder, kind: Types) -> None:
    lone = [change(CREATED, 1, 4), change(kind, 2, 5)]
    with pytest.raises(LedgerContentError, match=r"transaction 1 \(.*\), operation 0: an? (update|removal) without the state"):
        decoder.decode_ledger(made(shared_ledgers, operation_changes=lone), NETWORK)
    found = transaction(decoder, made(shared_ledgers, fee_changes=lone)).fee_changes
    assert short(found) == [(0, None, 4), (kind.value, None, 5 if kind == UPDATED else None)]
    assert (found[1].key is None) == (kind == UPDATED)


@EACH_DECODER
def test_a_result_without_its_envelope_is_an_error(shared_ledgers: Path, decoder: Decoder) -> None:
    with pytest.raises(LedgerContentError, match="no envelope in the set has this hash"):
        decoder.decode_ledger(made(shared_ledgers), bytes(32))
    with pytest.raises(ValueError, match="32 bytes"):
        decoder.decode_ledger(made(shared_ledgers), b"too short")
