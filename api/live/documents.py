"""The canned subscriptions behind the plain addresses under /stream: which fields they show, and where their arguments stand."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from starlette.requests import Request

LAST_EVENT_ID: Final = "last-event-id"

_STATE_CHANGE: Final = """
__typename idString type reason ledgerNumber ledgerCreatedAt
account { address } operation { idString operationType } transaction { hash }
... on StandardBalanceChange { tokenId amount toMuxedId }
... on AccountChange { creatorAddress destinationAddress }
... on SignerChange { signerAddress oldWeight newWeight }
... on SignerThresholdsChange { oldThreshold newThreshold }
... on MetadataChange { name oldValue newValue }
... on FlagsChange { flags }
... on TrustlineChange { trustlineToken: tokenId liquidityPoolId oldLimit newLimit }
... on ReservesChange { sponsoredAddress sponsorAddress liquidityPoolId claimableBalanceId
  sponsoredTrustline sponsoredData signerAddress }
... on BalanceAuthorizationChange { trustlineToken: tokenId liquidityPoolId flags }
... on AllowanceChange { tokenId spender allowance: amount expirationLedger }
"""
_TRANSACTION: Final = "hash ledgerNumber ledgerCreatedAt feeCharged resultCode isFeeBump"
_LEDGER: Final = (
    "sequence hash closedAt protocolVersion transactionCount successfulTransactionCount operationCount stateChangeCount"
)


class Document(NamedTuple):
    """A subscription and the field of its answers."""

    field: str
    text: str

    def variables(self, http: Request) -> dict[str, Any]:
        """Arguments of the address. The id of the last event wins: a browser that reconnects asks with the old `after`."""
        given: dict[str, Any] = dict(http.path_params)
        for name in ("address", "after"):
            if name in http.query_params:
                given[name] = http.query_params[name]
        after_ledger = http.query_params.get("afterLedger", "")
        if after_ledger.isdecimal():
            given["afterLedger"] = int(after_ledger)
        elif after_ledger:
            given["afterLedger"] = after_ledger  # refused as any wrong value is
        if last := http.headers.get(LAST_EVENT_ID):
            given["after"] = last
            given.pop("afterLedger", None)
        return given


ACCOUNT_STATE_CHANGES: Final = Document(
    "accountStateChanges",
    "subscription($address: String!, $after: String, $afterLedger: UInt32) { "
    "accountStateChanges(address: $address, after: $after, afterLedger: $afterLedger) "
    f"{{ cursor node {{ {_STATE_CHANGE} }} }} }}",
)
TRANSACTIONS: Final = Document(
    "transactions",
    "subscription($address: String, $after: String, $afterLedger: UInt32) { "
    f"transactions(address: $address, after: $after, afterLedger: $afterLedger) {{ cursor node {{ {_TRANSACTION} }} }} }}",
)
LEDGERS: Final = Document(
    "ledgers",
    "subscription($after: String, $afterLedger: UInt32) { "
    f"ledgers(after: $after, afterLedger: $afterLedger) {{ cursor node {{ {_LEDGER} }} }} }}",
)
