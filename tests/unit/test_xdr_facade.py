"""The facade: which decoder is chosen, and what its errors say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lumenstream import xdr
from lumenstream.xdr import Decoder, LedgerDecodeError
from tests.unit.xdr_support import decoders, real_ledgers

BOTH = len(decoders()) == 2
EACH_DECODER = pytest.mark.parametrize("decoder", decoders(), ids=lambda decoder: decoder.name)
WITHOUT_NATIVE = "import sys; sys.modules['lumenstream._native'] = None; "


def chosen(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LUMENSTREAM_")}
    command = [sys.executable, "-c", f"{code}from lumenstream import xdr; print(xdr.DECODER)"]
    return subprocess.run(command, env={**inherited, **environment}, capture_output=True, text=True, check=False)


@pytest.mark.skipif(not BOTH, reason="the native decoder is not built")
def test_native_is_chosen_when_it_is_there() -> None:
    assert chosen("").stdout.strip() == "native"
    assert chosen("", LUMENSTREAM_REQUIRE_NATIVE="1").stdout.strip() == "native"
    assert chosen("", LUMENSTREAM_DECODER="python").stdout.strip() == "python"


def test_the_twin_is_chosen_when_native_is_missing() -> None:
    assert chosen(WITHOUT_NATIVE).stdout.strip() == "python"
    refused = chosen(WITHOUT_NATIVE, LUMENSTREAM_REQUIRE_NATIVE="1")
    assert refused.returncode != 0
    assert "LUMENSTREAM_REQUIRE_NATIVE=1 forbids" in refused.stderr


@pytest.mark.parametrize("has", [(), ("extract_ledger", *xdr.LOOPS[:-1])], ids=["nothing", "not the newest loop"])
def test_a_native_module_of_older_sources_counts_as_missing(has: tuple[str, ...]) -> None:
    older = "import sys, types; native = sys.modules['lumenstream._native'] = types.ModuleType('lumenstream._native');"
    older += "".join(f"native.{name} = print;" for name in has)
    assert chosen(older).stdout.strip() == "python"
    assert "older sources" in chosen(older, LUMENSTREAM_REQUIRE_NATIVE="1").stderr


def test_the_facade_calls_the_chosen_decoder(shared_ledgers: Path) -> None:
    ledger = next(real_ledgers(shared_ledgers, "rebuilt"))
    decoded = xdr.decode_ledger(ledger.data, ledger.network_id)
    assert decoded == xdr.python_decoder().decode_ledger(ledger.data, ledger.network_id)
    assert xdr.read_header(ledger.data) == decoded.header
    assert xdr.transaction_count(ledger.data) == len(decoded.transactions)
    xdr.validate(ledger.data)
    batch = b"".join(n.to_bytes(4, "big") for n in (7, 8, 2)) + ledger.data * 2
    assert xdr.split_batch(batch) == [ledger.data, ledger.data]


@EACH_DECODER
def test_errors_name_offset_and_type(shared_ledgers: Path, decoder: Decoder) -> None:
    data = next(real_ledgers(shared_ledgers, "rebuilt")).data
    cases = {
        b"": r"more bytes expected, 0 left at offset 0 in LedgerCloseMeta$",
        b"\0\0\0\3": r"unknown value 3 at offset 0 in LedgerCloseMeta$",
        data + b"\0": rf"1 bytes after the end at offset {len(data)}$",
        data[:50]: r"more bytes expected, .* left at offset .* in .*LedgerHeader.* < LedgerCloseMeta$",
        b"\0\0\0\1\0\0\0\7": r"unknown value 7 at offset 4 in LedgerCloseMetaExt < LedgerCloseMetaV1 < LedgerCloseMeta$",
    }
    for damaged, message in cases.items():
        with pytest.raises(LedgerDecodeError, match=message):
            decoder.validate(damaged)


@EACH_DECODER
def test_the_header_is_read_without_the_rest(shared_ledgers: Path, decoder: Decoder) -> None:
    for ledger in real_ledgers(shared_ledgers, "pubnet", "rebuilt"):
        header = decoder.read_header(ledger.data)
        assert header == decoder.read_header(ledger.data[:1200])
        assert header == decoder.decode_ledger(ledger.data, ledger.network_id).header
    with pytest.raises(LedgerDecodeError, match="offset"):
        decoder.read_header(b"\0\0\0\0")


@EACH_DECODER
def test_claimed_lengths_take_no_memory(decoder: Decoder) -> None:
    """A batch that claims four billion ledgers is refused at once."""
    with pytest.raises(LedgerDecodeError, match="4294967295 elements cannot fit in the 4 bytes left at offset 8"):
        decoder.split_batch(b"\0\0\0\1\0\0\0\1\xff\xff\xff\xff\0\0\0\0")
