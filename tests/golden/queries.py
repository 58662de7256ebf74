"""Recorded queries: between them they select every field of every type."""

from __future__ import annotations

from typing import Final

_PAGE: Final = "query($first: Int, $after: String, $last: Int, $before: String"
_ARGUMENTS: Final = "first: $first, after: $after, last: $last, before: $before"
_INFO: Final = "pageInfo { startCursor endCursor hasNextPage hasPreviousPage }"
_COUNT: Final = "totalCount { count exact }"
_REST: Final = f"{_INFO} {_COUNT}"

_TRANSACTION: Final = """hash innerHash idString envelopeXdr feeCharged feeChargedString resultCode metaXdr ledgerNumber
    ledgerCreatedAt isFeeBump ingestedAt"""
_OPERATION: Final = """id idString operationType operationXdr resultCode successful ledgerNumber ledgerCreatedAt ingestedAt
    transaction { hash }"""
_ASSET: Final = "{ name tokenId }"
_AMOUNT: Final = f"{{ asset {_ASSET} amount rawAmount }}"

_CHANGE: Final = """__typename type reason idString ingestedAt ledgerCreatedAt ledgerNumber
    account { address } operation { idString } transaction { idString }
    ... on StandardBalanceChange { balanceTokenId: tokenId balanceAmount: amount toMuxedId }
    ... on AccountChange { funderAddress creatorAddress destinationAddress }
    ... on SignerChange { signerAddress signerWeights oldWeight newWeight }
    ... on SignerThresholdsChange { thresholds oldThreshold newThreshold }
    ... on MetadataChange { keyValue name oldValue newValue }
    ... on FlagsChange { flags }
    ... on TrustlineChange { tokenId limit liquidityPoolId oldLimit newLimit }
    ... on ReservesChange { sponsoredAddress sponsorAddress liquidityPoolId claimableBalanceId sponsoredTrustline sponsoredData
        signerAddress }
    ... on BalanceAuthorizationChange { tokenId liquidityPoolId flags }
    ... on AllowanceChange { balanceTokenId: tokenId spender balanceAmount: amount expirationLedger }"""

_BALANCE: Final = f"""__typename balance rawBalance tokenId tokenType
    ... on NativeBalance {{ minimumBalance buyingLiabilities sellingLiabilities lastModifiedLedger numSubentries }}
    ... on TrustlineBalance {{ code issuer type limit buyingLiabilities sellingLiabilities lastModifiedLedger isAuthorized
        isAuthorizedToMaintainLiabilities }}
    ... on SACBalance {{ code issuer decimals isAuthorized isClawbackEnabled lastModifiedLedger }}
    ... on SEP41Balance {{ name symbol decimals lastModifiedLedger }}
    ... on LiquidityPoolBalance {{ lastModifiedLedger reserves {_AMOUNT} pool {{ id }} }}"""

_LEDGER: Final = """sequence hash previousHash closedAt protocolVersion transactionCount successfulTransactionCount operationCount
    stateChangeCount ingestedAt"""
_CLAIMABLE: Final = f"""id asset {_ASSET} amount rawAmount sponsorAddress creatorAddress createdLedger createdAt
    isClawbackEnabled lastModifiedLedger claimants {{ address predicate canClaimNow }}"""
_EVENT: Final = f"""idString kind balanceId address asset {_ASSET} amount rawAmount ledgerNumber ledgerCreatedAt ingestedAt
    claimableBalance {{ id }} operation {{ idString }} transaction {{ idString }}"""
_OFFER: Final = f"""id idString sellerAddress selling {_ASSET} buying {_ASSET} amount rawAmount price priceN priceD isPassive
    sponsorAddress lastModifiedLedger"""
_TRADE: Final = f"""idString kind takerAddress makerAddress liquidityPoolId offerId sold {_AMOUNT} bought {_AMOUNT} price priceN
    priceD ledgerNumber ledgerCreatedAt ingestedAt operation {{ idString }} transaction {{ idString }}"""
_POOL: Final = f"id reserves {_AMOUNT} feeBasisPoints totalShares rawTotalShares trustlineCount lastModifiedLedger"


