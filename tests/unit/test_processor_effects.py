"""Effects on accounts: signers, thresholds, flags, home domain, data entries; numbering and what stays silent."""

from __future__ import annotations

import pytest

from lumenstream.xdr import rows
from lumenstream.xdr.errors import LedgerContentError
from lumenstream.xdr.rows import AccountEntry, DataEntry, Signer
from processors.effects import Effects
from schemas import parts, strkey
from schemas.parts import Part
from schemas.state_changes import FlagsChange, IdBase, MetadataChange, Reason, SignerChange, ThresholdChange
from tests.unit.effects_builder import change, g, holder, rows_of
from tests.unit.ledger_builder import NETWORK, OPERATION, TO_ID, ledger, op, tx

A, B = g(1), g(2)
FIRST = IdBase.EFFECTS + 1

NO_OPTIONS = rows.SetOptions(None, None, None, None, None, None, None, None, None)


def effects(*operations: rows.Operation, source: bytes = A, result: int = 0) -> Part:
    return Effects(NETWORK).process(ledger(tx(*operations, source=source, result_code=result)))


def test_set_options_tells_each_option_in_order() -> None:
    """E1."""
    body = NO_OPTIONS._replace(
        home_domain="example.org",
        low_threshold=1,
        med_threshold=2,
        high_threshold=3,
        set_flags=1,
        clear_flags=2,
        master_weight=3,
        signer=Signer(B, 2, None),
    )
    before = holder(A)
    after = holder(A, thresholds=(3, 1, 2, 3), signers=(Signer(B, 2, None),), home_domain="example.org")
    at = TO_ID, OPERATION
    assert rows_of(effects(op(body, change(before, after)))) == [
        MetadataChange(*at, FIRST, Reason.HOME_DOMAIN, A, {"home_domain": {"new": "example.org"}}),
        ThresholdChange(*at, FIRST + 1, Reason.LOW, A, 0, 1),
        ThresholdChange(*at, FIRST + 2, Reason.MEDIUM, A, 0, 2),
        ThresholdChange(*at, FIRST + 3, Reason.HIGH, A, 0, 3),
        FlagsChange(*at, FIRST + 4, Reason.SET, A, 2),
        FlagsChange(*at, FIRST + 5, Reason.CLEAR, A, 4),
        SignerChange(*at, FIRST + 6, Reason.UPDATE, A, A, 1, 3),
        SignerChange(*at, FIRST + 7, Reason.ADD, A, B, None, 2),
    ]


def test_a_failed_transaction_has_no_effects() -> None:
    body = NO_OPTIONS._replace(low_threshold=1)
    assert effects(op(body, change(holder(A), holder(A))), result=-1) == Part()


def test_a_fee_bump_whose_inner_transaction_succeeded_has_effects() -> None:
    body = NO_OPTIONS._replace(low_threshold=1)
    assert len(rows_of(effects(op(body, change(holder(A), holder(A))), result=1))) == 1


def test_a_muxed_source_acts_for_the_account_behind_it() -> None:
    body = NO_OPTIONS._replace(low_threshold=1)
    part = effects(op(body, change(holder(A), holder(A)), source=bytes((strkey.MUXED,)) + A[1:] + bytes(8)), source=B)
    assert [row.account_id for row in rows_of(part)] == [A]


def test_ids_count_anew_in_every_operation() -> None:
    body = NO_OPTIONS._replace(low_threshold=1, med_threshold=1)
    one = op(body, change(holder(A), holder(A)))
    ids = [(row.operation_id - TO_ID, row.state_change_id - IdBase.EFFECTS) for row in rows_of(effects(one, one))]
    assert ids == [(1, 1), (1, 2), (2, 1), (2, 2)]


def test_a_new_account_starts_with_its_own_key_as_signer() -> None:
    part = effects(op(rows.CreateAccount(B, 10), change(None, holder(B))))
    assert rows_of(part) == [SignerChange(TO_ID, OPERATION, FIRST, Reason.ADD, B, B, None, 1)]


