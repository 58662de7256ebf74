"""Custom tokens for the made-up chain: code that comes and goes, contracts that are upgraded, events of tokens and of others; and
what must come of them, worked out ledger by ledger without the sink's code.
"""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from schemas import families, strkey
from schemas.parts import Part
from schemas.sep41 import CandidateEvent, ContractRow, WasmRow

TOKEN_TABLES = {
    "protocol_wasms": "wasm_hash, protocol_id",
    "protocol_contracts": "contract_id, wasm_hash, name, symbol, decimals, last_modified_ledger",
    "sep41_balances": "*",
    "sep41_allowances": "*",
}
PROTOCOLS: dict[str, str | None] = {"gold": "SEP41", "silver": "SEP41", "game": None}
CODE = {name: hashlib.sha256(name.encode()).digest() for name in PROTOCOLS}
DESCRIPTIONS: tuple[tuple[str, str, int] | tuple[None, None, None], ...] = (
    (None, None, None),
    ("Gold", "GLD", 7),
    ("", "", 0),
    ("Gölden", "GÖ", 18),
)


def add_code(rng: random.Random, parts: Mapping[str, Part], contracts: Sequence[bytes]) -> None:
    """Now and then code, and contracts that run code which may not have been seen yet."""
    part = parts["sep41"]
    for name, protocol in PROTOCOLS.items():
        if rng.random() < 0.15:
            part.add(families.PROTOCOL_WASMS, [WasmRow(CODE[name], protocol, 100)])
    for address in contracts:
        if rng.random() < 0.2:
            row = ContractRow(address, CODE[rng.choice(sorted(PROTOCOLS))], *rng.choice(DESCRIPTIONS))
            part.add(families.PROTOCOL_CONTRACTS, [row])


def add_events(
    rng: random.Random,
    parts: Mapping[str, Part],
    place: tuple[int, int, int],
    holders: Sequence[bytes],
    contracts: Sequence[bytes],
) -> None:
    """Some events of an operation. `place`: ledger, transaction and operation."""
    sequence, to_id, operation = place
    for _ in range(rng.randrange(4)):
        a, b, amount = rng.choice(holders), rng.choice(holders), rng.choice((0, 1, 5, (1 << 127) - 1))
        token = rng.choice(contracts)
        row = {
            "transfer": CandidateEvent(to_id, operation, "transfer", token, a, b, None, amount, str(rng.randrange(9)), None),
            "mint": CandidateEvent(to_id, operation, "mint", token, None, a, None, amount, None, None),
            "burn": CandidateEvent(to_id, operation, "burn", token, a, None, None, amount, None, None),
            "clawback": CandidateEvent(to_id, operation, "clawback", token, a, None, None, amount, None, None),
            "approve": CandidateEvent(
                to_id,
                operation,
                "approve",
                token,
                a,
                None,
                b,
                amount,
                None,
                rng.choice((0, sequence, sequence + 3, (1 << 32) - 1)),
            ),
        }[rng.choice(("transfer", "mint", "burn", "clawback", "approve"))]
        parts["sep41"].add(families.SEP41_CANDIDATE_EVENTS, [row])


def holder(address: bytes) -> bytes:
    return bytes((strkey.ACCOUNT,)) + address[1:33] if address[0] == strkey.MUXED else address


@dataclass
class Model:
    """The state after the ledgers told so far."""

    code: dict[bytes, str | None] = field(default_factory=dict)
    runs: dict[bytes, bytes] = field(default_factory=dict)
    balances: defaultdict[tuple[bytes, bytes], int] = field(default_factory=lambda: defaultdict(int))
    allowances: dict[tuple[bytes, bytes, bytes], tuple[int, int]] = field(default_factory=dict)
    changes: list[tuple[Any, ...]] = field(default_factory=list)  # operation, ordinal, reason, account, token, amount, muxed id

    def tell(self, sequence: int, part: Part) -> None:
        for wasm_hash, protocol, _ in part.rows.get("protocol_wasms", []):
            self.code[wasm_hash] = protocol
        for address, wasm_hash, *_ in part.rows.get("protocol_contracts", []):
            self.runs[address] = wasm_hash
        ordinals: defaultdict[int, int] = defaultdict(int)
        for row in part.rows.get("sep41_candidate_events", []):
            event = CandidateEvent(*row)
            if self.code.get(self.runs.get(event.contract_id, b"")) == "SEP41":
                for reason, account in self._apply(event):
                    ordinals[event.operation_id] += 1
                    muxed = event.to_muxed_id if reason in ("CREDIT", "MINT") else None
                    place = event.operation_id, ordinals[event.operation_id]
                    self.changes.append((*place, reason, account[:33], event.contract_id, str(event.amount), muxed))
        self.allowances = {key: (amount, live) for key, (amount, live) in self.allowances.items() if amount and live >= sequence}

    def _apply(self, event: CandidateEvent) -> Iterable[tuple[str, bytes]]:
        token, source, destination = event.contract_id, event.from_account_id, event.to_account_id
        match event.event:
            case "transfer":
                assert source and destination
                self.balances[holder(source), token] -= event.amount
                self.balances[holder(destination), token] += event.amount
                return [("DEBIT", source), ("CREDIT", destination)]
            case "mint":
                assert destination
                self.balances[holder(destination), token] += event.amount
                return [("MINT", destination)]
            case "approve":
                assert source and event.spender_account_id and event.live_until_ledger is not None
                key = holder(source), holder(event.spender_account_id), token
                self.allowances[key] = event.amount, event.live_until_ledger
                return [("UPDATE", source)]
            case _:
                assert source
                self.balances[holder(source), token] -= event.amount
                return [("BURN", source)]
