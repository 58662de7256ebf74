"""Contract deploys: which contracts a successful call announces, and who deployed them."""

from __future__ import annotations

from typing import Any

import pytest

from lumenstream.xdr import rows
from lumenstream.xdr.rows import AuthEntry, AuthInvocation, CreateContract, InvokeHostFunction
from processors.contract_deploys import ContractDeploys
from schemas.parts import Part
from schemas.state_changes import AccountChange, IdBase, Reason
from tests.unit.effects_builder import rows_of
from tests.unit.ledger_builder import (
    ALICE,
    BOB,
    NETWORK,
    OPERATION,
    TO_ID,
    USDC,
    contract,
    from_address,
    from_asset,
    ledger,
    op,
    symbol,
    tx,
)

FIRST = IdBase.CONTRACT_DEPLOYS + 1
V1, V2 = 1, 3  # HostFunctionType
AUTHORIZED_V1, AUTHORIZED_V2 = 1, 2  # SorobanAuthorizedFunctionType


def deploys(body: rows.OperationBody, **fields: Any) -> Part:
    return ContractDeploys(NETWORK).process(ledger(tx(op(body), **{"is_soroban": True, **fields})))


def created(name: str, deployer: bytes, at: int = FIRST) -> AccountChange:
    return AccountChange(TO_ID, OPERATION, at, Reason.CREATE, contract(name), deployer)


def called(name: str, *below: AuthInvocation) -> AuthInvocation:
    return AuthInvocation(0, rows.InvokeContract(contract(name), "f", ()), below)


def creating(creation: CreateContract, *below: AuthInvocation) -> AuthInvocation:
    return AuthInvocation(AUTHORIZED_V2 if creation.constructor_args else AUTHORIZED_V1, creation, below)


def authorized(*invocations: AuthInvocation) -> tuple[AuthEntry, ...]:
    return tuple(AuthEntry(0, None, each) for each in invocations)


@pytest.mark.parametrize(("kind", "args"), [(V1, ()), (V2, (symbol("x"),))])
def test_a_created_contract_is_an_account_of_its_deployer(kind: int, args: tuple[rows.ScVal, ...]) -> None:
    """D1."""
    body = InvokeHostFunction(kind, from_address("new", BOB, *args), ())
    assert rows_of(deploys(body)) == [created("new", BOB)]


def test_a_fee_bump_deploys_too() -> None:
    """D1."""
    body = InvokeHostFunction(V1, from_address("new", BOB), ())
    assert rows_of(deploys(body, envelope_type=5, result_code=1, fee_source=BOB)) == [created("new", BOB)]


def test_a_contract_announced_twice_is_told_once() -> None:
    """D1: the deployer authorizes what the host function creates."""
    creation = from_address("new", ALICE)
    body = InvokeHostFunction(V1, creation, authorized(creating(creation)))
    assert rows_of(deploys(body)) == [created("new", ALICE)]


def test_authorization_trees_are_walked_depth_first() -> None:
    """D1: ids count in the order in which contracts are announced."""
    tree = authorized(
        called("factory", creating(from_address("b", BOB, symbol("x")), creating(from_address("c", ALICE)))),
        creating(from_address("d", BOB)),
    )
    body = InvokeHostFunction(V1, from_address("a", ALICE), tree)
    assert rows_of(deploys(body)) == [
        created("a", ALICE),
        created("b", BOB, FIRST + 1),
        created("c", ALICE, FIRST + 2),
        created("d", BOB, FIRST + 3),
    ]


def test_a_contract_may_deploy() -> None:
    body = InvokeHostFunction(0, rows.InvokeContract(contract("factory"), "f", ()), ())
    tree = authorized(called("factory", creating(from_address("new", contract("factory")))))
    assert rows_of(deploys(body._replace(auth=tree))) == [created("new", contract("factory"))]


def test_the_contract_of_an_asset_is_nobodys_deployment() -> None:
    """D2."""
    tree = authorized(called("factory", creating(from_asset(USDC))))
    assert deploys(InvokeHostFunction(V1, from_asset(USDC), tree)) == Part()


def test_other_operations_deploy_nothing() -> None:
    """D3; nor does the upload of code."""
    assert deploys(rows.Payment(BOB, USDC, 1), is_soroban=False) == Part()
    assert deploys(InvokeHostFunction(2, b"wasm", ())) == Part()


def test_a_failed_transaction_deploys_nothing() -> None:
    """D4, Q2."""
    body = InvokeHostFunction(V1, from_address("new", BOB), ())
    assert deploys(body, result_code=-1) == Part()
    assert deploys(body, envelope_type=5, result_code=-13, fee_source=BOB) == Part()
