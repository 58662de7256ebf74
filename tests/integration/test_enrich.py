"""`lumenstream enrich` on a real database, against an RPC server that answers in XDR: what is filled, refused, resumed."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psycopg
import pytest
from stellar_sdk import Keypair, StrKey, xdr
from typer.testing import CliRunner

from lumenstream.cli.main import build
from lumenstream.errors import IntegrityError, LumenstreamError, UnreachableError
from lumenstream.settings import Settings, load_settings
from schemas import assets, strkey
from sinks.timescale import enrich
from tests.servers.rpc import RpcStub, send

PASSPHRASE = "Lumenstream Sandbox Network"
ISSUER = Keypair.from_raw_ed25519_seed(hashlib.sha256(b"issuer").digest()).public_key
Answer = dict[str, Any]


def contract(name: str) -> str:
    return StrKey.encode_contract(hashlib.sha256(name.encode()).digest())


def asset_contract(code: str) -> str:
    kind = assets.ALPHANUM4 if len(code) <= 4 else assets.ALPHANUM12
    return strkey.encode(assets.contract_address(assets.network_id(PASSPHRASE), kind, code, strkey.decode(ISSUER)))


def string(value: bytes) -> Answer:
    return result(xdr.SCVal(xdr.SCValType.SCV_STRING, str=xdr.SCString(value)))


def u32(value: int) -> Answer:
    return result(xdr.SCVal(xdr.SCValType.SCV_U32, u32=xdr.Uint32(value)))


def symbol(value: bytes) -> Answer:
    return result(xdr.SCVal(xdr.SCValType.SCV_SYMBOL, sym=xdr.SCSymbol(value)))


def result(value: xdr.SCVal) -> Answer:
    return {"results": [{"auth": [], "xdr": base64.b64encode(value.to_xdr_bytes()).decode()}], "minResourceFee": "1"}


def trap(text: str) -> Answer:
    return {"error": text, "events": []}


def token(name: bytes, short: bytes, decimals: int) -> dict[str, Answer]:
    return {"name": string(name), "symbol": string(short), "decimals": u32(decimals)}


class Contracts:
    """What contracts answer, by their address and the function called in the envelope."""

    def __init__(self) -> None:
        self.answers: dict[str, dict[str, Answer]] = {}

    def __call__(self, envelope: str) -> Answer:
        transaction = xdr.TransactionEnvelope.from_xdr(envelope).v1
        assert transaction is not None
        invoked = transaction.tx.operations[0].body.invoke_host_function_op
        assert invoked is not None and invoked.host_function.invoke_contract is not None
        call = invoked.host_function.invoke_contract
        assert call.contract_address.contract_id is not None and call.args == []
        address = StrKey.encode_contract(call.contract_address.contract_id.contract_id.hash)
        function = call.function_name.sc_symbol.decode()
        return self.answers[address].get(function, trap("HostError: Error(WasmVm, MissingValue)"))


@pytest.fixture
def contracts() -> Contracts:
    return Contracts()


@pytest.fixture
def rpc(contracts: Contracts) -> Iterator[RpcStub]:
    with RpcStub([], PASSPHRASE, simulate=contracts) as stub:
        yield stub


@pytest.fixture
def make(rpc: RpcStub, database_url: str) -> Callable[..., Settings]:
    def build_settings(**flags: Any) -> Settings:
        quick = {
            "database__url": database_url,
            "producer__rpc_url": rpc.url,
            "producer__source_backoff_seconds": 0.001,
            "producer__source_backoff_max_seconds": 0.002,
            "enrich__pause_seconds": 0.0,
            "enrich__http_port": 0,
        }
        return load_settings(**quick | flags)

    return build_settings


def add(database_url: str, address: str, kind: str = "SEP41", name: str | None = None, short: str | None = None) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "insert into contract_tokens (id, contract_id, type, name, symbol, decimals) values (%s::uuid, %s, %s, %s, %s, 0)",
            (assets.contract_uuid(strkey.decode(address)).hex(), address, kind, name, short),
        )


def tokens(database_url: str) -> dict[str, tuple[Any, ...]]:
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("select contract_id, name, symbol, decimals, code, issuer from contract_tokens").fetchall()
    return {row[0]: row[1:] for row in rows}


def errors(database_url: str) -> dict[str, tuple[str, int]]:
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "select t.contract_id, e.error, e.tries from token_enrichments e join contract_tokens t on t.id = e.contract_id"
        ).fetchall()
    return {row[0]: row[1:] for row in rows}


def test_fills_what_is_missing_and_nothing_else(make: Callable[..., Settings], contracts: Contracts, database_url: str) -> None:
    gold, told, game = contract("gold"), contract("told"), contract("game")
    add(database_url, gold)
    add(database_url, told, name="Told", short="TLD")
    add(database_url, game, kind="UNKNOWN")
    contracts.answers = {gold: token("Gölden".encode(), b"GLD", 18), told: token(b"Other", b"OTH", 1), game: token(b"G", b"G", 1)}
    assert enrich.run_once(make()) == enrich.Summary(filled=1, refused=0, lacking=0)
    assert tokens(database_url) == {
        gold: ("Gölden", "GLD", 18, None, None),
        told: ("Told", "TLD", 0, None, None),
        game: (None, None, 0, None, None),
    }


REFUSALS: list[tuple[dict[str, Answer], str]] = [
    (token(b"x" * 129, b"X", 1), "name has 129 bytes, more than 128"),
    (token(b"x", b"y" * 33, 1), "symbol has 33 bytes, more than 32"),
    (token(b"x", b"X", 71), "decimals is 71, more than 70"),
    (token(b"\xff\xfe", b"X", 1), "name is not UTF-8"),
    (token(b"x\0y", b"X", 1), "name holds a NUL"),
    (token(b"x", b"X", 1) | {"decimals": string(b"7")}, "decimals returns SCV_STRING, not a U32"),
    (token(b"x", b"X", 1) | {"name": symbol(b"x")}, "name returns SCV_SYMBOL, not a String"),
    ({"name": string(b"x")}, "symbol: HostError: Error(WasmVm, MissingValue)"),
    ({"name": trap("bad \0 luck" + "!" * 999)}, "name: bad luck!!!"),
    ({"name": {"results": []}}, "name: no return value: IndexError"),
    ({"name": {"results": [{"xdr": "AAA="}]}}, "name: no return value"),
]


def test_what_cannot_be_believed_is_refused_as_a_whole(
    make: Callable[..., Settings], contracts: Contracts, database_url: str
) -> None:
    bad = {contract(reason): (answers, reason) for answers, reason in REFUSALS}
    for address, (answers, _) in bad.items():
        add(database_url, address)
        contracts.answers[address] = answers
    assert enrich.run_once(make()) == enrich.Summary(filled=0, refused=len(bad), lacking=len(bad))
    assert set(tokens(database_url).values()) == {(None, None, 0, None, None)}
    found = errors(database_url)
    for address, (_, reason) in bad.items():
        text, tries = found[address]
        assert text.startswith(reason) and len(text) <= 300 and tries == 1


def test_the_caps_themselves_are_allowed(make: Callable[..., Settings], contracts: Contracts, database_url: str) -> None:
    long = contract("long")
    add(database_url, long)
    contracts.answers[long] = token(b"n" * 128, b"s" * 32, 70)
    assert enrich.run_once(make()).filled == 1
    assert tokens(database_url)[long] == ("n" * 128, "s" * 32, 70, None, None)


def test_an_asset_contract_is_filled_when_it_is_that_assets(
    make: Callable[..., Settings], contracts: Contracts, database_url: str
) -> None:
    usd, long, liar, odd = asset_contract("USD"), asset_contract("LONGCODE"), contract("liar"), contract("odd")
    for address in (usd, long, liar, odd):
        add(database_url, address, kind="SAC")
    contracts.answers = {
        usd: {"name": string(f"USD:{ISSUER}".encode())},
        long: {"name": string(f"LONGCODE:{ISSUER}".encode())},
        liar: {"name": string(f"USD:{ISSUER}".encode())},
        odd: {"name": string(b"native")},
    }
    assert enrich.run_once(make()) == enrich.Summary(filled=2, refused=2, lacking=2)
    found = tokens(database_url)
    assert found[usd] == (f"USD:{ISSUER}", "USD", 7, "USD", ISSUER)
    assert found[long] == (f"LONGCODE:{ISSUER}", "LONGCODE", 7, "LONGCODE", ISSUER)
    assert "whose contract is another one" in errors(database_url)[liar][0]
    assert "is not CODE:ISSUER" in errors(database_url)[odd][0]


def test_many_in_batches_with_bounded_concurrency(
    make: Callable[..., Settings], contracts: Contracts, rpc: RpcStub, database_url: str
) -> None:
    names = [contract(f"token {number}") for number in range(25)]
    for number, address in enumerate(names):
        add(database_url, address)
        contracts.answers[address] = token(f"Token {number}".encode(), b"T", number)
    rpc.delay_seconds = 0.005
    assert enrich.run_once(make(enrich__batch_contracts=10, enrich__concurrency=4)).filled == 25
    assert [tokens(database_url)[address][2] for address in names] == list(range(25))
    assert 1 < rpc.most_at_once <= 4 and rpc.calls.count("simulateTransaction") == 75


def test_one_that_did_not_tell_is_left_alone_until_later(
    make: Callable[..., Settings], contracts: Contracts, rpc: RpcStub, database_url: str
) -> None:
    shy = contract("shy")
    add(database_url, shy)
    contracts.answers[shy] = {}
    assert enrich.run_once(make()).refused == 1
    calls = len(rpc.calls)
    assert enrich.run_once(make()) == enrich.Summary(lacking=1) and len(rpc.calls) == calls
    contracts.answers[shy] = token(b"Shy", b"SHY", 3)
    assert enrich.run_once(make(), again=True).filled == 1
    assert errors(database_url) == {}


def test_resumes_where_it_was_cut_short(
    make: Callable[..., Settings], contracts: Contracts, rpc: RpcStub, database_url: str
) -> None:
    names = sorted(
        (contract(f"token {number}") for number in range(6)), key=lambda text: assets.contract_uuid(strkey.decode(text))
    )
    for address in names:
        add(database_url, address)
        contracts.answers[address] = token(b"T", b"T", 1)
    served = 0
    whole = rpc.simulate
    assert whole is not None

    def three_then_none(envelope: str) -> Answer:
        nonlocal served
        served += 1
        if served == 10:  # the fourth contract's first call
            rpc.failures += [lambda handler: send(handler, 503, "")] * 20
        return whole(envelope)

    rpc.simulate = three_then_none
    with pytest.raises(UnreachableError, match=r"simulateTransaction at http://127\S+ failed 10 times.*HTTP 503"):
        enrich.run_once(make(enrich__concurrency=1))
    filled = [address for address in names if tokens(database_url)[address][0]]
    assert filled == names[:3] and errors(database_url) == {}
    rpc.failures.clear()
    rpc.simulate = whole
    assert enrich.run_once(make()) == enrich.Summary(filled=3)


def test_failures_of_the_server_are_retried(
    make: Callable[..., Settings], contracts: Contracts, rpc: RpcStub, database_url: str
) -> None:
    gold = contract("gold")
    add(database_url, gold)
    contracts.answers[gold] = token(b"Gold", b"GLD", 7)
    rpc.failures += [
        lambda handler: send(handler, 502, ""),
        lambda handler: send(handler, 200, "not JSON"),
        lambda handler: send(handler, 200, '{"error": {"code": -32603, "message": "busy"}}'),
    ]
    assert enrich.run_once(make()).filled == 1 and not rpc.failures


def test_a_database_that_refuses_is_one_clear_error(make: Callable[..., Settings], database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("drop table token_enrichments")
    with pytest.raises(LumenstreamError, match='refuses enrichment: 42P01 relation "token_enrichments" does not exist'):
        enrich.run_once(make())


def test_another_network_is_refused(make: Callable[..., Settings], rpc: RpcStub, database_url: str) -> None:
    add(database_url, contract("gold"))
    rpc.passphrase = "Somewhere Else"
    with pytest.raises(IntegrityError, match="serves network 'Somewhere Else'"):
        enrich.run_once(make())


def test_what_the_sink_learns_meanwhile_stays(
    make: Callable[..., Settings], contracts: Contracts, rpc: RpcStub, database_url: str
) -> None:
    gold = contract("gold")
    add(database_url, gold)
    contracts.answers[gold] = token(b"From RPC", b"RPC", 7)
    whole = rpc.simulate
    assert whole is not None

    def sink_first(envelope: str) -> Answer:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("update contract_tokens set name = 'From the ledger', symbol = 'LDG', decimals = 2")
        return whole(envelope)

    rpc.simulate = sink_first
    assert enrich.run_once(make()).filled == 0
    assert tokens(database_url)[gold][:3] == ("From the ledger", "LDG", 2)


def test_watch_goes_on_and_waits_for_a_server_that_is_away(
    make: Callable[..., Settings], contracts: Contracts, rpc: RpcStub, database_url: str, free_port: int
) -> None:
    first, second = contract("first"), contract("second")
    add(database_url, first)
    contracts.answers = {first: token(b"First", b"F", 1), second: token(b"Second", b"S", 2)}
    rpc.failures += [lambda handler: send(handler, 503, "")] * 200
    settings = make(enrich__poll_seconds=0.02, enrich__http_port=free_port)
    stop = threading.Event()
    thread = threading.Thread(target=enrich.run, args=(settings,), kwargs={"stop": stop})
    thread.start()
    try:
        wait_until(lambda: health(free_port).get("error", "").startswith("getNetwork"))
        rpc.failures.clear()
        wait_until(lambda: tokens(database_url)[first][0] == "First")
        add(database_url, second)
        wait_until(lambda: tokens(database_url)[second][0] == "Second")
        wait_until(lambda: health(free_port) == {"status": "ok", "role": "enrichment", "error": "", "tokens_without_metadata": 0})
    finally:
        stop.set()
        thread.join(20)
    assert not thread.is_alive()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def health(port: int) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = httpx.get(f"http://127.0.0.1:{port}/health").json()
    except httpx.TransportError:
        return {}
    return answer


def wait_until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_command(make: Callable[..., Settings], contracts: Contracts, rpc: RpcStub, database_url: str) -> None:
    gold = contract("gold")
    add(database_url, gold)
    contracts.answers[gold] = token(b"Gold", b"GLD", 7)
    ended = CliRunner().invoke(build(), ["enrich", "--rpc-url", rpc.url, "--database-url", database_url, "--json"])
    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.stdout.splitlines()[-1]) == {"filled": 1, "refused": 0, "lacking": 0, "interrupted": False}
