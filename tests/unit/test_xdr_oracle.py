"""Strictness: the decoders accept exactly what the `stellar-xdr` crate accepts (and re-encodes to the same bytes).

The crate runs in `native/oracle`, built here on demand. Damaged inputs come from a seed; a failure prints what reproduces it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from stellar_sdk import xdr as sdk

from lumenstream.xdr import Decoder, LedgerContentError, LedgerDecodeError, python_decoder
from tests.unit.xdr_mutations import Mutant, mutants
from tests.unit.xdr_support import decoders, network_id, real_ledgers

pytestmark = pytest.mark.timeout(900)  # the first run builds the oracle

NATIVE = Path(__file__).resolve().parents[2] / "native"
SEED = 20261120
INPUTS = 10_000
TWIN_INPUTS = 1_500
SMALL_BYTES = 24_000
Oracle = Callable[[Sequence[bytes]], list[bool]]


@pytest.fixture(scope="session")
def oracle() -> Oracle:
    """Says for each input whether the reference decoder accepts it."""
    cargo = shutil.which("cargo")
    if cargo is None:
        pytest.skip("cargo is not installed: the reference decoder cannot be built")
    target = NATIVE / "target"
    environment = {"CARGO_BUILD_JOBS": "1", **os.environ, "CARGO_TARGET_DIR": str(target)}
    command = [cargo, "build", "--quiet", "--release", "--manifest-path", str(NATIVE / "oracle" / "Cargo.toml")]
    subprocess.run(command, env=environment, check=True)
    program = target / "release" / "lumenstream-oracle"

    def ask(inputs: Sequence[bytes]) -> list[bool]:
        frames = b"".join(len(data).to_bytes(4, "big") + data for data in inputs)
        answer = subprocess.run([program], input=frames, stdout=subprocess.PIPE, check=True).stdout
        assert len(answer) == len(inputs), "the oracle did not answer every input"
        return [byte == ord("1") for byte in answer]

    return ask


@pytest.fixture(scope="module")
def bases(shared_ledgers: Path) -> list[bytes]:
    """Small real ledgers of every kind, and a few heavier ones."""
    found = {ledger.data for ledger in real_ledgers(shared_ledgers, "unit", "stellar-core") if len(ledger.data) < SMALL_BYTES}
    interesting = sorted(found, key=lambda data: (-len(data), data))[:1200]
    heavier = [ledger.data for ledger in real_ledgers(shared_ledgers, "rebuilt")][:2]
    return interesting + heavier


@pytest.fixture(scope="module")
def damaged(bases: list[bytes]) -> list[Mutant]:
    return list(mutants(bases, INPUTS, SEED))


def accepts(decoder: Decoder, data: bytes) -> bool:
    try:
        decoder.validate(data)
    except LedgerDecodeError as error:
        return " at offset " not in str(error)  # a refusal must say where; one that does not counts as a disagreement
    return True


def disagreements(decoder: Decoder, inputs: Sequence[Mutant], expected: Sequence[bool]) -> list[str]:
    return [
        f"{mutant.name}: reference {'accepts' if wanted else 'refuses'}, {decoder.name} does not"
        for mutant, wanted in zip(inputs, expected, strict=True)
        if accepts(decoder, mutant.data) != wanted
    ]


def test_real_ledgers_are_accepted_by_all(oracle: Oracle, shared_ledgers: Path) -> None:
    inputs = [Mutant(ledger.name, ledger.data) for ledger in real_ledgers(shared_ledgers)]
    expected = oracle([mutant.data for mutant in inputs])
    assert all(expected)
    for decoder in decoders():
        assert disagreements(decoder, inputs, expected) == []


@pytest.mark.parametrize("decoder", decoders(), ids=lambda decoder: decoder.name)
def test_damaged_ledgers_are_accepted_exactly_as_by_the_reference(
    oracle: Oracle, damaged: list[Mutant], decoder: Decoder
) -> None:
    inputs = damaged[:TWIN_INPUTS] if decoder.name == "python" else damaged
    expected = oracle([mutant.data for mutant in inputs])
    accepted = sum(expected)
    assert 0.02 < accepted / len(inputs) < 0.9, "the damage must leave some inputs acceptable, and not most"
    assert disagreements(decoder, inputs, expected) == []


def test_accepted_damage_gives_the_same_rows_or_the_same_error(damaged: list[Mutant]) -> None:
    both = decoders()
    if len(both) < 2:
        pytest.skip("the native decoder is not built: nothing to compare the twin with")
    network = network_id("stellar-core")

    def outcome(decoder: Decoder, data: bytes) -> object:
        try:
            return decoder.decode_ledger(data, network), decoder.decode_details(data, network)
        except LedgerDecodeError:
            return LedgerDecodeError
        except LedgerContentError as error:
            return str(error)

    for mutant in damaged[: 2 * TWIN_INPUTS]:
        native, python = (outcome(decoder, mutant.data) for decoder in both)
        assert native == python, mutant.name


def _with_return_value(shared_ledgers: Path, value: sdk.SCVal) -> bytes:
    """A small real ledger whose contract call returned `value`."""
    for ledger in real_ledgers(shared_ledgers, "stellar-core"):
        meta = sdk.LedgerCloseMeta.from_xdr_bytes(ledger.data)
        for processed in meta.v2.tx_processing if meta.v2 else []:
            v4 = processed.tx_apply_processing.v4
            if v4 is not None and v4.soroban_meta is not None:
                v4.soroban_meta.return_value = value
                return meta.to_xdr_bytes()
    raise AssertionError("no ledger with a contract call")


def _nested(depth: int, leaf: sdk.SCVal, as_map: bool) -> sdk.SCVal:
    void = sdk.SCVal(sdk.SCValType.SCV_VOID)
    for _ in range(depth):
        if as_map:
            leaf = sdk.SCVal(sdk.SCValType.SCV_MAP, map=sdk.SCMap([sdk.SCMapEntry(void, leaf)]))
        else:
            leaf = sdk.SCVal(sdk.SCValType.SCV_VEC, vec=sdk.SCVec([leaf]))
    return leaf


LEAVES = {
    "void": sdk.SCVal(sdk.SCValType.SCV_VOID),
    "none": sdk.SCVal(sdk.SCValType.SCV_VEC, vec=None),
    "empty": sdk.SCVal(sdk.SCValType.SCV_VEC, vec=sdk.SCVec([])),
    "bytes": sdk.SCVal(sdk.SCValType.SCV_BYTES, bytes=sdk.SCBytes(b"")),
    "u64": sdk.SCVal(sdk.SCValType.SCV_U64, u64=sdk.Uint64(1)),
    "error": sdk.SCVal(sdk.SCValType.SCV_ERROR, error=sdk.SCError(sdk.SCErrorType.SCE_CONTRACT, sdk.Uint32(1))),
    "address": sdk.SCVal(
        sdk.SCValType.SCV_ADDRESS,
        address=sdk.SCAddress(sdk.SCAddressType.SC_ADDRESS_TYPE_CONTRACT, contract_id=sdk.ContractID(sdk.Hash(bytes(32)))),
    ),
    "account": sdk.SCVal(
        sdk.SCValType.SCV_ADDRESS,
        address=sdk.SCAddress(
            sdk.SCAddressType.SC_ADDRESS_TYPE_ACCOUNT,
            account_id=sdk.AccountID(sdk.PublicKey(sdk.PublicKeyType.PUBLIC_KEY_TYPE_ED25519, ed25519=sdk.Uint256(bytes(32)))),
        ),
    ),
}


@pytest.mark.parametrize("leaf", LEAVES)
@pytest.mark.parametrize("as_map", [False, True], ids=["vec", "map"])
def test_the_depth_limit_is_the_reference_s(oracle: Oracle, shared_ledgers: Path, leaf: str, as_map: bool) -> None:
    inputs = [
        Mutant(f"{leaf} at depth {depth}", _with_return_value(shared_ledgers, _nested(depth, LEAVES[leaf], as_map)))
        for depth in range(93, 126)
    ]
    expected = oracle([mutant.data for mutant in inputs])
    assert expected[0] and not expected[-1], "the range must straddle the limit"
    for decoder in (*decoders(), python_decoder()):
        assert disagreements(decoder, inputs, expected) == []
