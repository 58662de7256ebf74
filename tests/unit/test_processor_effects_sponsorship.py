"""Sponsorship: who began, ceased or took over to pay for which entry, read from the ledger changes."""

from __future__ import annotations

from typing import Any

import pytest

from lumenstream.xdr import rows
from lumenstream.xdr.rows import Change, ClaimableBalanceEntry, DataEntry, EntryData, OfferEntry, Price, Signer
from processors.effects import Effects
from schemas import assets
from schemas.state_changes import IdBase, Reason, ReservesChange, SignerChange
from tests.unit.effects_builder import change, g, holder, line, rows_of
from tests.unit.ledger_builder import BTC, NETWORK, OPERATION, TO_ID, USDC, balance_id, ledger, op, token_of, tx

OWNER, OLD, NEW = g(1), g(2), g(3)
AT = TO_ID, OPERATION
FIRST = IdBase.RESERVES + 1

# (reason, account, sponsored account, sponsor) of a row
Told = tuple[str, bytes, bytes | None, bytes | None]

CREATED = [("SPONSOR", NEW, OWNER, None), ("SPONSOR", OWNER, None, NEW)]
REMOVED = [("UNSPONSOR", OLD, OWNER, None), ("UNSPONSOR", OWNER, None, OLD)]
HANDED_OVER = [
    ("SPONSOR", NEW, OWNER, None),
    ("UNSPONSOR", OLD, OWNER, None),
    ("SPONSOR", OWNER, None, NEW),
    ("UNSPONSOR", OWNER, None, OLD),
]


def reserves(*changes: Change, body: rows.OperationBody | None = None) -> list[Any]:
    revoke = rows.RevokeSponsorship(None, OWNER, OWNER)
    return rows_of(Effects(NETWORK).process(ledger(tx(op(body or revoke, *changes), source=OLD))))


def told(found: list[Any]) -> list[Told]:
    assert [row.state_change_id for row in found] == list(range(FIRST, FIRST + len(found)))
    return [(row.state_change_reason.value, row.account_id, row.sponsored_account_id, row.sponsor_account_id) for row in found]


@pytest.mark.parametrize(
    ("was", "now", "expected"),
    [(None, NEW, CREATED), (OLD, None, REMOVED), (OLD, NEW, HANDED_OVER), (OLD, OLD, []), (None, None, [])],
)
@pytest.mark.parametrize("entry", [holder(OWNER), line(OWNER, USDC)], ids=["account", "trustline"])
def test_accounts_and_trustlines_tell_both_sides(
    entry: EntryData, was: bytes | None, now: bytes | None, expected: list[Told]
) -> None:
    assert told(reserves(change(entry, entry, was=was, now=now))) == expected


def test_a_removed_entry_frees_its_sponsor() -> None:
    assert told(reserves(change(line(OWNER, USDC), None, was=OLD))) == REMOVED


def test_a_trustline_names_its_token_or_its_pool() -> None:
    pool = assets.POOL_SHARE
    shares = line(OWNER, rows.Asset(pool, "ab" * 32, None))
    assert {(row.token_id, row.liquidity_pool_id) for row in reserves(change(None, line(OWNER, BTC), now=NEW))} == {
        (token_of(BTC), None)
    }
    assert {(row.token_id, row.liquidity_pool_id) for row in reserves(change(None, shares, now=NEW))} == {(None, "ab" * 32)}


def test_other_entries_tell_the_sponsor_alone() -> None:
    """Q25: without the account that is sponsored."""
    data = DataEntry(OWNER, "name", b"")
    claimable = ClaimableBalanceEntry(balance_id("x"), (), USDC, 1, 0)
    assert reserves(change(data, data, was=OLD, now=NEW), change(None, claimable, now=NEW)) == [
        ReservesChange(*AT, FIRST, Reason.SPONSOR, NEW, sponsored_data="name"),
        ReservesChange(*AT, FIRST + 1, Reason.UNSPONSOR, OLD, sponsored_data="name"),
        ReservesChange(*AT, FIRST + 2, Reason.SPONSOR, NEW, claimable_balance_id=balance_id("x")),
    ]


def test_claimable_balances_are_sponsored_by_their_creator_and_freed_by_the_claim() -> None:
    """Q26."""
    claimable = ClaimableBalanceEntry(balance_id("x"), (), USDC, 1, 0)
    create, claim = rows.CreateClaimableBalance(USDC, 1, ()), rows.ClaimClaimableBalance(balance_id("x"))
    assert told(reserves(change(None, claimable, now=NEW), body=create)) == [("SPONSOR", NEW, None, None)]
    assert told(reserves(change(claimable, None, was=OLD), body=claim)) == [("UNSPONSOR", OLD, None, None)]


def test_offers_have_sponsors_but_no_rows() -> None:
    offer = OfferEntry(OWNER, 1, USDC, BTC, 1, Price(1, 1), 0)
    assert reserves(change(None, offer, now=NEW)) == []


def test_signers_have_sponsors_of_their_own() -> None:
    before = holder(OWNER, signers=(Signer(g(12), 1, OLD), Signer(g(13), 1, OLD), Signer(g(14), 1, OLD)))
    after = holder(OWNER, signers=(Signer(g(11), 1, NEW), Signer(g(13), 1, NEW), Signer(g(14), 1, OLD), Signer(g(15), 1, None)))
    assert reserves(change(before, after)) == [
        ReservesChange(*AT, FIRST, Reason.SPONSOR, NEW, signer_account_id=g(11)),
        ReservesChange(*AT, FIRST + 1, Reason.UNSPONSOR, OLD, signer_account_id=g(12)),
        ReservesChange(*AT, FIRST + 2, Reason.SPONSOR, NEW, signer_account_id=g(13)),
        ReservesChange(*AT, FIRST + 3, Reason.UNSPONSOR, OLD, signer_account_id=g(13)),
    ]


def test_the_signers_of_a_merged_account_free_their_sponsors() -> None:
    merged = change(holder(OWNER, signers=(Signer(g(12), 1, NEW),)), None, was=OLD)
    assert told(reserves(merged, body=rows.AccountMerge(NEW))) == [*REMOVED, ("UNSPONSOR", NEW, None, None)]


def test_rows_follow_the_order_of_the_changes_in_a_stream_of_their_own() -> None:
    """E5: a new account's own row, then accounts freed, handed over and newly sponsored."""
    freed, moved, sponsored = holder(g(21)), holder(g(22)), holder(g(23))
    signer, *rest = reserves(
        change(freed, freed, was=OLD),
        change(moved, moved, was=OLD, now=NEW),
        change(None, sponsored, now=NEW),
        body=rows.CreateAccount(g(23), 1),
    )
    assert signer == SignerChange(*AT, IdBase.EFFECTS + 1, Reason.ADD, g(23), g(23), None, 1)
    assert [row[0] for row in told(rest)] == ["UNSPONSOR"] * 2 + ["SPONSOR", "UNSPONSOR"] * 2 + ["SPONSOR"] * 2


def test_operations_that_only_move_value_are_not_searched() -> None:
    payment = rows.Payment(NEW, USDC, 1)
    assert reserves(change(line(OWNER, USDC), line(OWNER, USDC, limit=2), was=OLD, now=OLD), body=payment) == []
