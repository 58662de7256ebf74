"""The command line: help of every command, one clear line and an exit code for every error, where settings come from."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from api.server import listen
from lumenstream.bench import BENCHMARKS
from lumenstream.cli.main import build, main
from lumenstream.cli.options import GLOBAL_OPTIONS
from lumenstream.errors import ConfigurationError, ExitCode
from lumenstream.settings import PASSPHRASES

COMMANDS = (
    *("demo", "up", "maintain", "migrate", "topics", "doctor"),
    *("produce", "process", "sink", "publish", "serve"),
    *("status", "config", "bench", "decode", "derive", "sandbox", "replay"),
    *("backfill", "verify", "bootstrap", "enrich", "rebuild-state"),
    *("query",),
)
NOWHERE = "127.0.0.1:9"  # the discard port: nothing answers


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory without settings in the environment."""
    for name in [name for name in os.environ if name.startswith("LUMENSTREAM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def run(*arguments: str, environment: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the program, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (environment or {}).items():
            patch.setenv(name, value)
        runner = CliRunner()
        with runner.isolation() as (out, error, _):
            code: object = 0
            try:
                main(list(arguments))
            except SystemExit as ended:
                code = ended.code
            sys.stdout.flush()
            sys.stderr.flush()
            return int(str(code or 0)), out.getvalue().decode(), error.getvalue().decode()


def config(*arguments: str, environment: Mapping[str, str] | None = None) -> dict[str, dict[str, dict[str, object]]]:
    code, out, error = run("config", "--json", *arguments, environment=environment)
    assert code == 0, error
    tree: dict[str, dict[str, dict[str, object]]] = json.loads(out)
    return tree


def test_every_documented_command_is_there(elsewhere: Path) -> None:
    group = typer.main.get_command(build())
    assert sorted(getattr(group, "commands")) == sorted(COMMANDS)  # noqa: B009 (a group, typed as a command)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_with_an_example(elsewhere: Path, command: str) -> None:
    code, out, _ = run(command, "--help")
    assert code == 0
    assert "Example: " in out and f"lumenstream {command}" in out
    assert all(option.flag in out for option in GLOBAL_OPTIONS)


def examples() -> list[str]:
    """The command lines that help teaches."""
    commands = getattr(typer.main.get_command(build()), "commands")  # noqa: B009 (a group, typed as a command)
    return [line for command in commands.values() for line in re.findall(r"^Example: (.+)$", command.help, re.MULTILINE)]


@pytest.mark.parametrize("line", examples())
def test_an_example_parses(elsewhere: Path, line: str) -> None:
    """As far as the command's own function, which does not run."""
    words = [word for word in shlex.split(line.partition(" | ")[0]) if not re.match(r"[A-Z_]+=", word)]
    assert words[0] == "lumenstream"
    group = typer.main.get_command(build())
    (command,) = (found for name, found in getattr(group, "commands").items() if name == words[1])  # noqa: B009
    command.make_context(words[1], words[2:])


@pytest.mark.parametrize(
    ("command", "taught"),
    [
        ("process", ("--backfill", "--workers 0", "on whatever hosts")),
        ("sink", ("--backfill", "--sinks 0", "on whatever hosts")),
        ("backfill", ("lumenstream process --backfill", "lumenstream sink --backfill", "--workers 0 --sinks 0")),
        ("migrate", ("lumenstream migrate --status", "lumenstream migrate --to")),
    ],
)
def test_help_says_how_several_hosts_share_a_job_and_how_to_go_down(
    elsewhere: Path, command: str, taught: tuple[str, ...]
) -> None:
    text = " ".join(run(command, "--help")[1].split())
    assert [words for words in taught if words not in text] == []


def test_a_backfill_without_its_source_ends_before_any_server_is_asked(elsewhere: Path) -> None:
    arguments = ("backfill", "--start", "2", "--end", "3", "--database-url", f"postgresql://{NOWHERE}/x", "--source", "files")
    code, _, error = run(*arguments, "--path", "missing")
    assert code == ExitCode.CONFIGURATION and "ledger path missing does not exist" in error


def test_help_wraps_where_the_terminal_ends(elsewhere: Path) -> None:
    """Not where the lines of the source do; examples stay apart."""
    _, out, _ = run("produce", "--help")
    assert "a Stellar RPC server, which keeps the latest ledgers only" in out
    assert len([line for line in out.splitlines() if line.strip().startswith("Example: lumenstream produce")]) == 3


def fresh_python(code: str) -> subprocess.CompletedProcess[str]:
    """Run in a process that has imported nothing yet."""
    repository = Path(__file__).parents[2]
    return subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True, timeout=60)


def test_help_of_the_program_names_every_command_and_imports_no_room(elsewhere: Path) -> None:
    code = (
        "import sys\nfrom lumenstream.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "rooms = {'producers', 'processors', 'sinks', 'api', 'sandbox', 'migrations', 'faust', 'confluent_kafka', 'psycopg'}\n"
        "print(sorted(rooms & set(sys.modules)), file=sys.stderr)\n"
    )
    done = fresh_python(code)
    assert all(f" {command} " in done.stdout for command in COMMANDS)
    assert done.stderr.strip() == "[]"


def test_a_start_without_the_sandbox_does_without_the_sdk() -> None:
    """Half a second of every start of `produce` and `backfill`."""
    code = "import sys, producers.ledger, producers.backfill\nprint(sorted({'stellar_sdk', 'sandbox'} & set(sys.modules)))"
    assert fresh_python(code).stdout.strip() == "[]"


def test_version(elsewhere: Path) -> None:
    assert run("--version")[:2] == (0, "lumenstream 0.1.0\n")


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (("produce", "--sourc", "files"), "--source"),
        (("prodce",), "produce"),
        (("produce", "--source", "cloud"), "sandbox"),
        (("decode",), "Missing argument"),
    ],
)
def test_a_mistake_in_the_command_line_is_exit_code_2_with_a_suggestion(
    elsewhere: Path, arguments: tuple[str, ...], suggestion: str
) -> None:
    code, _, error = run(*arguments)
    assert code == ExitCode.USAGE
    assert suggestion in error


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("migrate", "--database-url", f"postgresql://u:secret@{NOWHERE}/x"), ExitCode.UNREACHABLE, "does not answer"),
        (("serve", "--database-url", f"postgresql://u:secret@{NOWHERE}/x"), ExitCode.UNREACHABLE, "does not answer"),
        (("up", "--database-url", f"postgresql://u:secret@{NOWHERE}/x"), ExitCode.UNREACHABLE, "does not answer"),
        (("publish", "--from", "5"), ExitCode.CONFIGURATION, "both ends"),
        (("publish", "--from", "9", "--to", "3"), ExitCode.CONFIGURATION, "ledger 9 comes after 3"),
        (("decode", "missing.xdr"), ExitCode.CONFIGURATION, "does not exist"),
        (("decode", "damaged.xdr"), ExitCode.INTEGRITY, "damaged.xdr"),
        (("decode", "--part", "damaged.xdr"), ExitCode.INTEGRITY, "not a part"),
        (("derive", "damaged.xdr", "--network", "moon"), ExitCode.CONFIGURATION, "no known passphrase"),
        (("produce", "--source", "rpc"), ExitCode.CONFIGURATION, "needs a URL"),
        (("produce", "--source", "rpc", "--rpc-url", "rpc.example/secret"), ExitCode.CONFIGURATION, "not of the form"),
        (("produce", "--source", "files"), ExitCode.CONFIGURATION, "needs a path"),
        (("produce", "--source", "files", "--path", "/nope"), ExitCode.CONFIGURATION, "/nope does not exist"),
        (("produce", "--network", "pubnet"), ExitCode.CONFIGURATION, "makes ledgers up"),
        (("up", "--network", "testnet"), ExitCode.CONFIGURATION, "--source lake"),
        (("backfill", "--start", "2", "--end", "3", "--network", "pubnet"), ExitCode.CONFIGURATION, "--source rpc"),
        (("produce", "--network-passphrase", PASSPHRASES["pubnet"]), ExitCode.CONFIGURATION, "which pubnet must not have"),
        (("bench", "nothing"), ExitCode.CONFIGURATION, next(iter(BENCHMARKS))),
        (("demo", "--network", "futurenet"), ExitCode.CONFIGURATION, "--ledgers"),
        (("demo", "--ledgers", "nowhere"), ExitCode.CONFIGURATION, "nowhere does not exist"),
        (("demo", "--once", "--rpc-url", "http://127.0.0.1:9"), ExitCode.CONFIGURATION, "--once needs an end"),
        (("demo", "--once", "--data-dir", "here"), ExitCode.CONFIGURATION, "starts from nothing"),
    ],
)
def test_an_error_is_one_line_with_a_hint_and_its_exit_code(
    elsewhere: Path, arguments: tuple[str, ...], code: ExitCode, text: str
) -> None:
    (elsewhere / "damaged.xdr").write_bytes(b"\x00\x00\x00\x01 not a ledger")
    found, _, error = run(*arguments)
    assert found == code
    line = error.strip().splitlines()[-1]
    assert line.startswith("error: ") and text in line and line.endswith(")")
    assert "secret" not in error and "Traceback" not in error


