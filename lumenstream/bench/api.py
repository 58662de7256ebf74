"""Requests a second of the API on made ledgers, with PostgreSQL and the load generator on the same machine.

Four queries of a wallet - a transaction by hash with its operations, an account's 50 transactions, its 50 state changes with all
concrete fields, its balances - at 1, 16 and 64 connections, by compiled plans; and at 16, in turns, by graphql-core's executor.
The database is that of `lumenstream.bench.written` and is used again.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson
import psycopg

from lumenstream.bench.cpu import cpu_of
from lumenstream.bench.load import Load, generate, post
from lumenstream.bench.pipeline import answers, percentile
from lumenstream.bench.written import written_database
from lumenstream.embedded.processes import ChildProcess, Command, free_port
from lumenstream.errors import LumenstreamError
from lumenstream.settings import Settings
from schemas import strkey

DEFAULT_LEDGERS: Final = 600
DEFAULT_SECONDS: Final = 3.0
DEFAULT_ROUNDS: Final = 2
DEFAULT_PROCESSES: Final = 2
CONNECTIONS: Final = (1, 16, 64)
COMPARED_AT: Final = 16
PATH: Final = "/graphql/query"
_READY_SECONDS: Final = 60.0
_PARAMETERS: Final = 500

_PAGE: Final = "pageInfo { startCursor endCursor hasNextPage hasPreviousPage }"
_TRANSACTION: Final = "hash feeCharged resultCode ledgerNumber ledgerCreatedAt isFeeBump ingestedAt"
_OPERATION: Final = "id operationType operationXdr resultCode successful ledgerNumber ledgerCreatedAt ingestedAt"
_CHANGE: Final = """__typename type reason ingestedAt ledgerCreatedAt ledgerNumber
    ... on StandardBalanceChange { tokenId amount }
    ... on AccountChange { funderAddress }
    ... on SignerChange { signerAddress signerWeights }
    ... on SignerThresholdsChange { thresholds }
    ... on MetadataChange { keyValue }
    ... on FlagsChange { flags }
    ... on TrustlineChange { trustlineToken: tokenId limit liquidityPoolId }
    ... on ReservesChange { sponsoredAddress sponsorAddress liquidityPoolId claimableBalanceId sponsoredTrustline sponsoredData }
    ... on BalanceAuthorizationChange { authorizedToken: tokenId liquidityPoolId flags }"""
_BALANCE: Final = """__typename balance tokenId tokenType
    ... on NativeBalance { minimumBalance buyingLiabilities sellingLiabilities lastModifiedLedger }
    ... on TrustlineBalance { code issuer type limit buyingLiabilities sellingLiabilities lastModifiedLedger isAuthorized
        isAuthorizedToMaintainLiabilities }"""


class Case(NamedTuple):
    """A query, and the statement that finds what to ask it for: transactions by hash, accounts by address."""

    query: str
    variable: str
    statement: str


CASES: Final = {
    "transaction_with_operations": Case(
        f"query($hash: String!) {{ transactionByHash(hash: $hash) {{ {_TRANSACTION} operations {{ "
        f"edges {{ node {{ {_OPERATION} }} cursor }} {_PAGE} }} }} }}",
        "hash",
        "SELECT hash FROM transactions TABLESAMPLE SYSTEM (5) REPEATABLE (1) ORDER BY hash LIMIT %s",
    ),
    "account_transactions": Case(
        "query($address: String!) { accountByAddress(address: $address) { address transactions(first: 50) { "
        f"edges {{ node {{ {_TRANSACTION} }} cursor }} {_PAGE} }} }} }}",
        "address",
        "SELECT account_id FROM transactions_accounts WHERE get_byte(account_id, 0) = 48 GROUP BY 1 HAVING count(*) > 50 "
        "ORDER BY 1 LIMIT %s",
    ),
    "account_state_changes": Case(
        "query($address: String!) { accountByAddress(address: $address) { address stateChanges(first: 50) { "
        f"edges {{ node {{ {_CHANGE} }} cursor }} {_PAGE} }} }} }}",
        "address",
        "SELECT account_id FROM state_changes WHERE get_byte(account_id, 0) = 48 GROUP BY 1 HAVING count(*) > 50 "
        "ORDER BY 1 LIMIT %s",
    ),
    "balances": Case(
        f"query($address: String!) {{ balancesByAccountAddress(address: $address) {{ {_BALANCE} }} }}",
        "address",
        "SELECT account_id FROM trustline_balances GROUP BY 1 HAVING count(*) BETWEEN 5 AND 15 ORDER BY 1 LIMIT %s",
    ),
}


def run(settings: Settings) -> dict[str, Any]:
    """Keys: ledgers; by case and connections requests_per_second, p50_ms, p99_ms, cpu_us_per_request by process; by case also
    walked (graphql-core) and times_walked; memory_mib of the API's processes. LUMENSTREAM_BENCH_LEDGERS,
    LUMENSTREAM_BENCH_SECONDS, LUMENSTREAM_BENCH_ROUNDS and LUMENSTREAM_BENCH_PROCESSES: how many ledgers, how long a run, how
    often each, how many processes of the API, over which connections are spread as a balancer would."""
    count = int(os.environ.get("LUMENSTREAM_BENCH_LEDGERS", DEFAULT_LEDGERS))
    seconds = float(os.environ.get("LUMENSTREAM_BENCH_SECONDS", DEFAULT_SECONDS))
    rounds = int(os.environ.get("LUMENSTREAM_BENCH_ROUNDS", DEFAULT_ROUNDS))
    processes = int(os.environ.get("LUMENSTREAM_BENCH_PROCESSES", DEFAULT_PROCESSES))
    url = written_database(settings, count)
    requests = {name: _requests(url, case) for name, case in CASES.items()}
    with ExitStack() as stack:
        planned, walked = ([stack.enter_context(serving(url, plans=plans)) for _ in range(processes)] for plans in (True, False))
        cases = {name: _case(url, planned, walked, requests[name], seconds, rounds) for name in CASES}
        memory = {
            name: [round((api.rss_bytes() or 0) / (1 << 20), 1) for api in group]
            for name, group in (("planned", planned), ("walked", walked))
        }
    return {"ledgers": count, "processes": processes, "cases": cases, "memory_mib": memory}


class _Api(ChildProcess):
    port = 0


@contextmanager
def serving(url: str, *, plans: bool) -> Iterator[_Api]:
    """An API process of its own on the database."""
    with tempfile.TemporaryDirectory(prefix="lumenstream-bench-") as folder:
        port = free_port()
        environment = {
            "LUMENSTREAM_DATABASE__URL": url,
            "LUMENSTREAM_NETWORK__NAME": "pubnet",
            "LUMENSTREAM_API__PLANS": str(plans),
        }
        name = "serve" if plans else "serve-walking"
        argv = (sys.executable, "-m", "lumenstream", "serve", "--port", str(port))
        log = Path(folder) / f"{name}.log"
        with _Api(name, Command(argv=argv, log=log, environment=environment, working_directory=Path(folder))) as child:
            child.port = port
            child.wait_ready(lambda: answers(f"http://127.0.0.1:{port}/ready"), _READY_SECONDS)
            yield child


def _case(
    url: str, planned: Sequence[_Api], walked: Sequence[_Api], requests: Sequence[bytes], seconds: float, rounds: int
) -> dict[str, Any]:
    """One case at all numbers of connections. The first run of each process warms it up and is not counted."""
    for group in (planned, walked):
        _measured(url, group, requests, COMPARED_AT, 0.5)
    runs: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for _ in range(rounds):
        for connections in CONNECTIONS:
            runs.setdefault(("planned", connections), []).append(_measured(url, planned, requests, connections, seconds))
            if connections == COMPARED_AT:
                runs.setdefault(("walked", connections), []).append(_measured(url, walked, requests, connections, seconds))
    best = {key: max(found, key=lambda one: one["requests_per_second"]) for key, found in runs.items()}
    ratios = [
        ours["requests_per_second"] / theirs["requests_per_second"]
        for ours, theirs in zip(runs["planned", COMPARED_AT], runs["walked", COMPARED_AT], strict=True)
    ]
    by_connections = {str(connections): best["planned", connections] for connections in CONNECTIONS}
    return {**by_connections, "walked": best["walked", COMPARED_AT], "times_walked": round(statistics.median(ratios), 2)}


def _measured(url: str, group: Sequence[_Api], requests: Sequence[bytes], connections: int, seconds: float) -> dict[str, Any]:
    with psycopg.connect(url, autocommit=True) as connection:
        before = _cpu(connection, group)
        load = generate([api.port for api in group], requests, connections, seconds)
        after = _cpu(connection, group)
    if load.failed or not load.latencies:
        raise LumenstreamError(f"{load.failed} of {len(load.latencies)} answers failed\n{group[0].log_tail()}")
    return _figures(load, {name: after[name] - before.get(name, 0.0) for name in after})


def _figures(load: Load, cpu: dict[str, float]) -> dict[str, Any]:
    each = 1e6 / len(load.latencies)
    used = {**cpu, "load": load.cpu_seconds}
    return {
        "requests_per_second": round(load.per_second),
        "p50_ms": round(1000 * percentile(load.latencies, 0.5), 2),
        "p99_ms": round(1000 * percentile(load.latencies, 0.99), 2),
        "cpu_us_per_request": {name: round(seconds * each) for name, seconds in used.items()},
    }


def _cpu(connection: psycopg.Connection[Any], group: Sequence[_Api]) -> dict[str, float]:
    """CPU seconds so far of the API's processes and of the backends that serve them."""
    found = connection.execute("SELECT pid FROM pg_stat_activity WHERE datname = current_database()").fetchall()
    return {"api": sum(cpu_of(api.pid) for api in group), "database": sum(cpu_of(pid) for (pid,) in found)}


def _requests(url: str, case: Case) -> list[bytes]:
    with psycopg.connect(url) as connection:
        found = connection.execute(case.statement.encode(), (_PARAMETERS,)).fetchall()
    if not found:
        raise LumenstreamError(f"the database holds nothing to ask for: {case.statement}")
    values = [key.hex() if case.variable == "hash" else strkey.encode(key) for (key,) in found]
    bodies = [orjson.dumps({"query": case.query, "variables": {case.variable: value}}) for value in values]
    return [post(PATH, body) for body in bodies]
