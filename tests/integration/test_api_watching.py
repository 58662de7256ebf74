"""What watches the API from outside: traces at a collector, reports of defects at Sentry, both on a real HTTP server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psycopg
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from api.tracing import tracer
from lumenstream.settings import load_settings
from tests.integration.test_api_world import LAST, Api, fill, serving, transaction_hash
from tests.plugins.receiver import Receiver, receiver
from tests.servers.cache import REPOSITORY

__all__ = ["receiver"]  # the fixture

QUERY = "{ ledgers(last: 1) { edges { node { sequence } } } }"
SECRET = "SCZANGBA5YHTNYVVV4C3U252E2B6P6F5T3U6MM63WBSBZATAQI3EBTQ4"


def spans(body: bytes) -> list[Span]:
    request = ExportTraceServiceRequest.FromString(body)
    return [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]


def attributes(span: Span) -> Mapping[str, object]:
    return {item.key: item.value.string_value or item.value.int_value for item in span.attributes}


def test_a_request_is_one_trace_with_its_reads(database_url: str, receiver: Receiver) -> None:
    with psycopg.connect(database_url) as connection:
        fill(connection)
    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with serving(database_url, traces_endpoint=receiver.url, traces_ratio=0.0) as api:
        untraced = api.http.post("/graphql/query", json={"query": QUERY})
        traced = api.http.post("/graphql/query", json={"query": QUERY}, headers={"traceparent": caller})
        assert untraced.json() == traced.json() == {"data": {"ledgers": {"edges": [{"node": {"sequence": LAST}}]}}}
    got = receiver.wait(1)
    assert {one.path for one in got} == {"/v1/traces"}
    found = {span.name: span for one in got for span in spans(one.body)}
    assert found.keys() == {"POST /graphql/query", "read ledgers"}, "the caller that did not ask is not traced at ratio 0"
    request, read = found["POST /graphql/query"], found["read ledgers"]
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (caller[3:35], caller[36:52])
    assert read.parent_span_id == request.span_id
    assert attributes(request)["lumenstream.request_id"] == traced.headers["x-request-id"]
    assert attributes(request)["http.response.status_code"] == 200
    assert attributes(read)["db.response.returned_rows"] == 2, "one more than the page, to know whether there are more"
    assert not any(b"sequence" in one.body for one in got), "the query stays here"


def broken(api: Api) -> str:
    """Ask what cannot be answered; the id of the request."""
    answer = api.http.post("/graphql/query", json={"query": f'{{ transactionByHash(hash: "{"0" * 64}") {{ hash }} }}'})
    error = answer.json()["errors"][0]
    assert error["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
    return str(error["extensions"]["requestId"])


def test_a_defect_is_reported_without_secrets(database_url: str, receiver: Receiver, tmp_path: Path) -> None:
    """In a process of its own: Sentry's client belongs to the whole process."""
    with psycopg.connect(database_url) as connection:
        fill(connection)
        connection.execute("alter table transactions drop column hash cascade")
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\n"
        "from lumenstream import tracker\n"
        "from lumenstream.settings import load_settings\n"
        "from tests.integration.test_api_watching import broken\n"
        "from tests.integration.test_api_world import serving\n"
        "tracker.start(load_settings().tracker, 'api')\n"
        "with serving(sys.argv[1]) as api:\n"
        "    print(broken(api))\n"
        f"tracker.report(RuntimeError('postgresql://user:hunter2@db/x and {SECRET} and Bearer eyJhbGciOi.eyJzdWIi.c2ln'))\n"
    )
    environment = {
        "LUMENSTREAM_TRACKER__DSN": f"http://0123456789abcdef0123456789abcdef@127.0.0.1:{receiver.port}/7",
        "LUMENSTREAM_TRACKER__ENVIRONMENT": "staging",
        "PYTHONPATH": str(REPOSITORY),
        "PATH": "/usr/bin:/bin",
    }
    done = subprocess.run(
        [sys.executable, str(program), database_url], env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    got = receiver.wait(2)
    events = [json.loads(line) for one in got for line in one.body.splitlines() if b'"exception"' in line]
    assert {event["environment"] for event in events} == {"staging"}
    by_type = {event["exception"]["values"][-1]["type"]: event for event in events}
    assert by_type["UndefinedColumn"]["tags"] == {"role": "api", "request_id": done.stdout.split()[-1]}
    assert by_type["RuntimeError"]["exception"]["values"][-1]["value"] == (
        "postgresql://[masked]@db/x and [masked] and Bearer [masked]"
    )
    text = b"".join(one.body for one in got)
    for secret in (b"hunter2", SECRET.encode(), b"eyJzdWIi", b'"vars"', transaction_hash(0).hex().encode()):
        assert secret not in text


def test_without_an_address_nothing_is_made() -> None:
    settings = load_settings()
    assert (tracer(settings.api), settings.tracker.dsn.get_secret_value()) == (None, "")


@pytest.mark.parametrize("dsn", ["nonsense", "http://127.0.0.1/1"])
def test_an_address_that_is_none(dsn: str) -> None:
    program = (
        "from lumenstream import tracker\nfrom lumenstream.errors import ConfigurationError\n"
        "from lumenstream.settings import load_settings\n"
        "try:\n    tracker.start(load_settings().tracker, 'api')\n"
        "except ConfigurationError as error:\n    print(error)\n"
    )
    environment = {"LUMENSTREAM_TRACKER__DSN": dsn, "PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.startswith("tracker.dsn is not a DSN"), done.stderr
