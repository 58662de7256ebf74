"""The exported schema, and what clients of the reference rely on in it."""

from __future__ import annotations

from pathlib import Path

from graphql import build_schema, print_type

from api.schema import graphql_schema, sdl
from api.types.enums import OperationType
from schemas.state_changes import Category, Reason

EXPORTED = Path(__file__).resolve().parents[2] / "schemas" / "graphql" / "schema.graphql"

# Type, field and result of the reference's schema (spec/api.md 1); what we add beside them is free.
REFERENCE = """
Query transactionByHash Transaction, transactions TransactionConnection, accountByAddress Account, operations OperationConnection,
    operationById Operation, stateChanges StateChangeConnection, balancesByAccountAddress [Balance!]!,
    balancesByAccountAddresses [AccountBalances!]!
Transaction hash String!, envelopeXdr String, feeCharged Int64!, resultCode String!, metaXdr String, ledgerNumber UInt32!,
    ledgerCreatedAt Time!, isFeeBump Boolean!, ingestedAt Time!, operations OperationConnection, accounts [Account!]!,
    stateChanges StateChangeConnection
Operation id Int64!, operationType OperationType!, operationXdr String!, resultCode String!, successful Boolean!,
    ledgerNumber UInt32!, ledgerCreatedAt Time!, ingestedAt Time!, transaction Transaction!, accounts [Account!]!,
    stateChanges StateChangeConnection
Account address String!, transactions TransactionConnection, operations OperationConnection, stateChanges StateChangeConnection
PageInfo startCursor String, endCursor String, hasNextPage Boolean!, hasPreviousPage Boolean!
TransactionConnection edges [TransactionEdge!], pageInfo PageInfo!
OperationConnection edges [OperationEdge!], pageInfo PageInfo!
StateChangeConnection edges [StateChangeEdge!], pageInfo PageInfo!
TransactionEdge node Transaction, cursor String!
OperationEdge node Operation, cursor String!
StateChangeEdge node BaseStateChange, cursor String!
AccountBalances address String!, balances [Balance!]!, error String
AccountStateChangeFilterInput transactionHash String, operationId Int64, category String, reason String
BaseStateChange type StateChangeCategory!, reason StateChangeReason!, ingestedAt Time!, ledgerCreatedAt Time!,
    ledgerNumber UInt32!, account Account!, operation Operation, transaction Transaction!
StandardBalanceChange tokenId String!, amount String!
AccountChange funderAddress String
SignerChange signerAddress String, signerWeights String
SignerThresholdsChange thresholds String!
MetadataChange keyValue String!
FlagsChange flags [String!]!
TrustlineChange tokenId String, limit String, liquidityPoolId String
ReservesChange sponsoredAddress String, sponsorAddress String, liquidityPoolId String, claimableBalanceId String,
    sponsoredTrustline String, sponsoredData String
BalanceAuthorizationChange tokenId String, liquidityPoolId String, flags [String!]!
Balance balance String!, tokenId String!, tokenType TokenType!
NativeBalance minimumBalance String!, buyingLiabilities String!, sellingLiabilities String!, lastModifiedLedger UInt32!
TrustlineBalance code String!, issuer String!, type String!, limit String!, buyingLiabilities String!, sellingLiabilities String!,
    lastModifiedLedger UInt32!, isAuthorized Boolean!, isAuthorizedToMaintainLiabilities Boolean!
SACBalance code String!, issuer String!, decimals Int!, isAuthorized Boolean!, isClawbackEnabled Boolean!
SEP41Balance name String!, symbol String!, decimals Int!
"""


def test_the_exported_schema_is_the_program_s() -> None:
    assert EXPORTED.read_text(encoding="utf-8") == sdl(), "run: python -m api.schema > schemas/graphql/schema.graphql"


def test_the_text_builds_the_same_schema() -> None:
    built = build_schema(sdl())
    assert print_type(built.type_map["Query"]) == print_type(graphql_schema().type_map["Query"])


def test_every_field_of_the_reference_has_its_name_and_type() -> None:
    kinds = graphql_schema().type_map
    lines = REFERENCE.replace("\n    ", " ").strip().splitlines()
    for line in lines:
        name, _, fields = line.partition(" ")
        found = {field: str(definition.type) for field, definition in getattr(kinds[name], "fields").items()}  # noqa: B009
        for field in fields.split(", "):
            field_name, _, kind = field.partition(" ")
            assert found[field_name] == kind, f"{name}.{field_name}"


def test_the_enums_are_complete() -> None:
    assert len(OperationType) == 27
    text = sdl()
    for name in (*Category, *Reason, *(kind.value for kind in OperationType)):
        assert f"\n  {name}\n" in text