def test_an_unexpected_exception_is_exit_code_1_with_a_traceback(elsewhere: Path) -> None:
    code = (
        "from lumenstream import masking\nfrom lumenstream.cli.main import main\n"
        "def broken(*_):\n    raise RuntimeError('a defect')\n"
        "masking.leaves = broken\nmain(['config'])\n"
    )
    repository = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == ExitCode.UNEXPECTED
    assert "Traceback" in done.stderr and "RuntimeError: a defect" in done.stderr


def test_flag_wins_over_environment_over_file_over_default(elsewhere: Path) -> None:
    assert config()["kafka"]["bootstrap"] == {"value": "127.0.0.1:9092", "origin": "default"}
    (elsewhere / ".env").write_text(
        "LUMENSTREAM_KAFKA__BOOTSTRAP=from-file:1\nLUMENSTREAM_KAFKA__PARTITIONS=7\n", encoding="utf-8"
    )
    assert config()["kafka"]["bootstrap"] == {"value": "from-file:1", "origin": ".env"}
    environment = {"LUMENSTREAM_KAFKA__BOOTSTRAP": "from-environment:2"}
    assert config(environment=environment)["kafka"]["bootstrap"] == {"value": "from-environment:2", "origin": "environment"}
    tree = config("--kafka-bootstrap", "from-flag:3", environment=environment)
    assert tree["kafka"]["bootstrap"] == {"value": "from-flag:3", "origin": "flag"}
    assert tree["kafka"]["partitions"] == {"value": 7, "origin": ".env"}  # the rest of the section stays


