"""Which contracts were deployed, and by whom: the ids that invoke_host_function operations announce.

A contract is created by the host function itself or somewhere down the tree of calls that an authorization entry permits. Its
id is a hash of who deploys it and a salt, so it is known without asking the ledger. Contracts of assets are nobody's deployment.
What a contract creates on its own account, without anyone's authorization, is not announced and not told here (Q2). Failed
transactions deploy nothing. Spec/processors.md 2.4; category ACCOUNT.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, cast

from lumenstream.xdr.rows import Address, AuthInvocation, CreateContract, InvokeHostFunction, Ledger, Operation
from processors import view
from schemas import toid
from schemas.families import STATE_CHANGES
from schemas.parts import Part
from schemas.state_changes import AccountChange, Category, IdBase, Reason

_PREIMAGE_FROM_ADDRESS: Final = 0


class ContractDeploys:
    """Family `state_changes.account`; ids count from IdBase.CONTRACT_DEPLOYS in the order in which contracts are announced."""

    name: Final = "contract_deploys"
    version: Final = 1

    def __init__(self, network_id: bytes) -> None:
        """Contract ids depend on the network, but come computed with the decoded ledger."""

    def process(self, ledger: Ledger) -> Part:
        part = Part()
        for tx in ledger.transactions:
            if not tx.is_soroban or not view.successful(tx):
                continue
            to_id = toid.transaction_id(ledger.header.sequence, tx.order)
            for index, op in enumerate(tx.operations):
                if op.type == view.INVOKE_HOST_FUNCTION:
                    part.add(STATE_CHANGES[Category.ACCOUNT], _deployments(op, to_id, toid.operation_id(to_id, index)))
        return part


def _deployments(op: Operation, to_id: int, operation_id: int) -> Iterator[AccountChange]:
    """One row per contract: the host function announces it, and the authorization of its deployer does so again."""
    deployers: dict[Address, Address] = {}
    for creation in _creations(cast(InvokeHostFunction, op.body)):
        preimage = creation.preimage
        if preimage.type == _PREIMAGE_FROM_ADDRESS:
            deployers.setdefault(preimage.contract_id, cast(Address, preimage.address))
    for state_change_id, (contract, deployer) in enumerate(deployers.items(), IdBase.CONTRACT_DEPLOYS + 1):
        yield AccountChange(to_id, operation_id, state_change_id, Reason.CREATE, contract, deployer)


def _creations(call: InvokeHostFunction) -> Iterator[CreateContract]:
    if isinstance(call.function, CreateContract):
        yield call.function
    for entry in call.auth:
        yield from _authorized(entry.root_invocation)


def _authorized(invocation: AuthInvocation) -> Iterator[CreateContract]:
    """Creations in a tree of authorized calls, depth first."""
    if isinstance(invocation.function, CreateContract):
        yield invocation.function
    for sub_invocation in invocation.sub_invocations:
        yield from _authorized(sub_invocation)
