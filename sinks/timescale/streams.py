"""A ledger's history as COPY tuples, from its opened parts. Pure.

The one in Rust (`native/src/history.rs`) reads the packed columns; the twin here makes rows of them, and columns of fields again.
Both go by `layouts`, and give the same bytes for the same parts. The twin also writes the rows that only the sink knows of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Any, Final, Protocol

import orjson

from lumenstream.xdr import fastest
from schemas import families
from schemas.participation import Participant, union_accounts
from schemas.parts import OpenPart, PartError, Row
from sinks.timescale import binary
from sinks.timescale.addresses import AccountAndId, AccountAndNullableId, AddressFields, SignerFields
from sinks.timescale.binary import NULL, Field
from sinks.timescale.layouts import BATCHES, FAMILIES, HASH, HISTORY, INNER_HASH, LINKS, Batch, Form

SMALLEST, LARGEST = -(1 << 15), (1 << 15) - 1
SMALLEST_BIGINT, LARGEST_BIGINT = -(1 << 63), (1 << 63) - 1

Column = Sequence[Any]
# COPY tuples and their number by table; outer and inner transaction hashes; the rows of the two link tables, where asked for.
Streams = tuple[dict[str, tuple[bytes, int]], list[bytes], list[list[Participant]]]


class HistoryStreams(Protocol):
    """Keeps the fields of addresses and words from ledger to ledger, where that helps."""

    def encode(self, parts: list[OpenPart], close_time: Field, ledger: Field, participants: bool) -> Streams:
        """`close_time`, `ledger`: the fields that begin each row. ValueError for parts whose rows cannot be written."""


class PythonStreams:
    """The twin."""

    def __init__(self) -> None:
        self._words = binary.Words()
        self._addresses = AddressFields()
        self._participants = AccountAndId()
        self._accounts = AccountAndNullableId()
        self._signers = SignerFields()
        self._encoders: dict[Form, Callable[[Column], Iterable[Field]]] = {
            Form.INT64: binary.int64s,
            Form.BOOL: binary.bools,
            Form.HASH: binary.raws,
            Form.ADDRESS: self._addresses.fields,
            Form.ACCOUNT: self._accounts.fields,
            Form.SIGNER: self._signers.fields,
            Form.WORD: self._words.fields,
            Form.DIGITS: binary.amounts,
            Form.BIGINT: _bigints,
            Form.SMALLINT: _smallints,
            Form.TEXT: _texts,
            Form.BYTES: _bytes,
            Form.BYTES_OR_NULL: lambda column: _bytes([None if value == b"" else value for value in column]),
            Form.JSON: lambda column: [NULL if value is None else json(value) for value in column],
        }

    def encode(self, parts: list[OpenPart], close_time: Field, ledger: Field, participants: bool) -> Streams:
        decoded = [part.decode(FAMILIES) for part in parts]
        rows: dict[str, list[Row]] = {}
        for part in decoded:
            for name, batch in part.rows.items():
                rows[name] = rows[name] + batch if name in rows else batch
        history = {table: self.table(table, rows, close_time + ledger) for table in BATCHES}
        links = union_accounts(decoded)
        for table, pairs in zip(LINKS, links, strict=True):
            history[table] = self.links(pairs, close_time), len(pairs)
        hashes: list[bytes] = []
        for part in decoded:
            transactions = part.rows.get(families.TRANSACTIONS.name, [])
            hashes += [row[HASH] for row in transactions]
            hashes += [row[INNER_HASH] for row in transactions if row[INNER_HASH] is not None]
        return history, hashes, [pairs if participants else [] for pairs in links]

    def table(self, table: str, rows: dict[str, list[Row]], begin: Field) -> tuple[bytes, int]:
        """COPY tuples of rows by family, and their number. `begin`: close time and ledger."""
        for cache in (self._addresses, self._accounts, self._signers):
            cache.ready()
        begin = binary.field_count(len(HISTORY[table])) + begin
        found = [(batch, rows[batch.family]) for batch in BATCHES[table] if rows.get(batch.family)]
        tuples = [binary.rows(self._columns(batch, some), begin + batch.constant) for batch, some in found]
        return b"".join(tuples), sum(len(some) for _, some in found)

    def links(self, pairs: Sequence[Participant], close_time: Field) -> bytes:
        """COPY tuples of a link table."""
        if not pairs:
            return b""
        ids, accounts = zip(*pairs, strict=True)
        columns = [self._participants.ready().fields(accounts), binary.int64s(ids)]
        return binary.rows(columns, binary.field_count(len(HISTORY["transactions_accounts"])) + close_time)

    def _columns(self, batch: Batch, rows: list[Row]) -> list[Iterable[Field]]:
        values = list(zip(*rows, strict=True))
        return [
            repeat(NULL * place) if form is Form.NULLS else self._encoders[form](values[place]) for form, place in batch.steps
        ]


def json(value: Any) -> Field:
    """A jsonb field. PartError for what JSON does not know."""
    try:
        return binary.jsonb(orjson.dumps(value))
    except orjson.JSONEncodeError as error:
        raise PartError(f"no JSON: {error}") from error


def _of_type(kind: type, column: Column) -> Column:
    if not {type(value) for value in column} <= {kind, type(None)}:
        raise PartError(f"a column with values that are not {kind.__name__}")
    return column


def _texts(column: Column) -> list[Field]:
    return binary.texts(_of_type(str, column))


def _bytes(column: Column) -> list[Field]:
    return binary.raws(_of_type(bytes, column))


def _smallints(column: Column) -> list[Field]:
    for value in _of_type(int, column):
        if value is not None and not SMALLEST <= value <= LARGEST:
            raise PartError(f"{value} is not a number of 16 bits")
    return [NULL if value is None else binary.int16(value) for value in column]


def _bigints(column: Column) -> list[Field]:
    for value in column:
        if value is not None and not SMALLEST_BIGINT <= value <= LARGEST_BIGINT:
            raise PartError(f"{value} is not a number of 64 bits")
    return [NULL if value is None else binary.int64(value) for value in column]


_LAYOUT: Final = (
    [(table, len(HISTORY[table]), list(batches)) for table, batches in BATCHES.items()],
    [(table, links.but_zero, list(links.sources)) for table, links in LINKS.items()],
    (families.TRANSACTIONS.name, HASH, INNER_HASH),
)
history_streams: Final[Callable[[], HistoryStreams]] = fastest("HistoryStreams", PythonStreams, json, *_LAYOUT)