def test_global_options_stand_before_or_after_the_command(elsewhere: Path) -> None:
    code, out, _ = run("--network", "testnet", "config", "--json", "--topic-prefix", "x.")
    tree = json.loads(out)
    assert code == 0
    assert tree["network"]["name"]["value"] == "testnet"
    assert tree["kafka"]["topic_prefix"]["value"] == "x."


def test_lists_come_from_the_environment_as_text(elsewhere: Path) -> None:
    tree = config(environment={"LUMENSTREAM_PROCESS__PROCESSORS": "participants, accounts"})
    assert tree["process"]["processors"]["value"] == "participants,accounts"


@pytest.mark.parametrize(
    ("variable", "value", "text"),
    [
        ("LUMENSTREAM_KAFKA__PARTITIONS", "0", "LUMENSTREAM_KAFKA__PARTITIONS"),
        ("LUMENSTREAM_KAFKA", "{", "kafka"),
        ("LUMENSTREAM_SINK__NO_SUCH_SETTING", "1", "no_such_setting"),
    ],
)
def test_a_wrong_setting_is_named(elsewhere: Path, variable: str, value: str, text: str) -> None:
    code, _, error = run("config", environment={variable: value})
    assert code == ExitCode.CONFIGURATION
    assert text.lower() in error.lower()


@pytest.mark.parametrize(
    "url",
    [
        "not a url",
        "postgresql://u:hunter2%@h/d",
        "postgresql://u:hunt@er2@h/d",
        "postgresql://u:h@hunter2/x@h/d",
        "postgresql://u:hunter2/x@h/d",
        "postgresql://u:7/hunter2@h/d",
        "postgresql://u:h?hunter2@h/d",
        "postgresql://u:h#hunter2@h/d",
        "postgresql://h:hunter2/d",
        "postgresql://h/d?hunter2=1",
        "host=h port=hunter2",
    ],
)
def test_a_malformed_database_url_is_refused_and_not_repeated(elsewhere: Path, url: str) -> None:
    for command in ("migrate", "status", "sink", "serve"):
        code, out, error = run(command, "--database-url", url)
        assert code == ExitCode.CONFIGURATION
        assert error.startswith("error: setting database.url: ") and error.count("\n") == 1
        assert "hunt" not in out + error and "er2" not in error and "not a url" not in error


