"""Headers of ledger and part messages: what one side writes the other reads, and wrong ones name the header."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.messages import Headers, LedgerHeaders, MessageError, PartHeaders, PartKind, Topic, partition_of, range_key
from schemas.state_changes import FLAG_NAMES, Flag, flag_names

HASH = "ab" * 32
NETWORK = "cd" * 32

SEQUENCES = st.integers(1, (1 << 31) - 1)
WORDS = st.text("abcdefghijklmnopqrstuvwxyz-_.0123456789", min_size=1, max_size=20)

LEDGER_HEADERS = st.builds(
    LedgerHeaders,
    sequence=st.integers(1 << 30, (1 << 31) - 1),
    previous_sequence=st.none() | st.integers(1, (1 << 30) - 1),
    close_time=st.integers(0, 1 << 40),
    ledger_hash=st.just(HASH),
    protocol_version=st.integers(0, 99),
    network_id=st.just(NETWORK),
    job=WORDS,
    processors=st.lists(WORDS, max_size=3).map(tuple),
)
PART_HEADERS = st.builds(
    PartHeaders,
    kind=st.sampled_from(PartKind),
    processor=WORDS,
    version=st.integers(1, 99),
    schema=st.integers(1, 9),
    sequence=st.integers(1 << 30, (1 << 31) - 1),
    previous_sequence=st.none() | st.integers(1, (1 << 30) - 1),
    close_time=st.integers(0, 1 << 40),
    ledger_hash=st.just(HASH),
    network_id=st.just(NETWORK),
    job=WORDS,
    source_topic=WORDS,
    source_partition=st.integers(0, 999),
    source_offset=st.integers(0, 1 << 60),
)

LEDGER = LedgerHeaders(12, 11, 1_700_000_000, HASH, 23, NETWORK)
PART = PartHeaders(PartKind.PART, "accounts", 1, 1, 12, None, 1_700_000_000, HASH, NETWORK, "live", "ledgers", 3, 99)


@given(LEDGER_HEADERS)
def test_ledger_headers_round_trip(headers: LedgerHeaders) -> None:
    assert LedgerHeaders.from_kafka(headers.to_kafka()) == headers


@given(PART_HEADERS)
def test_part_headers_round_trip(headers: PartHeaders) -> None:
    assert PartHeaders.from_kafka(headers.to_kafka()) == headers


def test_headers_are_ascii_text_and_the_first_ledger_has_no_predecessor() -> None:
    first = LedgerHeaders(1, None, 0, HASH, 0, NETWORK)
    assert dict(first.to_kafka())["previous-sequence"] == b"none"
    assert "processors" not in dict(first.to_kafka())
    assert LedgerHeaders.from_kafka(first.to_kafka()).previous_sequence is None


def test_text_values_are_read_like_bytes() -> None:
    assert LedgerHeaders.from_kafka([(name, value.decode()) for name, value in LEDGER.to_kafka()]) == LEDGER


def with_header(headers: Headers, name: str, value: bytes | None) -> list[tuple[str, bytes | str | None]]:
    return [(key, value if key == name else content) for key, content in headers]


WRONG = [
    ("sequence", b"x"),
    ("sequence", b"-1"),
    ("sequence", b"0"),
    ("sequence", b"2147483648"),
    ("sequence", b"9" * 20),
    ("sequence", b""),
    ("sequence", None),
    ("sequence", b"\xff"),
    ("previous-sequence", b"never"),
    ("previous-sequence", b"2147483647"),
    ("ledger-hash", b"ab"),
    ("ledger-hash", HASH.upper().encode()),
    ("network-id", b"z" * 64),
    ("close-time", b"1.5"),
]


@pytest.mark.parametrize(("name", "value"), [*WRONG, ("protocol-version", b"twenty")])
def test_wrong_ledger_headers_are_named(name: str, value: bytes | None) -> None:
    with pytest.raises(MessageError, match=f"header {name}"):
        LedgerHeaders.from_kafka(with_header(LEDGER.to_kafka(), name, value))


@pytest.mark.parametrize(
    ("name", "value"), [*WRONG, ("kind", b"party"), ("version", b"v1"), ("source-offset", b"-7"), ("processor", b"")]
)
def test_wrong_part_headers_are_named(name: str, value: bytes | None) -> None:
    with pytest.raises(MessageError, match=f"header {name}"):
        PartHeaders.from_kafka(with_header(PART.to_kafka(), name, value))


@pytest.mark.parametrize("missing", [name for name, _ in PART.to_kafka()])
def test_no_part_header_may_be_missing(missing: str) -> None:
    with pytest.raises(MessageError, match=f"header {missing} is missing"):
        PartHeaders.from_kafka([header for header in PART.to_kafka() if header[0] != missing])


def test_messages_without_headers() -> None:
    for read in (LedgerHeaders.from_kafka, PartHeaders.from_kafka):
        with pytest.raises(MessageError, match="is missing"):
            read(None)
        with pytest.raises(MessageError, match="is missing"):
            read([])


@given(SEQUENCES, st.integers(1, 128), st.integers(1, 64))
def test_ledgers_of_a_range_share_key_and_partition(sequence: int, range_size: int, partitions: int) -> None:
    first = sequence - sequence % range_size
    assert range_key(sequence, range_size) == str(first).encode()
    assert partition_of(sequence, range_size, partitions) == partition_of(first, range_size, partitions) < partitions


def test_topics_have_kafka_names() -> None:
    assert all(topic.replace(".", "").replace("-", "").isalpha() for topic in Topic)


def test_v6_flags_have_names_in_bit_order() -> None:
    assert flag_names(Flag.AUTHORIZED | Flag.CLAWBACK_ENABLED) == ["authorized", "clawback_enabled"]
    assert Flag.AUTHORIZED | Flag.CLAWBACK_ENABLED == 33
    assert flag_names(None) == flag_names(0) == []
    assert [bit for bit, _ in FLAG_NAMES] == [1 << at for at in range(7)]
