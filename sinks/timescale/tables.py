"""The rows of one ledger, from its parts to COPY streams and balance changes. Pure.

History goes straight into binary COPY (`streams`); balances, assets and contracts become rows, because a group of ledgers merges
them first: of each key only the last change counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from lumenstream.errors import IntegrityError
from schemas import families, parts, strkey
from schemas.families import (
    LedgerRow,
    SacBalanceChange,
    SacContractRow,
    TrustlineAssetRow,
)
from schemas.participation import Participant, accounts_beyond
from schemas.sep41 import CandidateEvent, state_changes
from schemas.state_changes import CATEGORY_OF
from sinks.timescale import binary
from sinks.timescale.layouts import LINKS
from sinks.timescale.reorder import Gathered
from sinks.timescale.sep41 import Sightings
from sinks.timescale.streams import PythonStreams, history_streams

STORED_BYTES: Final = 33
# Families of changes of current state, which `balances` and `entries` merge.
CURRENT: Final = (
    families.TRUSTLINE_CHANGES,
    families.ACCOUNT_CHANGES,
    families.LIQUIDITY_POOL_CHANGES,
    families.LIQUIDITY_POOL_SHARE_CHANGES,
    families.CLAIMABLE_BALANCE_CHANGES,
    families.CLAIMABLE_BALANCE_CLAIMANTS,
    families.OFFER_CHANGES,
)
# The others that are no history: few rows, or rows with names.
_FEW: Final = (
    families.LEDGERS,
    families.TRUSTLINE_ASSETS,
    families.SAC_CONTRACTS,
    families.SAC_BALANCE_CHANGES,
    families.PROTOCOL_WASMS,
    families.PROTOCOL_CONTRACTS,
    families.SEP41_CANDIDATE_EVENTS,
)


@dataclass(slots=True)
class LedgerRows:
    """One ledger, ready to write. `history`: COPY tuples and their number, by table."""

    ledger: Gathered
    header: LedgerRow
    history: dict[str, tuple[bytes, int]]
    hashes: list[bytes]  # outer and inner transaction hashes
    assets: list[TrustlineAssetRow] = field(default_factory=list)
    contracts: list[SacContractRow] = field(default_factory=list)
    sac_balances: list[SacBalanceChange] = field(default_factory=list)
    changes: dict[str, list[parts.Row]] = field(default_factory=dict)  # of CURRENT, by family; addresses as tables keep them
    sightings: Sightings = field(default_factory=Sightings)
    participants: list[list[Participant]] = field(default_factory=lambda: [[], []])  # of both link tables, if there are events

    @property
    def history_count(self) -> int:
        return sum(count for _, count in self.history.values())

    @property
    def state_change_count(self) -> int:
        return self.history["state_changes"][1]


class LedgerEncoder:
    """Turns whole ledgers into rows. `history_only`: without what is of current state alone, whether the parts have it or not."""

    def __init__(self, *, history_only: bool = False) -> None:
        self._current = () if history_only else CURRENT
        self._history = history_streams()
        self._further = PythonStreams()

    def encode(self, ledger: Gathered, encoded: Iterable[bytes]) -> LedgerRows:
        """The rows of a ledger from its encoded parts. IntegrityError when a part cannot be read or is not of this ledger."""
        try:
            opened = [parts.open_part(data) for data in encoded]
            rows = _gather(opened, _FEW)
            changes = _gather(map(_as_stored, opened), self._current) if self._current else {}
            header = _header(ledger, rows.pop(families.LEDGERS.name, []))
            sightings = Sightings.of(ledger.sequence, rows)
            close_time, number = binary.timestamptz(ledger.close_time), binary.int32(ledger.sequence)
            history, hashes, participants = self._history.encode(opened, close_time, number, bool(sightings.events))
        except ValueError as error:
            raise IntegrityError(
                f"ledger {ledger.sequence}: {error}", hint="upgrade the sink, or make the part again: lumenstream replay --ledger"
            ) from error
        return LedgerRows(
            ledger,
            header,
            history,
            hashes,
            list(map(TrustlineAssetRow._make, rows.get(families.TRUSTLINE_ASSETS.name, []))),
            list(map(SacContractRow._make, rows.get(families.SAC_CONTRACTS.name, []))),
            list(map(SacBalanceChange._make, rows.get(families.SAC_BALANCE_CHANGES.name, []))),
            changes,
            sightings,
            participants,
        )

    def extended(self, rows: LedgerRows, events: Sequence[CandidateEvent]) -> LedgerRows:
        """The same ledger with the state changes of custom tokens' events, which only who knows the tokens could choose."""
        if not events:
            return rows
        changes = list(state_changes(events))
        close_time, number = binary.timestamptz(rows.ledger.close_time), binary.int32(rows.ledger.sequence)
        by_family: dict[str, list[parts.Row]] = {}
        for change in changes:
            by_family.setdefault(families.STATE_CHANGES[CATEGORY_OF[type(change)]].name, []).append(change)
        added = {"state_changes": self._further.table("state_changes", by_family, close_time + number)}
        for table, pairs in zip(LINKS, accounts_beyond(changes, *rows.participants), strict=True):
            added[table] = self._further.links(pairs, close_time), len(pairs)
        history = dict(rows.history)
        for table, (data, count) in added.items():
            history[table] = history[table][0] + data, history[table][1] + count
        return replace(rows, history=history)


def _gather(opened: Iterable[parts.OpenPart], wanted: Iterable[families.Family]) -> dict[str, list[parts.Row]]:
    """Rows by family. A family that several processors fill is joined."""
    rows: dict[str, list[parts.Row]] = {}
    for part in opened:
        for family in wanted:
            if batch := part.rows(family):
                rows[family.name] = rows[family.name] + batch if family.name in rows else batch
    return rows


def _as_stored(part: parts.OpenPart) -> parts.OpenPart:
    """The part with its addresses as tables of current state know them."""
    if set(map(len, part.addresses)) <= {STORED_BYTES}:
        return part
    return part._replace(addresses=[account_key(address) for address in part.addresses])


def _header(ledger: Gathered, rows: Sequence[parts.Row]) -> LedgerRow:
    if len(rows) != 1:
        raise IntegrityError(f"ledger {ledger.sequence}: its parts hold {len(rows)} ledger rows, expected one")
    header = LedgerRow(*rows[0])
    if header.sequence != ledger.sequence or header.hash.hex() != ledger.ledger_hash:
        raise IntegrityError(
            f"ledger {ledger.sequence}, hash {ledger.ledger_hash}: its ledger row says {header.sequence}, {header.hash.hex()}",
            hint="the headers and the content of a part contradict each other",
        )
    return header


def account_key(address: bytes) -> bytes:
    """The 33 bytes by which balance tables know an account."""
    return address if len(address) == STORED_BYTES else strkey.storage_form(address).account_id
