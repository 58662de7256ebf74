"""What operations did to accounts and trustlines beyond moving balances: signers, flags, metadata, trust, sponsorship.

Only operations of successful transactions have effects. Six kinds have effects of their own (`effects_accounts`,
`effects_trustlines`); sponsorship is read from the ledger changes of all kinds that create, remove or hand over entries
(`sponsorship_effects`). Spec/processors.md 2.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Final

from lumenstream.xdr.rows import Ledger
from processors import effects_accounts, effects_trustlines, view
from processors.effects_context import CHANGE_TRUST, MANAGE_DATA, Context
from processors.sponsorship_effects import reserves
from schemas import toid
from schemas.parts import Part
from schemas.state_changes import IdBase, StateChange

_DERIVATIONS: Final[dict[int, Callable[[Context], Iterator[StateChange]]]] = {
    view.CREATE_ACCOUNT: effects_accounts.create_account,
    view.SET_OPTIONS: effects_accounts.set_options,
    CHANGE_TRUST: effects_trustlines.change_trust,
    view.ALLOW_TRUST: effects_trustlines.allow_trust,
    MANAGE_DATA: effects_accounts.manage_data,
    view.SET_TRUST_LINE_FLAGS: effects_trustlines.set_trust_line_flags,
}

# Payments, trades, pool and contract operations move what is there: no entry of theirs gets, loses or changes a sponsor, offers
# aside. They are nearly all of a ledger, so their changes are not walked.
_MOVES_SPONSORSHIP: Final = frozenset(
    {
        *_DERIVATIONS,
        view.ACCOUNT_MERGE,
        view.CREATE_CLAIMABLE_BALANCE,
        view.CLAIM_CLAIMABLE_BALANCE,
        view.REVOKE_SPONSORSHIP,
        view.CLAWBACK_CLAIMABLE_BALANCE,
    }
)


class Effects:
    """State changes SIGNER, SIGNATURE_THRESHOLD, METADATA, FLAGS, TRUSTLINE and BALANCE_AUTHORIZATION, whose ids count from
    IdBase.EFFECTS, and RESERVES in a stream of its own, from IdBase.RESERVES."""

    name: Final = "effects"
    version: Final = 1

    def __init__(self, network_id: bytes) -> None:
        self._network_id = network_id

    def process(self, ledger: Ledger) -> Part:
        part = Part()
        for tx in ledger.transactions:
            if not view.successful(tx):
                continue
            to_id = toid.transaction_id(ledger.header.sequence, tx.order)
            for index, op in enumerate(tx.operations):
                if op.type not in _MOVES_SPONSORSHIP:
                    continue
                source, operation_id = view.op_source(tx, op), toid.operation_id(to_id, index)
                derive = _DERIVATIONS.get(op.type)
                if derive is not None:
                    ids = count(IdBase.EFFECTS + 1)
                    part.add_state_changes(derive(Context(self._network_id, to_id, operation_id, ids, op, source)))
                ids = count(IdBase.RESERVES + 1)
                part.add_state_changes(reserves(Context(self._network_id, to_id, operation_id, ids, op, source)))
        return part
