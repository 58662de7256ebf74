"""Stellar RPC as a source: what only it does. The rest is in test_sources.py."""

from __future__ import annotations

from typing import Any

import pytest

from lumenstream.errors import ConfigurationError, IntegrityError, UnreachableError
from producers.sources import RpcSource
from sandbox import ClosedLedger
from tests.servers.rpc import RpcStub, send
from tests.unit.source_support import FIRST, LAST, PASSPHRASE, QUICK, keep_going, make_chain, stop_at_tip


@pytest.fixture(scope="module")
def chain() -> list[ClosedLedger]:
    return make_chain()


def rpc(stub: RpcStub, **options: Any) -> RpcSource:
    url, wait = options.pop("url", stub.url), options.pop("wait", stop_at_tip)
    return RpcSource(url, PASSPHRASE, wait, page=5, poll_seconds=0.01, retry=QUICK, **options)


def test_failures_are_retried(chain: list[ClosedLedger]) -> None:
    failures = [
        lambda handler: send(handler, 503, "busy"),
        lambda handler: send(handler, 200, "not JSON"),
        lambda handler: send(handler, 200, '{"error": {"code": -32603, "message": "database is locked"}}'),
        lambda handler: send(handler, 200, "[]"),
        lambda handler: handler.connection.close(),
    ]
    with RpcStub(chain, PASSPHRASE, failures=failures) as stub:
        source = rpc(stub, wait=lambda _: not failures and len(stub.calls) > 8)
        assert len(list(source.ledgers(None))) == len(chain)
        assert not stub.failures
        source.close()


def test_gives_up_after_ten_attempts(chain: list[ClosedLedger]) -> None:
    with RpcStub(chain, PASSPHRASE, failures=[lambda handler: send(handler, 500, "")] * 20) as stub:
        source = rpc(stub, wait=keep_going)
        with pytest.raises(UnreachableError, match="failed 10 times.*HTTP 500"):
            list(source.ledgers(None))
        assert len(stub.calls) == 10
        source.close()


def test_pauses_double_up_to_thirty_seconds(chain: list[ClosedLedger]) -> None:
    pauses: list[float] = []

    def wait(seconds: float) -> bool:
        pauses.append(seconds)
        return False

    with RpcStub(chain, PASSPHRASE, failures=[lambda handler: send(handler, 500, "")] * 20) as stub:
        source = RpcSource(stub.url, PASSPHRASE, wait)
        with pytest.raises(UnreachableError):
            list(source.ledgers(None))
        source.close()
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30, 30]


def test_the_stop_ends_a_series_of_retries(chain: list[ClosedLedger]) -> None:
    with RpcStub(chain, PASSPHRASE, failures=[lambda handler: send(handler, 500, "")] * 20) as stub:
        source = rpc(stub)
        assert list(source.ledgers(None)) == []
        assert len(stub.calls) == 1
        source.close()


def test_a_ledger_before_the_window_names_the_oldest(chain: list[ClosedLedger]) -> None:
    with RpcStub(chain, PASSPHRASE, oldest=6) as stub:
        source = rpc(stub)
        with pytest.raises(IntegrityError, match="no longer has ledger 4: the oldest it keeps is 6"):
            list(source.ledgers(3))
        source.close()


def test_a_window_that_moves_on_is_noticed_at_once(chain: list[ClosedLedger]) -> None:
    with RpcStub(chain, PASSPHRASE) as stub:
        source = rpc(stub, wait=keep_going)
        ledgers = source.ledgers(None)
        for _ in range(5):  # one page
            next(ledgers)
        stub.oldest = 10
        with pytest.raises(IntegrityError, match="no longer has ledger 7: the oldest it keeps is 10"):
            next(ledgers)
        assert stub.calls.count("getLedgers") == 2
        source.close()


def test_starts_at_the_oldest_it_keeps_or_at_the_first_given(chain: list[ClosedLedger]) -> None:
    with RpcStub(chain, PASSPHRASE, oldest=6) as stub:
        for first, expected in ((None, 6), (9, 9)):
            source = rpc(stub, first=first)
            ledger = next(iter(source.ledgers(None)))
            assert (ledger.sequence, ledger.previous_sequence) == (expected, None)
            source.close()