def _list(name: str, node: str, edge: str = "") -> str:
    return f"{name}({_ARGUMENTS}) {{ edges {{ node {{ {node} }} cursor {edge} }} {_REST} }}"


def _of_account(name: str, node: str, edge: str = "") -> str:
    return f"{_PAGE}, $address: String!) {{ accountByAddress(address: $address) {{ address {_list(name, node, edge)} }} }}"


TRANSACTION: Final = f"""query($hash: String!) {{ transactionByHash(hash: $hash) {{ {_TRANSACTION} accounts {{ address }}
    operations {{ edges {{ node {{ {_OPERATION} }} cursor }} {_REST} }}
    stateChanges(first: 1) {{ edges {{ node {{ idString }} cursor }} {_REST} }} }} }}"""
TRANSACTIONS: Final = f"""{_PAGE}) {{ transactions({_ARGUMENTS}) {{ edges {{ cursor node {{ {_TRANSACTION} accounts {{ address }}
    operations(first: 1) {{ totalCount {{ count }} }} stateChanges(first: 1) {{ totalCount {{ count }} }} }} }} {_REST} }} }}"""
OPERATION: Final = f"query($id: Int64!) {{ operationById(id: $id) {{ {_OPERATION} accounts {{ address }} }} }}"
OPERATIONS: Final = f"""{_PAGE}) {{ operations({_ARGUMENTS}) {{ edges {{ cursor node {{ {_OPERATION} accounts {{ address }}
    stateChanges(first: 1) {{ totalCount {{ count }} }} }} }} {_REST} }} }}"""
STATE_CHANGES: Final = f"{_PAGE}) {{ {_list('stateChanges', _CHANGE)} }}"
ACCOUNT_TRANSACTIONS: Final = _of_account(
    "transactions", _TRANSACTION, f"operations {{ {_OPERATION} }} stateChanges {{ __typename idString account {{ address }} }}"
)
ACCOUNT_OPERATIONS: Final = _of_account("operations", _OPERATION)
ACCOUNT_STATE_CHANGES: Final = _of_account("stateChanges", _CHANGE)
ACCOUNT_BALANCES: Final = _of_account("balances", _BALANCE)
ACCOUNT_ALLOWANCES: Final = _of_account("sep41Allowances", "owner spender tokenId amount expirationLedger lastModifiedLedger")
ACCOUNT_CLAIMABLE: Final = _of_account("claimableBalances", _CLAIMABLE)
ACCOUNT_CLAIMABLE_EVENTS: Final = _of_account("claimableBalanceEvents", _EVENT)
ACCOUNT_OFFERS: Final = _of_account("offers", _OFFER)
ACCOUNT_TRADES: Final = _of_account("trades", _TRADE)
BALANCES: Final = f"query($address: String!) {{ balancesByAccountAddress(address: $address, poolShares: true) {{ {_BALANCE} }} }}"
MANY_BALANCES: Final = f"""query($addresses: [String!]!) {{ balancesByAccountAddresses(addresses: $addresses) {{
    address error balances {{ {_BALANCE} }} }} }}"""
LEDGER: Final = f"query($sequence: UInt32!) {{ ledger(sequence: $sequence) {{ {_LEDGER} }} }}"
LEDGERS: Final = f"{_PAGE}) {{ " + _list("ledgers", f"{_LEDGER} transactions(first: 1) {{ edges {{ cursor }} {_REST} }}") + " }"
CLAIMABLE: Final = f"query($id: String!) {{ claimableBalance(id: $id) {{ {_CLAIMABLE} }} }}"
OFFER: Final = f"query($id: Int64!) {{ offer(id: $id) {{ {_OFFER} }} }}"
POOL: Final = f"query($id: String!) {{ liquidityPool(id: $id) {{ {_POOL} }} }}"
POOLS: Final = f"{_PAGE}) {{ {_list('liquidityPools', _POOL)} }}"

ALL: Final = {name: text for name, text in globals().items() if name.isupper() and not name.startswith("_")}