# --- thresholds and flags ---------------------------------------------------------------------------------------------


def test_thresholds_are_told_even_when_they_stay_the_same() -> None:
    body = NO_OPTIONS._replace(high_threshold=7)
    same = holder(A, thresholds=(1, 0, 0, 7))
    part = effects(op(body, change(same, same)))
    assert rows_of(part) == [ThresholdChange(TO_ID, OPERATION, FIRST, Reason.HIGH, A, 7, 7)]


def test_without_the_state_before_the_old_threshold_is_unknown() -> None:
    part = effects(op(NO_OPTIONS._replace(low_threshold=9)))
    assert rows_of(part) == [ThresholdChange(TO_ID, OPERATION, FIRST, Reason.LOW, A, None, 9)]


def test_a_flag_both_set_and_cleared_is_cleared() -> None:
    body = NO_OPTIONS._replace(set_flags=0b1011, clear_flags=0b0010)
    part = effects(op(body, change(holder(A), holder(A))))
    assert [(row.state_change_reason, row.flags) for row in rows_of(part)] == [(Reason.SET, 2 | 16), (Reason.CLEAR, 4)]


def test_flags_of_no_known_meaning_are_not_told() -> None:
    body = NO_OPTIONS._replace(set_flags=0b10000)
    assert effects(op(body, change(holder(A), holder(A)))) == Part()


# --- signers ----------------------------------------------------------------------------------------------------------


def signer_facts(before: AccountEntry, after: AccountEntry) -> list[tuple[str, bytes, int | None, int | None]]:
    part = effects(op(NO_OPTIONS, change(before, after)))
    assert set(part.rows) == {"state_changes.signer"}
    return [
        (row.state_change_reason.value, row.signer_account_id, row.signer_weight_old, row.signer_weight_new)
        for row in rows_of(part)
    ]


def test_signers_lost_and_changed_come_before_new_ones_in_order_of_their_text() -> None:
    before = holder(A, signers=(Signer(g(9), 1, None), Signer(g(4), 1, None), Signer(g(5), 1, None), Signer(g(60), 1, None)))
    after = holder(A, signers=(Signer(g(7), 1, None), Signer(g(9), 2, None), Signer(g(6), 3, None), Signer(g(5), 1, None)))
    assert signer_facts(before, after) == [
        ("REMOVE", g(60), 1, None),  # GA6..., and digits sort before letters
        ("REMOVE", g(4), 1, None),
        ("UPDATE", g(9), 1, 2),
        ("ADD", g(6), None, 3),
        ("ADD", g(7), None, 1),
    ]


def test_a_master_key_of_weight_zero_is_no_signer() -> None:
    on, off = holder(A), holder(A, thresholds=(0, 0, 0, 0))
    assert signer_facts(on, off) == [("REMOVE", A, 1, None)]
    assert signer_facts(off, on) == [("ADD", A, None, 1)]


def test_signed_payloads_stay_whole() -> None:
    """Two of them may share a key and differ in the payload alone."""
    key, size = bytes((strkey.SIGNED_PAYLOAD,)) + bytes(32), (4).to_bytes(4, "big")
    one, two = key + size + b"aaaa", key + size + b"bbbb"
    before = holder(A, signers=(Signer(one, 1, None),))
    after = holder(A, signers=(Signer(two, 1, None),))
    assert signer_facts(before, after) == [("REMOVE", one, 1, None), ("ADD", two, None, 1)]


def test_hashes_and_transactions_may_sign_too() -> None:
    hash_x, pre_auth = bytes((strkey.HASH_X,)) + bytes(32), bytes((strkey.PRE_AUTH_TX,)) + bytes(32)
    after = holder(
        A,
        signers=(
            Signer(hash_x, 1, None),
            Signer(pre_auth, 2, None),
        ),
    )
    assert signer_facts(holder(A), after) == [("ADD", pre_auth, None, 2), ("ADD", hash_x, None, 1)]  # T before X