@pytest.mark.parametrize(
    "url",
    [
        "",
        "service=here",
        "postgresql:///d?host=/run/postgresql&user=u@realm",
        "postgres://u:p%40%2Fw@h1:1,h2:2/d?options=-c%20x%3Dy",
        "postgresql://h/d?user=u&password=p",
        "host=h user=u password='a b@c/d'",
    ],
)
def test_a_database_url_of_any_form_is_taken(elsewhere: Path, url: str) -> None:
    assert run("config", "--database-url", url)[0] == 0


@pytest.mark.parametrize(
    ("role", "setting"), [("produce", "producer"), ("process", "process"), ("sink", "sink"), ("publish", "publisher")]
)
def test_a_port_in_use_or_a_wrong_host_is_named(elsewhere: Path, role: str, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, _, error = run(role, "--port", port)
        assert code == ExitCode.CONFIGURATION
        assert error.strip().splitlines()[-1].startswith(f"error: setting {setting}.http_port: ") and port in error
    code, _, error = run(role, "--port", "0", environment={"LUMENSTREAM_HTTP__HOST": "no such host"})
    assert code == ExitCode.CONFIGURATION
    assert "setting http.host" in error and "LUMENSTREAM_HTTP__HOST" in error and "Traceback" not in error


def test_the_api_names_a_port_in_use_and_a_wrong_host() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigurationError, match=r"setting api\.port"):
        listen("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(ConfigurationError, match=r"setting api\.host"):
        listen("192.0.2.1", 0)
    with listen("127.0.0.1", 0) as listener:
        assert listener.getsockname()[1]


@pytest.mark.parametrize("where", ["environment", ".env"])
def test_an_unknown_section_is_refused_with_the_nearest(elsewhere: Path, where: str) -> None:
    variable = {"LUMENSTREAM_KAFA__PARTITIONS": "3"}
    if where == ".env":
        (elsewhere / ".env").write_text("LUMENSTREAM_KAFA__PARTITIONS=3\nOTHER__THING=1\n", encoding="utf-8")
    code, _, error = run("config", environment=variable if where == "environment" else {"LUMENSTREAM_LEDGERS": "/x"})
    assert code == ExitCode.CONFIGURATION
    assert "LUMENSTREAM_KAFA__PARTITIONS" in error and "did you mean LUMENSTREAM_KAFKA__PARTITIONS?" in error


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hunter2@rpc.example/", "https://rpc.example"),
        ("https://rpc.example:8000/v1/hunter2", "https://rpc.example:8000"),
        ("https://rpc.example/?api-key=hunter2", "https://rpc.example"),
        ("http://[::1]:8000/hunter2", "http://[::1]:8000"),
        ("hunter2", "********"),
        ("https://u:hunter2/x@rpc.example", "********"),
    ],
)
def test_an_rpc_url_is_shown_as_scheme_and_host(elsewhere: Path, url: str, shown: str) -> None:
    tree = config(environment={"LUMENSTREAM_PRODUCER__RPC_URL": url})
    assert tree["producer"]["rpc_url"]["value"] == shown


def test_a_damaged_file_is_named_once(elsewhere: Path) -> None:
    (elsewhere / "damaged.xdr").write_bytes(b"not a ledger at all")
    assert run("decode", "damaged.xdr")[2].count("damaged.xdr") == 1


def test_config_masks_every_secret(elsewhere: Path) -> None:
    secrets = {
        "LUMENSTREAM_DATABASE__URL": "postgresql://user:hunter2@host/db?sslpassword=hunter2",
        "LUMENSTREAM_KAFKA__SASL_PASSWORD": "hunter2",
        "LUMENSTREAM_PRODUCER__RPC_URL": "https://user:hunter2@rpc.example/path?apikey=hunter2",
    }
    for arguments in (("config",), ("config", "--json"), ("config", "--describe")):
        code, out, _ = run(*arguments, environment=secrets)
        assert code == 0
        assert "hunter2" not in out
        assert "user:********@host/db" in out and "https://rpc.example" in out and "rpc.example/" not in out
    words = {"LUMENSTREAM_DATABASE__URL": "host=h password='hunter2 x' dbname=d"}
    assert config(environment=words)["database"]["url"]["value"] == "host=h password=******** dbname=d"


