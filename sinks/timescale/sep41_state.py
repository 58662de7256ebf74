"""Custom tokens: code, contracts, balances and allowances, written inside the ledger's transaction.

Balances add up what events say, so they are right only when each ledger counts once: only the transaction that moves the cursor
calls this. An event may name any kind of address; the balance of an M address is that of the account behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, LiteralString, NamedTuple

from lumenstream.database import Connection
from schemas import assets, strkey
from schemas.sep41 import CandidateEvent, balance_deltas
from sinks.timescale.binary import bytea_array, int8_array, text_array, uuid_array
from sinks.timescale.sep41 import Decision, Metadata

MAX_EXPIRED_PER_LEDGER: Final = 1000
_NO_DECIMALS: Final = -1  # stands for an unknown name, symbol and number of decimals

_WASMS: Final[LiteralString] = (
    "insert into protocol_wasms as t (wasm_hash, protocol_id) "
    "select wasm_hash, nullif(protocol_id, '') from unnest(%s::bytea[], %s::text[]) as new (wasm_hash, protocol_id) "
    "on conflict (wasm_hash) do update set protocol_id = excluded.protocol_id "
    "where t.protocol_id is null and excluded.protocol_id is not null"
)
_CONTRACTS: Final[LiteralString] = (
    "insert into protocol_contracts as t (contract_id, wasm_hash, name, symbol, decimals, last_modified_ledger) "
    "select contract_id, wasm_hash, case when decimals >= 0 then name end, case when decimals >= 0 then symbol end, "
    "case when decimals >= 0 then decimals end, ledger "
    "from unnest(%s::bytea[], %s::bytea[], %s::text[], %s::text[], %s::bigint[], %s::bigint[]) "
    "as new (contract_id, wasm_hash, name, symbol, decimals, ledger) "
    "on conflict (contract_id) do update set wasm_hash = excluded.wasm_hash, name = excluded.name, symbol = excluded.symbol, "
    "decimals = excluded.decimals, last_modified_ledger = excluded.last_modified_ledger "
    "where t.last_modified_ledger <= excluded.last_modified_ledger"
)
# A balance entry may have made a stub of type SAC: a contract with code of its own is none. What is described elsewhere stays
# until the contract describes itself.
_TOKENS: Final[LiteralString] = (
    "insert into contract_tokens as t (id, contract_id, type, name, symbol, decimals) "
    "select id, contract_id, type, case when decimals >= 0 then name end, case when decimals >= 0 then symbol end, "
    "greatest(decimals, 0) "
    "from unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[]) "
    "as new (id, contract_id, type, name, symbol, decimals) "
    "on conflict (contract_id) do update set type = excluded.type, name = coalesce(excluded.name, t.name), "
    "symbol = coalesce(excluded.symbol, t.symbol), "
    "decimals = case when excluded.name is not null or t.type = 'SAC' then excluded.decimals else t.decimals end "
    "where t.type <> 'NATIVE' and t.code is null"
)
_BALANCES: Final[LiteralString] = (
    "insert into sep41_balances as t (account_id, contract_id, balance, last_modified_ledger) "
    "select a, c, b::numeric, l from unnest(%s::bytea[], %s::uuid[], %s::text[], %s::bigint[]) as new (a, c, b, l) "
    "on conflict (account_id, contract_id) do update set balance = t.balance + excluded.balance, "
    "last_modified_ledger = excluded.last_modified_ledger"
)
_BALANCES_GONE: Final[LiteralString] = (
    "delete from sep41_balances t using unnest(%s::bytea[], %s::uuid[]) as touched (account_id, contract_id) "
    "where t.account_id = touched.account_id and t.contract_id = touched.contract_id and t.balance = 0"
)
_ALLOWANCES: Final[LiteralString] = (
    "insert into sep41_allowances as t (owner_id, spender_id, contract_id, amount, expiration_ledger, last_modified_ledger) "
    "select o, s, c, a::numeric, e, %s "
    "from unnest(%s::bytea[], %s::bytea[], %s::uuid[], %s::text[], %s::bigint[]) as new (o, s, c, a, e) "
    "on conflict (owner_id, spender_id, contract_id) do update set amount = excluded.amount, "
    "expiration_ledger = excluded.expiration_ledger, last_modified_ledger = excluded.last_modified_ledger"
)
_ALLOWANCES_GONE: Final[LiteralString] = (
    "delete from sep41_allowances t using unnest(%s::bytea[], %s::bytea[], %s::uuid[]) as gone (o, s, c) "
    "where t.owner_id = gone.o and t.spender_id = gone.s and t.contract_id = gone.c"
)
_EXPIRED: Final[LiteralString] = (
    "delete from sep41_allowances where ctid = any (array(select ctid from sep41_allowances where expiration_ledger < %s "
    "order by expiration_ledger, owner_id, spender_id, contract_id limit %s))"
)


class _Grant(NamedTuple):
    amount: int
    expiration_ledger: int


def insert(connection: Connection, decision: Decision) -> dict[str, int]:
    """Code, contracts and tokens that are new or changed. Sorted, so that two writers would lock in the same order."""
    if wasms := sorted(decision.wasms.items()):
        connection.execute(_WASMS, (bytea_array(key for key, _ in wasms), text_array(protocol or "" for _, protocol in wasms)))
    if contracts := sorted(decision.contracts.items()):
        names, symbols, decimals = _columns([contract.metadata for _, contract in contracts])
        hashes = bytea_array(contract.wasm_hash for _, contract in contracts)
        ledgers = int8_array(contract.ledger for _, contract in contracts)
        connection.execute(_CONTRACTS, (bytea_array(key for key, _ in contracts), hashes, names, symbols, decimals, ledgers))
    if tokens := sorted(decision.tokens.items()):
        names, symbols, decimals = _columns([token.metadata for _, token in tokens])
        ids = uuid_array(assets.contract_uuid(key) for key, _ in tokens)
        texts, types = text_array(strkey.encode(key) for key, _ in tokens), text_array(token.type for _, token in tokens)
        connection.execute(_TOKENS, (ids, texts, types, names, symbols, decimals))
    return {"protocol_wasms": len(wasms), "protocol_contracts": len(contracts)}


def apply(connection: Connection, events: Sequence[tuple[int, Sequence[CandidateEvent]]]) -> dict[str, int]:
    """Balances and allowances after the events of consecutive ledgers, given as (sequence, events that count)."""
    deltas: dict[tuple[bytes, bytes], tuple[int, int]] = {}
    granted = 0
    for sequence, of_ledger in events:
        grants: dict[tuple[bytes, bytes, bytes], _Grant] = {}
        for event in of_ledger:
            contract = assets.contract_uuid(event.contract_id)
            for account, delta in balance_deltas(event):
                key = holder(account), contract
                deltas[key] = deltas.get(key, (0, 0))[0] + delta, sequence
            if event.from_account_id is not None and event.spender_account_id is not None:
                owner, spender = holder(event.from_account_id), holder(event.spender_account_id)
                grants[owner, spender, contract] = _Grant(event.amount, event.live_until_ledger or 0)
        granted += len(grants)
        _apply_grants(connection, sequence, grants)
        connection.execute(_EXPIRED, (sequence, MAX_EXPIRED_PER_LEDGER))
    if rows := sorted(deltas.items()):
        accounts, contracts = bytea_array(key[0] for key, _ in rows), uuid_array(key[1] for key, _ in rows)
        sums = text_array(str(delta) for _, (delta, _) in rows)
        connection.execute(_BALANCES, (accounts, contracts, sums, int8_array(ledger for _, (_, ledger) in rows)))
        connection.execute(_BALANCES_GONE, (accounts, contracts))
    return {"sep41_balances": len(deltas), "sep41_allowances": granted}


def holder(address: bytes) -> bytes:
    """The 33 bytes under which a holder's balance is kept."""
    return strkey.storage_form(strkey.account_of(address)).account_id


