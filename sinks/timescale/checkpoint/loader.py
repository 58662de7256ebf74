"""Rows of a checkpoint into the tables of current state, inside the caller's transaction: what the live sink would hold.

Each entry of a checkpoint comes once, so balances and entries go straight into their tables by COPY. Assets, asset contracts,
code and contracts come together from many entries: they are upserted by the sink's own statements, and which contracts are
tokens is asked of the database at the end, when all code has been seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from lumenstream.database import Connection
from schemas import families
from schemas.checkpoint import EntryRows
from schemas.families import SacBalanceChange, SacContractRow, TrustlineAssetRow
from schemas.sep41 import PROTOCOL_ID, ContractRow, WasmRow
from sinks.timescale import balances, binary, sep41_state
from sinks.timescale.checkpoint.copying import TABLES, Copier
from sinks.timescale.sep41 import Contract, Decision, Token

TOKENS_AT_ONCE: Final = 5_000
_TOKENS: Final = (
    "select c.contract_id, c.name, c.symbol, c.decimals from protocol_contracts c join protocol_wasms w using (wasm_hash) "
    "where w.protocol_id = %s and c.contract_id > %s order by c.contract_id limit %s"
)


class StateLoader:
    """`rows` counts what was written, by table."""

    def __init__(self, connection: Connection) -> None:
        self.rows: Counter[str] = Counter()
        self._connection = connection
        self._copiers = {name: Copier(connection, families.FAMILIES[name]) for name in TABLES}
        self._assets: set[bytes] = set()
        self._contracts: dict[bytes, bool] = {}  # asset contracts written: do they have their code?
        binary.register(connection)

    def add(self, batch: EntryRows) -> None:
        """Write the rows of entries, no key of which came before."""
        self._add_assets(batch)
        self._add_contracts(batch)
        self._add_code(batch)
        for family, copier in self._copiers.items():
            if rows := batch.rows.get(family):
                self.rows[copier.table] += copier.copy(rows, batch.ledgers[family])

    def finish(self) -> None:
        """All entries came: contracts that run a token's code are tokens."""
        after = b""
        while True:
            found = self._connection.execute(_TOKENS, (PROTOCOL_ID, after, TOKENS_AT_ONCE)).fetchall()
            if not found:
                return
            tokens = {
                contract: Token(PROTOCOL_ID, None if name is None else (name, symbol, decimals))
                for contract, name, symbol, decimals in found
            }
            sep41_state.insert(self._connection, Decision(tokens=tokens))
            self.rows["contract_tokens"] += len(tokens)
            after = found[-1][0]

    def _add_assets(self, batch: EntryRows) -> None:
        rows = map(TrustlineAssetRow._make, batch.rows.get(families.TRUSTLINE_ASSETS.name, ()))
        new = [asset for asset in rows if asset.id not in self._assets]
        self.rows["trustline_assets"] += balances.insert_assets(self._connection, new)
        self._assets.update(asset.id for asset in new)

    def _add_contracts(self, batch: EntryRows) -> None:
        holdings = map(SacBalanceChange._make, batch.rows.get(families.SAC_BALANCE_CHANGES.name, ()))
        instances = map(SacContractRow._make, batch.rows.get(families.SAC_CONTRACTS.name, ()))
        contracts: dict[bytes, tuple[bytes, str, str]] = {}
        balances.name_contracts(contracts, holdings, instances)
        new = {key: named for key, named in contracts.items() if not self._contracts.get(key, False)}
        new = {key: named for key, named in new.items() if named[1] or key not in self._contracts}
        balances.insert_contracts(self._connection, new)
        self.rows["contract_tokens"] += len(new.keys() - self._contracts.keys())
        self._contracts |= {key: bool(named[1]) for key, named in new.items()}

    def _add_code(self, batch: EntryRows) -> None:
        wasms: Sequence[WasmRow] = [*map(WasmRow._make, batch.rows.get(families.PROTOCOL_WASMS.name, ()))]
        contracts = map(ContractRow._make, batch.rows.get(families.PROTOCOL_CONTRACTS.name, ()))
        seen = zip(contracts, batch.ledgers.get(families.PROTOCOL_CONTRACTS.name, ()), strict=True)
        decision = Decision(
            {row.wasm_hash: row.protocol_id for row in wasms},
            {row.contract_id: Contract(row.wasm_hash, _metadata(row), ledger) for row, ledger in seen},
        )
        self.rows.update(sep41_state.insert(self._connection, decision))


def _metadata(row: ContractRow) -> tuple[str, str, int] | None:
    return None if row.name is None or row.symbol is None or row.decimals is None else (row.name, row.symbol, row.decimals)
