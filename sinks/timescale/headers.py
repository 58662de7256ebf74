"""Headers of part messages.

`PartHeaders.from_kafka` asks `kind in PartKind`, which raises TypeError before Python 3.12, and 3.11 is supported. Until that is
mended this module takes what parts and ledgers share from `LedgerHeaders.from_kafka`, and checks the rest by the same rules.
"""

from __future__ import annotations

from typing import Final

from schemas.messages import Headers, LedgerHeaders, MessageError, PartHeaders, PartKind

_KINDS: Final = {kind.value: kind for kind in PartKind}
_MAX_DIGITS: Final = 19


def part_headers(headers: Headers) -> PartHeaders:
    """Parse and check. MessageError names a header that is missing or wrong."""
    values = dict(headers)
    shared = LedgerHeaders.from_kafka([*headers, ("protocol-version", b"0"), ("processors", b"")])
    kind = _text(values, "kind")
    if kind not in _KINDS:
        raise MessageError(f"header kind: {kind!r} is neither part nor failure")
    return PartHeaders(
        kind=_KINDS[kind],
        processor=_text(values, "processor"),
        version=_number(values, "version"),
        schema=_number(values, "schema"),
        sequence=shared.sequence,
        previous_sequence=shared.previous_sequence,
        close_time=shared.close_time,
        ledger_hash=shared.ledger_hash,
        network_id=shared.network_id,
        job=_text(values, "job"),
        source_topic=_text(values, "source-topic"),
        source_partition=_number(values, "source-partition"),
        source_offset=_number(values, "source-offset"),
    )


def _text(values: dict[str, bytes], name: str) -> str:
    if not values.get(name):
        raise MessageError(f"header {name} is missing")
    return values[name].decode("ascii")


def _number(values: dict[str, bytes], name: str) -> int:
    text = _text(values, name)
    if not text.isdigit() or len(text) > _MAX_DIGITS:
        raise MessageError(f"header {name}: {text[:40]!r} is not a number")
    return int(text)
