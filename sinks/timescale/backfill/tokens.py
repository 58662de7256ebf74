"""Which events of custom tokens in a range become history (docs/decisions/0010).

A contract is a token by what the range's own ledgers have shown so far, else by what the database knows. The database knows later
ledgers than these, so a backfill only adds what it does not know at all, and changes nothing of what it does.
"""

from __future__ import annotations

from collections.abc import Sequence

from lumenstream.database import Connection
from sinks.timescale import sep41, sep41_state
from sinks.timescale.tables import LedgerEncoder, LedgerRows


class Tokens:
    """Of one range; its ledgers come in order, some at a time."""

    def __init__(self, connection: Connection, encoder: LedgerEncoder) -> None:
        self._connection = connection
        self._encoder = encoder
        self._shown = sep41.Known()

    def extend(self, ledgers: Sequence[LedgerRows]) -> list[LedgerRows]:
        """The ledgers with the state changes of tokens; what the database lacks of code and contracts is written."""
        sightings = [rows.sightings for rows in ledgers]
        if not any(sightings):
            return list(ledgers)
        state = sep41.known(sep41.read(self._connection, sightings))
        stored = dict(state.contracts)
        state.wasms |= self._shown.wasms
        state.contracts |= self._shown.contracts
        decision = sep41.decide(state, sightings)
        self._shown.wasms |= decision.wasms
        self._shown.contracts |= decision.contracts
        sep41_state.insert(self._connection, _news(decision, stored))
        return [self._encoder.extended(rows, events) for rows, events in zip(ledgers, decision.events, strict=True)]


def _news(decision: sep41.Decision, stored: dict[bytes, sep41.Contract]) -> sep41.Decision:
    """Code, contracts that the database does not have, and the tokens that follow from both."""

    def is_news(address: bytes) -> bool:
        return address not in stored or stored[address].wasm_hash in decision.wasms

    return sep41.Decision(
        decision.wasms,
        {address: contract for address, contract in decision.contracts.items() if address not in stored},
        {address: token for address, token in decision.tokens.items() if is_news(address)},
    )
