"""Options mean something where they are taken: those that commands share become settings, others are refused that do nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import typer

from lumenstream import masking
from lumenstream import settings as settings_module
from lumenstream.bench import BENCHMARKS
from lumenstream.cli import bench, inputs
from lumenstream.cli.main import build, main
from lumenstream.cli.options import GLOBAL_OPTIONS
from lumenstream.errors import ExitCode
from lumenstream.settings import Settings, load_settings

SHARED = {
    "source": (inputs.SourceOption, "producer.source", "lake"),
    "path": (inputs.PathOption, "producer.path", "some/ledgers"),
    "rpc_url": (inputs.RpcOption, "producer.rpc_url", "http://127.0.0.1:9"),
    "lake_url": (inputs.LakeOption, "lake.url", "some/lake"),
    "archive_url": (inputs.ArchiveOption, "archive.url", "some/archive"),
}
NEEDED = {
    "backfill": ("--start", "2", "--end", "3"),
    "replay": ("--from", "2", "--to", "3"),
    "verify": ("--checkpoint",),
}


class Read(Exception):
    """Raised in the place of the work, with the settings."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings


def shared_options() -> dict[str, list[Any]]:
    """By command, the parameters that it takes as others do."""
    texts = {name: get_args(annotation)[1].help for name, (annotation, _, _) in SHARED.items()}
    commands: dict[str, Any] = getattr(typer.main.get_command(build()), "commands")  # noqa: B009 (a group, typed as a command)
    found = {
        name: [parameter for parameter in command.params if texts.get(parameter.name) == getattr(parameter, "help", "")]
        for name, command in commands.items()
    }
    return {name: parameters for name, parameters in found.items() if parameters}


@pytest.fixture
def settings_end_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def load(**flags: Any) -> Settings:
        raise Read(load_settings(**flags))

    monkeypatch.setattr(settings_module, "load_settings", load)
    monkeypatch.chdir(tmp_path)


def test_which_commands_share_options() -> None:
    found = {name: len(parameters) for name, parameters in shared_options().items()}
    every = ("up", "verify", "rebuild-state")
    assert found == dict.fromkeys(every, 5) | dict.fromkeys(("produce", "backfill", "replay"), 4) | {"bootstrap": 1, "enrich": 1}


@pytest.mark.parametrize("command", shared_options())
def test_shared_options_become_settings(command: str, settings_end_the_command: None) -> None:
    """Guards: rebuild-state took --lake-url and read the public lake."""
    parameters = shared_options()[command]
    given = [text for parameter in parameters for text in (parameter.opts[0], SHARED[parameter.name][2])]
    with pytest.raises(Read) as read:
        main([command, *NEEDED.get(command, ()), *given])
    for parameter in parameters:
        _, setting, wanted = SHARED[parameter.name]
        section, _, leaf = setting.partition(".")
        assert str(getattr(getattr(read.value.settings, section), leaf)) == wanted, parameter.name


@pytest.mark.parametrize(
    ("arguments", "refused"),
    [
        (("replay", "--ledger", "9", "--from", "2"), "--from"),
        (("replay", "--ledger", "9", "--workers", "1"), "--workers"),
        (("replay", "--ledger", "9", "--sinks", "0", "--source", "files", "--path", "x"), "--sinks, --source, --path"),
        (("replay", "--ledger", "9", "--rpc-url", "http://x", "--lake-url", "x"), "--rpc-url, --lake-url"),
        (("replay", "--ledger", "9", "--log-dir", "x", "--pause-retention"), "--log-dir, --pause-retention"),
        (("verify", "--checkpoint", "--from", "2", "--to", "3"), "--from, --to"),
        (("verify", "--archive-url", "x", "--source", "lake"), "--archive-url, --source"),
        (("publish", "--from", "2", "--to", "3", "--port", "0"), "--port"),
        (("migrate", "--status", "--to", "3"), "--to"),
        (("maintain", "--once", "--port", "0"), "--port"),
        (("enrich", "--port", "0"), "--port"),
        (("produce", "--from", "9", "--begin", "newest"), "--begin"),
        (("decode", "part", "--part", "--index", "0"), "--index"),
        (("demo", "--json", "--timeout", "9"), "--json, --timeout"),
        (("demo", "--rpc-url", "http://x", "--close-seconds", "1", "--seed", "2"), "--close-seconds, --seed"),
        (("bench", "decode", "--rows", "1000", "--keep", "--ledgers", "9", "--depth", "9"), "--rows, --keep, --ledgers, --depth"),
        (("bench", "plans", "--ledgers", "9"), "--ledgers"),
        (("bench", "live", "--workers", "2", "--depth", "9"), "--depth"),
        (("bench", "failover", "--workers", "2"), "--workers"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    arguments: tuple[str, ...], refused: str, settings_end_the_command: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    assert ended.value.code == ExitCode.CONFIGURATION
    assert capsys.readouterr().err.startswith(f"error: {refused} would do nothing with")


@pytest.mark.parametrize("command", ["produce", "up", "backfill", "replay", "verify", "rebuild-state"])
def test_options_of_another_source_are_refused(
    command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also when the environment names the source; before a server is asked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LUMENSTREAM_PRODUCER__SOURCE", "lake")
    sandbox = ("--close-seconds", "2", "--seed", "3") if command == "produce" else ()
    with pytest.raises(SystemExit) as ended:
        main([command, *NEEDED.get(command, ()), "--path", "x", "--rpc-url", "http://127.0.0.1:9", "--lake-url", "y", *sandbox])
    assert ended.value.code == ExitCode.CONFIGURATION
    refused = ", ".join(["--path", "--rpc-url", *sandbox[::2]])
    error = capsys.readouterr().err
    assert error.startswith(f"error: {refused} would do nothing with source lake") and "--source" in error


def test_every_option_of_a_benchmark_is_read_by_those_that_its_help_names() -> None:
    """Guards: an option that no benchmark's list names would never be refused, and `backfill --depth` always was."""
    command = getattr(typer.main.get_command(build()), "commands")["bench"]  # noqa: B009 (a group, typed as a command)
    shared = {option.setting for option in GLOBAL_OPTIONS} | {"name", "as_json"}
    assert {parameter.name for parameter in command.params} - shared == bench.OPTIONS
    for parameter in command.params:
        if parameter.name in bench.OPTIONS:
            named = {name for name in BENCHMARKS if re.search(rf"\b{name}\b", parameter.help)}
            assert named == {name for name, read in bench.READ.items() if parameter.name in read}, parameter.name
    assert set(bench.READ) <= set(BENCHMARKS)


def test_what_a_new_stream_begins_with_reaches_the_producer_of_up(settings_end_the_command: None) -> None:
    with pytest.raises(Read) as read:
        main(["up", "--source", "lake", "--network", "pubnet", "--begin", "newest"])
    assert masking.environment_of(read.value.settings)["LUMENSTREAM_PRODUCER__BEGIN"] == "newest"


def test_what_comes_from_the_environment_is_never_refused(
    settings_end_the_command: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUMENSTREAM_PRODUCER__SOURCE", "lake")
    with pytest.raises(Read) as read:
        main(["replay", "--ledger", "9", "--json"])
    assert read.value.settings.producer.source == "lake"