def test_set_options_cannot_remove_an_account() -> None:
    with pytest.raises(LedgerContentError, match=str(OPERATION)):
        effects(op(NO_OPTIONS, change(holder(A), None)))


def test_the_state_before_is_that_of_the_source_not_of_the_first_account() -> None:
    """E10: the sponsor of a new signer is among the changed accounts, here in front of the source."""
    sponsor = holder(A, thresholds=(1, 9, 9, 9), home_domain="sponsor.example")
    before, after = holder(B, thresholds=(1, 1, 1, 1), home_domain="old.example"), holder(B, thresholds=(1, 5, 1, 1))
    body = NO_OPTIONS._replace(home_domain="new.example", low_threshold=5)
    part = effects(op(body, change(sponsor, sponsor), change(before, after)), source=B)
    domain, low = rows_of(part)
    assert domain.key_value == {"home_domain": {"old": "old.example", "new": "new.example"}}
    assert (low.account_id, low.threshold_old, low.threshold_new) == (B, 1, 5)


# --- metadata ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "sides"),
    [
        ("", "a.example", {"new": "a.example"}),
        ("a.example", "", {"old": "a.example"}),
        ("a.example", "b.example", {"old": "a.example", "new": "b.example"}),
    ],
)
def test_home_domain_tells_both_sides_that_exist(old: str, new: str, sides: dict[str, str]) -> None:
    """E9."""
    body = NO_OPTIONS._replace(home_domain=new)
    part = effects(op(body, change(holder(A, home_domain=old), holder(A, home_domain=new))))
    assert rows_of(part) == [MetadataChange(TO_ID, OPERATION, FIRST, Reason.HOME_DOMAIN, A, {"home_domain": sides})]


def test_an_unchanged_home_domain_is_not_told_and_takes_no_id() -> None:
    """E9, the last case."""
    same = holder(A, home_domain="a.example")
    body = NO_OPTIONS._replace(home_domain="a.example", low_threshold=1)
    assert [(type(row), row.state_change_id) for row in rows_of(effects(op(body, change(same, same))))] == [
        (ThresholdChange, FIRST)
    ]


def test_a_home_domain_without_the_state_before_keeps_its_row() -> None:
    assert rows_of(effects(op(NO_OPTIONS._replace(home_domain="a.example"))))[0].key_value == {
        "home_domain": {"new": "a.example"}
    }


@pytest.mark.parametrize(
    ("old", "new", "sides"),
    [
        (None, b"5678", {"new": "NTY3OA=="}),  # E3
        (b"1", b"2", {"old": "MQ==", "new": "Mg=="}),  # E4
        (b"", None, {"old": ""}),  # E4
    ],
)
def test_data_entries_tell_both_sides_that_exist(old: bytes | None, new: bytes | None, sides: dict[str, str]) -> None:
    before, after = (None if value is None else DataEntry(A, "name2", value) for value in (old, new))
    part = effects(op(rows.ManageData("name2", new), change(before, after)))
    assert rows_of(part) == [
        MetadataChange(TO_ID, OPERATION, FIRST, Reason.DATA_ENTRY, A, {"name2": sides}, "name2"),
    ]


def test_the_data_entry_is_the_named_one_not_the_first() -> None:
    """E10."""
    other, foreign = DataEntry(A, "aaa", b"x"), DataEntry(B, "name", b"x")
    old, new = DataEntry(A, "name", b"1"), DataEntry(A, "name", b"2")
    body = rows.ManageData("name", b"2")
    part = effects(op(body, change(other, other), change(foreign, foreign), change(old, new)))
    assert [row.key_value for row in rows_of(part)] == [{"name": {"old": "MQ==", "new": "Mg=="}}]


def test_names_that_are_not_text_are_shown_as_well_as_possible() -> None:
    part = effects(op(rows.ManageData(b"\xff", b"1"), change(None, DataEntry(A, b"\xff", b"1"))))
    assert [row.data_entry_name for row in rows_of(part)] == ["\ufffd"]
    assert parts.decode(parts.encode(part)) == part
