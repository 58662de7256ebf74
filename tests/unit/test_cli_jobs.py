"""What the commands of jobs show: progress lines, rates, the list of what failed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lumenstream.cli import jobdisplay
from lumenstream.cli.jobdisplay import Display, pace
from lumenstream.cli.jobs import report
from lumenstream.cli.statedisplay import EntriesDisplay, entries_pace
from lumenstream.errors import ExitCode, LumenstreamError
from producers import archive
from producers.backfill import Progress, Summary
from producers.backfill.plan import Range

HALF = Progress(ledgers=200, done_ledgers=100, ranges=10, done_ranges=5, failed_ranges=0, open_ranges=2, seconds=50.0)
SUMMARY = Summary("backfill-x", 2, 20, 10, 0, 5.0, ((Range(16, 23), "ledger 20: effects failed: no"),))
REST = "it does what is left"


def test_pace_says_rate_time_left_and_failures() -> None:
    assert pace(HALF) == "2.0/s, 0:00:50 left"
    failed = Progress(ledgers=9000, done_ledgers=10, ranges=10, done_ranges=5, failed_ranges=3, open_ranges=2, seconds=10.0)
    assert pace(failed) == "1.0/s, 2:29:50 left, 3 ranges failed"
    begun = Progress(ledgers=200, done_ledgers=0, ranges=10, done_ranges=0, failed_ranges=0, open_ranges=2, seconds=0.0)
    assert pace(begun) == "0.0/s"


def test_without_a_terminal_progress_is_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(jobdisplay, "LINE_SECONDS", 0.0)
    with Display("backfill-x", 200) as display:
        display.show(HALF)
        display.show(HALF)
    assert capsys.readouterr().err == "100 of 200 ledgers, 2.0/s, 0:00:50 left\n"


def test_progress_of_a_checkpoint(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(jobdisplay, "LINE_SECONDS", 0.0)
    half = archive.Progress(done_bytes=500, total_bytes=1000, records=3000, entries=2000, seconds=10.0)
    with EntriesDisplay("state after ledger 63") as display, EntriesDisplay("quiet", quiet=True) as quiet:
        display.show(half)
        quiet.show(half)
    assert capsys.readouterr().err == "state after ledger 63: 2,000 entries, 200/s, 0:00:10 left\n"
    assert entries_pace(half._replace(total_bytes=0)) == "2,000 entries, 200/s"


def test_a_job_that_failed_in_part_names_its_ranges(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(LumenstreamError) as raised:
        report(SUMMARY, False, Path("logs"), REST)
    assert raised.value.exit_code is ExitCode.FAILED
    assert "1 of 2 ranges failed" in str(raised.value) and "logs: logs" in raised.value.hint
    shown = capsys.readouterr()
    assert shown.out == "10 of 20 ledgers in 5.0 s, 2.0 a second\n"
    assert shown.err == "failed: 16-23: ledger 20: effects failed: no\n"
    with pytest.raises(LumenstreamError):
        report(SUMMARY, True, None, REST)
    document = json.loads(capsys.readouterr().out)
    assert document["failed"] == [{"first": 16, "last": 23, "error": "ledger 20: effects failed: no"}]
    assert (document["ok"], document["error"]) == (False, None)


def test_a_job_that_was_interrupted_has_nothing_to_mend(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(LumenstreamError, match="backfill-x: interrupted") as raised:
        report(replace(SUMMARY, failed=(), interrupted=True), True, None, REST)
    assert (raised.value.exit_code, raised.value.hint) == (ExitCode.FAILED, f"run it again: {REST}")
    assert json.loads(capsys.readouterr().out)["interrupted"] is True
