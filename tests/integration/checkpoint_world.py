"""Networks for the checkpoint tests: their ledgers, the state that a reader of all changes would hold, and archives of it.

The state is worked out with stellar_sdk from every change of every ledger, whatever phase made it; nothing of ours decodes here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from stellar_sdk import xdr as sdk

from lumenstream.cli.rollforward import RowMaker, consecutive
from lumenstream.settings import ArchiveSettings, DatabaseSettings, NetworkSettings, Settings
from lumenstream.xdr import LedgerContentError, read_header
from lumenstream.xdr.files import read_ledgers
from sandbox import archive
from sinks.timescale.tables import LedgerRows
from sinks.timescale.writer import Writer, check_chain, read_state
from tests.unit.archive_builder import ledger_key

CORE_PASSPHRASE = "(V) (;,,;) (V)"
FREQUENCY = 8
TOPIC = "ledger-changes"
State = dict[bytes, bytes]

# What a checkpoint cannot tell: assets whose trustlines are gone, when a contract began to look as it does, who made a claimable
# balance, in which ledger an account changed last in a way that shows in its balance, sums of the events of custom tokens.
UNKNOWABLE = {
    "protocol_contracts": ("last_modified_ledger",),
    "claimable_balances": ("creator_account_id", "created_ledger", "created_at"),
    "native_balances": ("last_modified_ledger",),
}
# What a repair cannot bring back: an entry may have changed later, in a way that no column shows.
LAST_MODIFIED = dict.fromkeys(("native_balances", "protocol_contracts"), ("last_modified_ledger",))
STATE_TABLES = (
    "native_balances",
    "trustline_balances",
    "sac_balances",
    "contract_tokens",
    "protocol_wasms",
    "protocol_contracts",
    "liquidity_pools",
    "liquidity_pool_balances",
    "claimable_balances",
    "claimable_balance_claimants",
    "offers",
)


def core_ledgers(folder: Path, name: str) -> list[bytes]:
    """A chain that stellar-core's tests closed, from ledger 2 on, up to the first ledger of a protocol we do not know."""
    maker, known = RowMaker(settings_for("")), []
    for data in read_ledgers(next((folder / "stellar-core").rglob(f"{name}*.xdr.gz"))):
        try:
            maker.rows(data, None)
        except LedgerContentError:
            break
        known.append(data)
    return known


def settings_for(
    database_url: str, archive_url: str = "", passphrase: str = CORE_PASSPHRASE, frequency: int = FREQUENCY
) -> Settings:
    return Settings(
        network=NetworkSettings(name="test", passphrase=passphrase),
        database=DatabaseSettings(url=database_url),
        archive=ArchiveSettings(url=archive_url, checkpoint_frequency=frequency),
    )


def states(ledgers: Iterable[bytes]) -> Iterator[tuple[State, State]]:
    """After each ledger: the entries that exist, and those that were evicted, by ledger key."""
    live: State = {}
    archived: State = {}
    for data in ledgers:
        ledger = sdk.LedgerCloseMeta.from_xdr_bytes(data)
        body = ledger.v1 or ledger.v2
        assert body is not None
        for change in _changes(body):
            _apply(live, archived, change)
        for key in body.evicted_keys:
            entry = live.pop(key.to_xdr_bytes(), None)
            if entry is not None and _is_persistent(key):
                archived[key.to_xdr_bytes()] = entry
        yield dict(live), dict(archived)


def write_archive(root: Path, ledgers: Sequence[bytes], sequence: int) -> None:
    """An archive whose newest checkpoint is after ledger `sequence`: a layer for every third ledger, so that much is hidden."""
    wanted = [data for data in ledgers if read_header(data).sequence <= sequence]
    everything = list(states(wanted))
    protocol = read_header(wanted[-1]).protocol_version
    layers = [live for live, _ in everything[::-3]][:16][::-1]
    archive.write(root, sequence, CORE_PASSPHRASE, archive.bucket_list(protocol, layers, everything[-1][1]))


def live_rows(settings: Settings, ledgers: Sequence[bytes]) -> list[LedgerRows]:
    """The ledgers after the database's cursor, as the live sink would get them."""
    with psycopg.connect(settings.database.url.get_secret_value()) as connection:
        cursor, _, _ = read_state(connection, TOPIC)
    return consecutive(RowMaker(settings), [data for data in ledgers if read_header(data).sequence > cursor], cursor or None)


def run_live(settings: Settings, ledgers: Sequence[bytes], group: int = 5) -> None:
    """The live sink's transactions, after the database's cursor."""
    rows = live_rows(settings, ledgers)
    with psycopg.connect(settings.database.url.get_secret_value()) as connection:
        cursor, ledger_hash, _ = read_state(connection, TOPIC)
        writer = Writer(connection, TOPIC)
        for start in range(0, len(rows), group):
            batch = rows[start : start + group]
            check_chain(batch, cursor, ledger_hash)
            done = writer.commit(batch, cursor, {})
            cursor, ledger_hash = done.last, done.last_hash


def dump(database_url: str, without: Mapping[str, tuple[str, ...]] | None = None) -> dict[str, list[Any]]:
    """Current state, table by table, as sorted JSON; times of writing left out."""
    with psycopg.connect(database_url) as connection:
        return {table: _rows(connection, table, (without or {}).get(table, ())) for table in STATE_TABLES}


def assets(database_url: str) -> set[tuple[str, str]]:
    with psycopg.connect(database_url) as connection:
        return set(connection.execute("select code, issuer from trustline_assets").fetchall())


def _rows(connection: psycopg.Connection[Any], table: str, without: Sequence[str]) -> list[Any]:
    left_out = ["updated_at", *without, *(() if table == "claimable_balances" else ("created_at",))]
    query = sql.SQL("select (to_jsonb(t) - %s::text[])::text from {} t").format(sql.Identifier(table))
    return sorted(text for (text,) in connection.execute(query, (left_out,)))


def _changes(body: Any) -> Iterator[sdk.LedgerEntryChange]:
    processing = body.tx_processing
    for transaction in processing:
        yield from transaction.fee_processing.ledger_entry_changes
    for transaction in processing:
        meta = transaction.tx_apply_processing
        content = meta.v4 or meta.v3 or meta.v2
        yield from content.tx_changes_before.ledger_entry_changes
        for operation in content.operations:
            yield from operation.changes.ledger_entry_changes
        yield from content.tx_changes_after.ledger_entry_changes
    for transaction in processing:
        if hasattr(transaction, "post_tx_apply_fee_processing"):
            yield from transaction.post_tx_apply_fee_processing.ledger_entry_changes
    for upgrade in body.upgrades_processing:
        yield from upgrade.changes.ledger_entry_changes


def _apply(live: State, archived: State, change: sdk.LedgerEntryChange) -> None:
    if change.removed is not None:
        live.pop(change.removed.to_xdr_bytes(), None)
        return
    entry = change.created or change.updated or change.restored
    if entry is not None:
        key = ledger_key(entry.data).to_xdr_bytes()
        live[key] = entry.to_xdr_bytes()
        archived.pop(key, None)


def _is_persistent(key: sdk.LedgerKey) -> bool:
    data = key.contract_data
    return data is None or data.durability == sdk.ContractDataDurability.PERSISTENT
