"""Authentication, rate limits, persisted queries and CORS over HTTP."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from stellar_sdk import Keypair

from api.admission import HttpError
from lumenstream.client.signing import Signer
from lumenstream.errors import ConfigurationError
from tests.integration.test_api_world import Api, fill, serving

PATH = "/graphql/query"
QUERY = "{ __typename }"
BODY = json.dumps({"query": QUERY}).encode()
JSON = {"content-type": "application/json"}
PAIR = Keypair.from_raw_ed25519_seed(bytes([7]) * 32)
SIGNER = Signer(PAIR.secret)


def post(api: Api, body: bytes = BODY, headers: dict[str, str] | None = None) -> httpx.Response:
    return api.http.post(PATH, content=body, headers={**JSON, **(headers or {})})


def test_with_keys_every_request_is_signed(database_url: str) -> None:
    with serving(database_url, auth_public_keys=PAIR.public_key) as api:
        refused = post(api)
        assert (refused.status_code, refused.json()) == (401, {"error": "Not authorized."})
        assert post(api, headers=SIGNER.headers("POST", PATH, BODY)).json() == {"data": {"__typename": "Query"}}
        assert post(api, BODY + b" ", SIGNER.headers("POST", PATH, BODY)).status_code == 401
        assert post(api, BODY, SIGNER.headers("POST", PATH, b"")).status_code == 401
        assert post(api, b" " * 200_000, SIGNER.headers("POST", PATH, BODY)).status_code == 413
        assert {api.http.get(path).status_code for path in ("/health", "/metrics")} <= {200, 503}, "the operator's pages are open"


def test_a_get_is_signed_with_its_query_string(database_url: str) -> None:
    with serving(database_url, auth_public_keys=PAIR.public_key) as api:
        request = api.http.build_request(
            "GET", PATH, params={"query": "query A($a: Boolean!) { __typename @include(if: $a) }", "variables": '{"a": true}'}
        )
        target = request.url.raw_path.decode()
        assert "?" in target
        request.headers.update(SIGNER.headers("GET", target))
        assert api.http.send(request).json() == {"data": {"__typename": "Query"}}
        request.headers.update(SIGNER.headers("GET", PATH))
        assert api.http.send(request).status_code == 401


def test_rate_limits_are_kept_by_key(database_url: str) -> None:
    other = Keypair.from_raw_ed25519_seed(bytes([8]) * 32)
    keys = f"{PAIR.public_key},{other.public_key}"
    with serving(database_url, auth_public_keys=keys, rate_limit="3/hour") as api:
        statuses = [post(api, headers=SIGNER.headers("POST", PATH, BODY)).status_code for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        assert post(api, headers=Signer(other.secret).headers("POST", PATH, BODY)).status_code == 200
        refused = post(api, headers=SIGNER.headers("POST", PATH, BODY))
        assert 0 < int(refused.headers["retry-after"]) <= 3601
        assert refused.json() == {"error": "more than 3 per 1 hour requests"}


def test_a_rate_limit_that_cannot_be_read(database_url: str) -> None:
    with pytest.raises(ConfigurationError, match="api.rate_limit"), serving(database_url, rate_limit="many"):
        pass


def test_requests_beyond_the_places_are_refused_at_once(database_url: str) -> None:
    """One request waits for a lock on a table; the next finds no place."""
    with psycopg.connect(database_url) as connection:
        fill(connection)
    query = {"query": "{ transactions(first: 1) { edges { node { hash } } } }"}
    with serving(database_url, max_requests=1) as api, psycopg.connect(database_url) as holder:
        holder.execute("lock table transactions in access exclusive mode")
        answers: list[Any] = []
        waiting = threading.Thread(target=lambda: answers.append(api.http.post(PATH, json=query)))
        waiting.start()
        with psycopg.connect(database_url, autocommit=True) as look:
            waits = "select 1 from pg_locks where not granted and database = (select oid from pg_database where datname = %s)"
            while not look.execute(waits, (holder.info.dbname,)).fetchone():
                time.sleep(0.01)
        refused = api.http.post(PATH, json={"query": QUERY})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        holder.rollback()
        waiting.join()
        assert answers[0].json()["data"]["transactions"]["edges"]
        assert api.http.post(PATH, json={"query": QUERY}).status_code == 200


def persisted(query: str | None, digest: str, version: int = 1) -> dict[str, Any]:
    extensions = {"persistedQuery": {"version": version, "sha256Hash": digest}}
    return {"extensions": extensions, **({} if query is None else {"query": query})}


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_query_is_persisted_by_sending_it_once(database_url: str) -> None:
    with serving(database_url) as api:

        def answer(given: dict[str, Any]) -> Any:
            got = api.http.post(PATH, json=given)
            assert got.status_code == 200
            return got.json()

        digest = sha256(QUERY)
        unknown = answer(persisted(None, digest))["errors"][0]
        assert (unknown["message"], unknown["extensions"]["code"]) == ("PersistedQueryNotFound", "PERSISTED_QUERY_NOT_FOUND")
        assert answer(persisted(QUERY, digest)) == {"data": {"__typename": "Query"}}
        assert answer(persisted(None, digest)) == {"data": {"__typename": "Query"}}
        by_url = {"extensions": json.dumps(persisted(None, digest)["extensions"])}
        assert api.http.get(PATH, params=by_url).json() == {"data": {"__typename": "Query"}}
        for wrong in (persisted(QUERY, sha256("x")), persisted(None, digest, 2), {"query": QUERY, "extensions": []}):
            assert answer(wrong)["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


def test_only_the_queries_of_a_file(database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "queries.json"
    file.write_text(json.dumps({sha256(QUERY): QUERY}))
    with serving(database_url, persisted_file=file, persisted_only=True) as api:
        assert api.http.post(PATH, json=persisted(None, sha256(QUERY))).json() == {"data": {"__typename": "Query"}}
        assert api.http.post(PATH, json={"query": QUERY}).json() == {"data": {"__typename": "Query"}}
        other = "{ a: __typename }"
        for given in ({"query": other}, persisted(other, sha256(other))):
            assert api.http.post(PATH, json=given).json()["errors"][0]["message"] == "only persisted queries are answered"
    file.write_text(json.dumps({sha256("x"): QUERY}))
    with pytest.raises(ConfigurationError, match="SHA-256"), serving(database_url, persisted_file=file):
        pass
    with pytest.raises(ConfigurationError, match="persisted_only"), serving(database_url, persisted_only=True):
        pass


def test_pages_of_other_origins_may_ask_when_they_are_named(database_url: str) -> None:
    origin = {"origin": "https://wallet.example", "access-control-request-method": "POST"}
    with serving(database_url, cors_origins="https://wallet.example") as api:
        assert api.http.options(PATH, headers=origin).headers["access-control-allow-origin"] == "https://wallet.example"
        assert api.http.post(PATH, json={"query": QUERY}, headers=origin).headers["access-control-allow-origin"]
        assert api.http.options(PATH, headers={**origin, "origin": "https://other.example"}).status_code == 400
    with serving(database_url) as api:
        assert "access-control-allow-origin" not in api.http.post(PATH, json={"query": QUERY}, headers=origin).headers


def test_a_refusal_says_what_it_must() -> None:
    assert HttpError(429, "x", {"Retry-After": "1"}).headers == {"Retry-After": "1"}
