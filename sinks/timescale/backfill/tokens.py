"""Which events of custom tokens in a range become history (docs/decisions/0010).

A contract is a token by what the range's own ledgers have shown so far, else by what the database knows. What the database
saw in later ledgers than these stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from lumenstream.database import Connection
from schemas.sep41 import PROTOCOL_ID
from sinks.timescale import sep41, sep41_state
from sinks.timescale.sep41 import UNKNOWN, Contract, Decision, Known, Token
from sinks.timescale.tables import LedgerEncoder, LedgerRows


class Tokens:
    """Of one range; its ledgers come in order, some at a time."""

    def __init__(self, connection: Connection, encoder: LedgerEncoder) -> None:
        self._connection = connection
        self._encoder = encoder
        self._shown = Known()

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
        sep41_state.insert(self._connection, _news(decision, stored, state.wasms))
        return [self._encoder.extended(rows, events) for rows, events in zip(ledgers, decision.events, strict=True)]


def _news(decision: Decision, stored: dict[bytes, Contract], wasms: dict[bytes, str | None]) -> Decision:
    """Code, contracts as they were seen last, and what that makes of tokens."""
    newest = {
        address: contract
        for address, contract in decision.contracts.items()
        if address not in stored or stored[address].ledger <= contract.ledger
    }
    now = Known(wasms, stored | newest)
    tokens = {
        address: Token(PROTOCOL_ID if now.is_token(address) else UNKNOWN, now.contracts[address].metadata)
        for address in decision.tokens
        if address in now.contracts
    }
    return Decision(decision.wasms, newest, tokens)