def test_sandbox_saves_ledgers_that_decode_and_derive_read(elsewhere: Path) -> None:
    code, out, error = run("sandbox", "--out", "ledgers", "--ledgers", "3", "--seed", "7")
    assert code == 0, error
    listed = [json.loads(line) for line in out.splitlines()]
    assert [row["sequence"] for row in listed] == [2, 3, 4]
    assert sorted(path.name for path in Path("ledgers").iterdir()) == [f"ledger-{n}.xdr.gz" for n in (2, 3, 4)]

    again = run("sandbox", "--ledgers", "2", "--seed", "7", "--from", "3")[1]
    assert [json.loads(line) for line in again.splitlines()] == listed[1:]

    code, out, error = run("decode", "ledgers", "--index", "1")
    assert code == 0, error
    ledgers = [json.loads(line) for line in out.splitlines()]
    assert [ledger["header"]["sequence"] for ledger in ledgers] == [3]

    code, out, error = run("derive", "ledgers/ledger-3.xdr.gz", "--processors", "participants")
    assert code == 0, error
    some = {json.loads(line)["family"] for line in out.splitlines()}
    code, out, error = run("derive", "ledgers/ledger-3.xdr.gz")
    assert code == 0, error
    assert {"transactions", "operations"} <= some < {json.loads(line)["family"] for line in out.splitlines()}

    code, _, error = run("decode", "ledgers", "--index", "99")
    assert code == ExitCode.CONFIGURATION and "no ledger at index 99" in error


def test_a_part_is_shown_with_names_and_addresses(elsewhere: Path) -> None:
    from schemas import families, parts, strkey

    address = bytes([strkey.ACCOUNT]) + bytes(32)
    part = parts.Part()
    part.add(families.TRANSACTIONS_ACCOUNTS, [families.TransactionAccountRow(4096, address)])
    Path("part").write_bytes(parts.encode(part))
    code, out, error = run("decode", "--part", "part")
    assert code == 0, error
    assert json.loads(out) == {"transactions_accounts": [{"tx_to_id": 4096, "account_id": strkey.encode(address)}]}


def test_status_without_a_database_is_exit_code_3_and_still_shows_the_rest(elsewhere: Path) -> None:
    arguments = ("status", "--database-url", f"postgresql://u:secret@{NOWHERE}/x")
    code, out, error = run(*arguments, "--json")
    assert code == ExitCode.UNREACHABLE
    assert json.loads(out)["database"]["answered"] is False
    assert "does not answer" in error and "secret" not in out + error
    code, out, error = run(*arguments)
    assert code == ExitCode.UNREACHABLE and "producer" in out + error


def test_doctor_says_what_fails_and_how_to_mend_it(elsewhere: Path) -> None:
    arguments = ("--database-url", f"postgresql://u:secret@{NOWHERE}/x", "--kafka-bootstrap", NOWHERE)
    code, out, _ = run("doctor", *arguments, "--json", environment={"LUMENSTREAM_KAFKA__REQUEST_TIMEOUT_SECONDS": "1"})
    results = {row["name"]: row for row in json.loads(out)}
    assert code == ExitCode.FAILED
    assert results["python"]["level"] == "ok"
    assert results["kafka"]["level"] == results["database"]["level"] == "fail"
    assert results["database"]["mend"] and "secret" not in out


def test_doctor_warns_of_a_role_elsewhere_that_does_not_answer(elsewhere: Path) -> None:
    """Guards: it looked at the port on this machine, where nothing was, and found a dead sink in order."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        here = taken.getsockname()[1]
        targets = f"sink=http://sink.invalid:8013,publisher=http://127.0.0.1:9,backfill-sink=http://127.0.0.1:{here}"
        environment = {"LUMENSTREAM_STATUS__TARGETS": targets, "LUMENSTREAM_KAFKA__REQUEST_TIMEOUT_SECONDS": "1"}
        arguments = ("--database-url", f"postgresql://{NOWHERE}/x", "--kafka-bootstrap", NOWHERE, "--json")
        results = {row["name"]: row for row in json.loads(run("doctor", *arguments, environment=environment)[1])}
    sink, publisher, backfill = (results[name] for name in ("sink", "publisher", "backfill-sink"))
    assert sink["level"] == "warn" and sink["text"] == "does not answer at http://sink.invalid:8013" and sink["mend"]
    assert publisher["level"] == "ok" and "not running here" in publisher["text"]
    assert backfill["level"] == "fail" and "LUMENSTREAM_BACKFILL__HTTP_PORT" in backfill["mend"]