def _apply_grants(connection: Connection, sequence: int, grants: dict[tuple[bytes, bytes, bytes], _Grant]) -> None:
    """An approval replaces what was approved before; an approval of nothing takes it back."""
    if kept := sorted((key, grant) for key, grant in grants.items() if grant.amount):
        connection.execute(
            _ALLOWANCES,
            (
                sequence,
                bytea_array(key[0] for key, _ in kept),
                bytea_array(key[1] for key, _ in kept),
                uuid_array(key[2] for key, _ in kept),
                text_array(str(grant.amount) for _, grant in kept),
                int8_array(grant.expiration_ledger for _, grant in kept),
            ),
        )
    if gone := sorted(key for key, grant in grants.items() if not grant.amount):
        connection.execute(
            _ALLOWANCES_GONE,
            (bytea_array(key[0] for key in gone), bytea_array(key[1] for key in gone), uuid_array(key[2] for key in gone)),
        )


def _columns(metadata: Sequence[Metadata | None]) -> tuple[bytes, bytes, bytes]:
    """Names, symbols and decimals as arrays."""
    rows = [("", "", _NO_DECIMALS) if row is None else row for row in metadata]
    return text_array(row[0] for row in rows), text_array(row[1] for row in rows), int8_array(row[2] for row in rows)
