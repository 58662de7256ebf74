"""`lumenstream derive`: the command on files of every format, its columns, and what it says of ledgers it refuses."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from lumenstream.errors import ExitCode
from tests.unit.test_cli import run
from tests.unit.xdr_support import PASSPHRASES, PUBNET

FILES: Final = {
    "lake/FCD285FF--53312000.xdr.zst": 1,  # a data lake's batch, zstd
    "pubnet/ledger-57500008.xdr.gz": 1,
    "rebuilt/etl-pubnet-30820015.xdr.gz": 1,
    "stellar-core/MergeTests": 2,  # a folder
    "unit/unit-1000.xdr.gz": 1,
}
# Columns of the reference that are none of ours, by family.
NOT_OURS: Final[dict[str, set[str]]] = {
    "account_changes": {"_sort_key"},  # ours is called sort_key
    "state_changes": {"threshold", "deployer_account_id", "funder_account_id", "_contract_type", "state_change_order"},
}


def derive(path: Path, folder: str, *options: str) -> tuple[int, list[dict[str, Any]], str]:
    code, out, error = run("derive", str(path), "--network-passphrase", PASSPHRASES[folder], "--network", "real", *options)
    return code, [orjson.loads(line) for line in out.splitlines()], error


@pytest.mark.parametrize("file", FILES)
def test_every_format(file: str, shared_ledgers: Path) -> None:
    code, rows, error = derive(shared_ledgers / file, file.partition("/")[0])
    assert (code, error) == (0, "")
    assert rows[0]["family"] == "ledger"
    ledgers = [row for row in rows if row["family"] == "ledger"]
    assert len(ledgers) == FILES[file]
    assert len(rows) > len(ledgers)


def test_columns_are_those_of_the_reference(shared_ledgers: Path, shared_golden: Path) -> None:
    names = ("ledger-51000294", "ledger-57500008", "ledger-63092990")
    found: dict[str, set[str]] = {}
    for name in names:
        for row in derive(shared_ledgers / "pubnet" / f"{name}.xdr.gz", "pubnet")[1]:
            found.setdefault(row["family"], set()).update(row)
    with gzip.open(shared_golden / "head" / "pubnet.jsonl.gz", "rb") as lines:
        golden = [line for line in map(orjson.loads, lines) if Path(line["file"]).name.removesuffix(".xdr.gz") in names]
    for line in golden:
        for family in found.keys() & line.keys():
            wanted = line[family] if isinstance(line[family], list) else [line[family]]
            columns = {column for row in wanted for column, value in row.items() if value is not None}
            assert columns - NOT_OURS.get(family, set()) <= found[family], family


def test_one_ledger_and_some_processors(shared_ledgers: Path) -> None:
    path = shared_ledgers / "loadtest" / "v26.xdr.zst"
    code, rows, _ = derive(path, "loadtest", "--index", "3", "--processors", "accounts,trustlines")
    assert code == 0
    assert {row["family"] for row in rows} == {"ledger", "account_changes"}
    assert rows[0]["sequence"] == 10051


@pytest.mark.parametrize("file", ["unit/unit-1033.xdr.gz", "unit/unit-1111.xdr.gz"])
def test_a_refusal_is_one_line(file: str, shared_ledgers: Path) -> None:
    code, rows, error = derive(shared_ledgers / file, "unit")
    assert code == ExitCode.INTEGRITY
    assert rows == []
    assert error.count("\n") == 1
    assert file in error


def test_another_network_is_refused(shared_ledgers: Path) -> None:
    assert PASSPHRASES["pubnet"] == PUBNET
    code, rows, error = derive(shared_ledgers / "pubnet" / "ledger-57500008.xdr.gz", "unit")
    assert code == ExitCode.INTEGRITY
    assert rows == []
    assert "no envelope in the set has this hash" in error
