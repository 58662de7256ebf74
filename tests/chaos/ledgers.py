"""Ledgers of the sandbox network as tests need them: whole, forged, of another network, huge; and a way to send them."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from confluent_kafka import Producer
from stellar_sdk import scval, xdr

from lumenstream import kafka
from lumenstream.xdr import read_header
from sandbox import Sandbox, SandboxSettings
from sandbox.network import ClosedLedger
from schemas.messages import Headers, LedgerHeaders, Topic, partition_of, range_key
from tests.chaos.pipeline import SANDBOX_TRANSACTIONS, Pipeline, Source

FLUSH_SECONDS: Final = 30.0
PADDING_CHUNK_BYTES: Final = 1 << 20


def chain(source: Source, *, passphrase: str = "", transactions: int = SANDBOX_TRANSACTIONS) -> list[ClosedLedger]:
    """The ledgers of a sandbox source, made here; or those of a network with another passphrase."""
    settings = SandboxSettings(
        network_passphrase=passphrase or SandboxSettings.network_passphrase,
        seed=int(source.environment["LUMENSTREAM_SANDBOX__SEED"]),
        transactions_per_ledger=transactions,
    )
    made = []
    for closed in Sandbox(settings).ledgers(source.first):
        made.append(closed)
        if closed.sequence == source.last:
            break
    return made


def write_ledgers(folder: Path, ledgers: Iterable[ClosedLedger]) -> Path:
    """A folder that `produce --source files` reads."""
    folder.mkdir()
    for ledger in ledgers:
        path = folder / f"ledger-{ledger.sequence:08d}.xdr.gz"
        path.write_bytes(gzip.compress(ledger.meta, compresslevel=1))
    return folder


def forged(ledger: ClosedLedger, *, previous_hash: bytes | None = None, protocol_version: int | None = None) -> ClosedLedger:
    """The ledger with another header, whose hash is true again."""
    meta, body = _parsed(ledger.meta)
    header = body.ledger_header.header
    if previous_hash is not None:
        header.previous_ledger_hash = xdr.Hash(previous_hash)
    if protocol_version is not None:
        header.ledger_version = xdr.Uint32(protocol_version)
    digest = hashlib.sha256(header.to_xdr_bytes()).digest()
    body.ledger_header.hash = xdr.Hash(digest)
    return replace(ledger, meta=meta.to_xdr_bytes(), hash=digest, previous_hash=header.previous_ledger_hash.hash)


def padded(ledger: ClosedLedger, size: int) -> ClosedLedger:
    """The ledger with diagnostic events of so many bytes in its last transaction; no hash covers them, no row comes of them."""
    meta, body = _parsed(ledger.meta)
    target = body.tx_processing[-1].tx_apply_processing.v4
    assert target is not None
    target.diagnostic_events.extend(_diagnostic_event(PADDING_CHUNK_BYTES) for _ in range(size // PADDING_CHUNK_BYTES))
    return replace(ledger, meta=meta.to_xdr_bytes())


def unknown_version(ledger: ClosedLedger) -> bytes:
    """The bytes as a LedgerCloseMeta of a version that nobody knows yet."""
    return (99).to_bytes(4, "big") + ledger.meta[4:]


def _parsed(data: bytes) -> tuple[xdr.LedgerCloseMeta, Any]:
    meta = xdr.LedgerCloseMeta.from_xdr_bytes(data)
    body = meta.v2 or meta.v1 or meta.v0
    assert body is not None
    return meta, body


def _diagnostic_event(size: int) -> xdr.DiagnosticEvent:
    body = xdr.ContractEventBody(0, xdr.ContractEventV0(topics=[scval.to_symbol("padding")], data=scval.to_bytes(bytes(size))))
    event = xdr.ContractEvent(ext=xdr.ExtensionPoint(0), contract_id=None, type=xdr.ContractEventType.DIAGNOSTIC, body=body)
    return xdr.DiagnosticEvent(in_successful_contract_call=True, event=event)


class Feed:
    """Sends ledgers to a pipeline's topics by hand, right or wrong."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._producer = Producer(kafka.producer_config(pipeline.kafka))

    def headers(self, ledger: ClosedLedger) -> LedgerHeaders:
        """The headers that the producer would give it."""
        source = self._pipeline.source
        return LedgerHeaders(
            sequence=ledger.sequence,
            previous_sequence=None if ledger.sequence == source.first else ledger.sequence - 1,
            close_time=ledger.close_time,
            ledger_hash=ledger.hash.hex(),
            protocol_version=read_header(ledger.meta).protocol_version,
            network_id=source.network_id.hex(),
        )

    def send(
        self,
        *ledgers: ClosedLedger,
        topic: Topic = Topic.LEDGERS,
        value: bytes | None = None,
        headers: Headers | None = None,
    ) -> None:
        """Deliver ledgers in the order given. `value` and `headers` replace what the producer would send."""
        settings = self._pipeline.kafka
        for ledger in ledgers:
            self._producer.produce(
                settings.topic(topic),
                value=ledger.meta if value is None else value,
                key=range_key(ledger.sequence, settings.range_size),
                headers=[*(self.headers(ledger).to_kafka() if headers is None else headers)],
                partition=partition_of(ledger.sequence, settings.range_size, settings.partitions),
            )
        assert self._producer.flush(FLUSH_SECONDS) == 0