def test_polls_at_the_tip(chain: list[ClosedLedger]) -> None:
    with RpcStub(chain, PASSPHRASE, latest=5) as stub:
        waits = 0

        def wait(_: float) -> bool:
            nonlocal waits
            waits += 1
            stub.latest = min(stub.latest + 2, LAST)
            return stub.latest == LAST

        source = rpc(stub, wait=wait)
        assert [ledger.sequence for ledger in source.ledgers(None)] == list(range(FIRST, LAST - 1))
        assert waits == 5
        source.close()


def test_another_network_is_refused(chain: list[ClosedLedger]) -> None:
    with RpcStub(chain, "Somewhere Else") as stub:
        source = rpc(stub)
        with pytest.raises(IntegrityError, match="serves network 'Somewhere Else'"):
            list(source.ledgers(None))
        source.close()


def test_a_ledger_out_of_line_is_refused(chain: list[ClosedLedger]) -> None:
    with RpcStub([ledger for ledger in chain if ledger.sequence != 4], PASSPHRASE) as stub:
        source = rpc(stub)
        with pytest.raises(IntegrityError, match="gave ledger 5 where 4 was due"):
            list(source.ledgers(None))
        source.close()


def test_a_slow_server_is_waited_for(chain: list[ClosedLedger]) -> None:
    with RpcStub(chain, PASSPHRASE, delay_seconds=0.05) as stub:
        source = rpc(stub)
        assert len(list(source.ledgers(None))) == len(chain)
        source.close()


def test_messages_show_no_more_of_the_url_than_its_server(chain: list[ClosedLedger], capsys: pytest.CaptureFixture[str]) -> None:
    """Providers put their keys into the user, the path or the query."""
    with RpcStub(chain, "Somewhere Else", oldest=6) as stub:
        url = stub.url.replace("//", "//hunter2@") + "/hunter2?key=hunter2"
        texts = []
        source = rpc(stub, url=url)
        with pytest.raises(IntegrityError) as refused:
            list(source.ledgers(None))
        texts.append(str(refused.value))
        stub.passphrase = PASSPHRASE
        with pytest.raises(IntegrityError) as gone:
            list(source.ledgers(3))
        texts += [str(gone.value), next(iter(source.ledgers(None))).place]
        stub.failures += [lambda handler: send(handler, 500, "")] * 20
        source.close()
        source = rpc(stub, url=url, wait=keep_going)
        with pytest.raises(UnreachableError) as silent:
            list(source.ledgers(None))
        texts += [str(silent.value), "".join(capsys.readouterr())]
        source.close()
    assert "127.0.0.1" in texts[0] and not [text for text in texts if "hunter2" in text]


def test_needs_a_url() -> None:
    with pytest.raises(ConfigurationError, match="needs a URL"):
        RpcSource("", "x", keep_going)


def test_pages_go_on_by_the_servers_cursor_and_end_with_the_range(chain: list[ClosedLedger]) -> None:
    with RpcStub(chain, PASSPHRASE) as stub:
        source = rpc(stub)
        assert [ledger.sequence for ledger in source.ledgers(2, 14)] == list(range(3, 15))
        assert stub.pages == [
            {"startLedger": 3, "pagination": {"limit": 5}},
            {"pagination": {"cursor": "7", "limit": 5}},
            {"pagination": {"cursor": "12", "limit": 2}},
        ]
        source.close()


def test_ledgers_that_a_server_reads_from_a_lake_behind_its_window(chain: list[ClosedLedger]) -> None:
    with RpcStub(chain, PASSPHRASE, oldest=9, lake_from=4) as stub:
        source = rpc(stub)
        assert [ledger.sequence for ledger in source.ledgers(3)] == list(range(4, LAST + 1))
        with pytest.raises(IntegrityError, match="no longer has ledger 3: the oldest it keeps is 9"):
            list(source.ledgers(2))
        source.close()


def test_looks_without_reading_a_ledger(chain: list[ClosedLedger]) -> None:
    with RpcStub(chain, PASSPHRASE, oldest=4) as stub:
        source = rpc(stub)
        assert source.look() == (stub.url, 4, LAST) and source.tip == LAST
        assert stub.calls == ["getNetwork", "getHealth"]
        source.close()
