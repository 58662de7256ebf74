"""The house: what is committed parses, agrees with the code, and names neither a machine nor a registry."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values
from prometheus_client import Counter, Gauge, Histogram

from lumenstream import metrics, status
from lumenstream.errors import ExitCode
from lumenstream.masking import leaves
from lumenstream.settings import Settings, load_settings
from schemas import families, strkey
from schemas.messages import SAME_PARTITIONS, Topic
from schemas.parts import Part, encode
from tests.servers import docker

REPOSITORY = Path(__file__).parents[2]
ROOMS = ("schemas", "lumenstream", "producers", "processors", "sinks", "api", "sandbox", "migrations")
LOCKS = ("requirements.lock", "requirements-dev.lock")
# Metrics that prometheus_client and Prometheus itself provide.
FOREIGN_METRICS = {"up", "process_resident_memory_bytes", "process_cpu_seconds_total"}
PROMQL_WORDS = {"or", "and", "by", "unless", "offset"}
BINARY = {".gz", ".zst", ".png", ".ico", ".whl", ".woff2"}


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [REPOSITORY / name for name in listed.stdout.decode().split("\0") if name and (REPOSITORY / name).is_file()]


def pyproject() -> dict[str, Any]:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))


def metric_names() -> set[str]:
    """Every sample name that `lumenstream.metrics` can give."""
    names: set[str] = set()
    for metric in vars(metrics).values():
        if isinstance(metric, (Counter, Gauge, Histogram)):
            for family in metric.describe():
                if isinstance(metric, Counter):
                    names.add(f"{family.name}_total")
                elif isinstance(metric, Histogram):
                    names |= {f"{family.name}_{suffix}" for suffix in ("bucket", "sum", "count")}
                else:
                    names.add(family.name)
    return names


def names_in(expression: str) -> set[str]:
    """Metric names in a PromQL expression."""
    without_labels = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|without)\s*\([^)]*\)", "", expression)
    return {name for name in re.findall(r"\b[a-z_:][a-z0-9_:]*\b(?!\s*\()", without_labels) if name not in PROMQL_WORDS}


def expressions() -> Iterator[tuple[str, str]]:
    rules = yaml.safe_load((REPOSITORY / "ops/prometheus/alerts.yml").read_text(encoding="utf-8"))
    for group in rules["groups"]:
        for rule in group["rules"]:
            yield f"alert {rule['alert']}", rule["expr"]
    for path in sorted((REPOSITORY / "ops/grafana/dashboards").glob("*.json")):
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            for target in panel["targets"]:
                yield f"{path.name}: {panel['title']}", target["expr"]


def test_every_metric_in_alerts_and_dashboards_exists() -> None:
    known = metric_names() | FOREIGN_METRICS
    found = list(expressions())
    assert len(found) > 20
    unknown = {where: names_in(expression) - known for where, expression in found}
    assert {where: names for where, names in unknown.items() if names} == {}


def test_topics_in_the_texts_of_metrics_exist() -> None:
    text = Path(metrics.__file__).read_text(encoding="utf-8")
    named = set(re.findall(r"\bledgers?[-.][a-z.-]*[a-z]\b|(?<=topic )ledger[a-z]*", text))
    assert len(named) > 2 and named <= {*Topic}


def test_every_metric_the_status_reads_exists() -> None:
    texts = [path.read_text(encoding="utf-8") for path in sorted(Path(status.__file__).parent.glob("*.py"))]
    read = set(re.findall(r'"((?:lumenstream|process)_[a-z0-9_]+)"', "".join(texts)))
    assert read
    assert read - metric_names() - FOREIGN_METRICS == set()


def test_every_alert_has_a_place_in_the_runbook() -> None:
    runbook = (REPOSITORY / "docs/runbook.md").read_text(encoding="utf-8")
    alerts = [where.removeprefix("alert ") for where, _ in expressions() if where.startswith("alert ")]
    assert [alert for alert in alerts if alert not in runbook] == []


def test_the_runbook_names_the_topics_that_are_made_again_together() -> None:
    runbook = (REPOSITORY / "docs/runbook.md").read_text(encoding="utf-8")
    (sentence,) = re.findall(r"^2\. Delete, each with the prefix in front: (.+?)\. ", runbook, re.MULTILINE | re.DOTALL)
    assert sorted(re.findall(r"`(.+?)`", sentence)) == sorted(SAME_PARTITIONS) and len(SAME_PARTITIONS) == 6


def test_a_lag_that_does_not_grow_wakes_nobody() -> None:
    """The sandbox's close times begin at 2026-01-01 whenever it runs: against the clock alone the alert would never end."""
    rule = dict(expressions())["alert BehindTheNetwork"]
    assert " and max(delta(lumenstream_cursor_close_time_seconds[5m])) < " in rule


def test_alerts_say_so_when_nobody_tells_and_ask_only_what_lives_on() -> None:
    """Without a series there is nothing to compare with 0; backfill sinks end with their job, before anybody scrapes them."""
    rules = {where.removeprefix("alert "): rule for where, rule in expressions() if where.startswith("alert ")}
    for alert in ("SourceStuck", "NoSinkLeader", "NoWorkers", "NoApi", "NobodyMaintains"):
        assert re.search(r"\((max|sum)\(.+\) or vector\(0\)\)", rules[alert]), alert
    assert [alert for alert, rule in rules.items() if "lumenstream_backfill_" in rule] == []
    for alert in ("ProcessorFailed", "BrokerRetentionPassedCursor"):
        (counter,) = names_in(rules[alert])
        assert f"({counter} > 0 unless {counter} offset 1h)" in rules[alert], "it may be there before its worker is first seen"


def test_the_example_without_this_package_reads_a_part(capsys: pytest.CaptureFixture[str]) -> None:
    text = (REPOSITORY / "docs/topics.md").read_text(encoding="utf-8")
    (example,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "unpackb" in block]
    part = Part()
    part.add(families.TRANSACTIONS_ACCOUNTS, [families.TransactionAccountRow(4096, bytes([strkey.ACCOUNT]) + bytes(32))])
    exec(example, {"message": SimpleNamespace(value=lambda: encode(part))})
    assert capsys.readouterr().out == f"4096 30{'00' * 32}\n"


def test_operations_document_lists_every_exit_code() -> None:
    text = (REPOSITORY / "docs/operations.md").read_text(encoding="utf-8")
    assert [code.name for code in ExitCode if f"| {int(code)} | {code.name} |" not in text] == []


def test_compose_file_has_every_role_with_health_check_and_limit() -> None:
    compose = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8"))
    services = compose["services"]
    roles = {"producer", "worker", "sink", "publisher", "maintenance", "enrichment", "api"}
    servers = {"kafka", "database", "prometheus", "grafana"}
    assert services.keys() == roles | servers | {"migrate", "topics", "bootstrap"}
    for name in roles | servers:
        assert services[name]["healthcheck"]["test"], name
        assert services[name]["deploy"]["resources"]["limits"]["memory"], name
    assert services["worker"]["deploy"]["replicas"] > 1
    for name in roles | {"migrate", "bootstrap"}:
        assert "depends_on" in services[name], name


def test_compose_tells_every_role_of_the_archive_and_bootstraps_only_when_asked() -> None:
    """The producer waits for a bootstrap where an archive is set; a bootstrap with every `up` would meet the sink's lock."""
    services = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    for role in ("producer", "bootstrap", "sink"):
        assert services[role]["environment"]["LUMENSTREAM_ARCHIVE__URL"] == "${LUMENSTREAM_ARCHIVE__URL:-}"
    assert (services["bootstrap"]["command"], services["bootstrap"]["profiles"]) == (["bootstrap"], ["bootstrap"])
    assert services["bootstrap"]["restart"] == "no"
    assert services["enrichment"]["profiles"] == ["enrichment"], "it ends at once without an RPC server"
    assert all("profiles" not in services[role] for role in ("producer", "worker", "sink", "publisher", "maintenance", "api"))


def test_compose_file_holds_no_secret() -> None:
    text = (REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8")
    assert "${POSTGRES_PASSWORD:?" in text
    for line in text.splitlines():
        if "PASSWORD" in line and ":" in line and not line.lstrip().startswith("#"):
            assert "${POSTGRES_PASSWORD:?" in line, line
    example = (REPOSITORY / ".env.example").read_text(encoding="utf-8")
    assert re.search(r"^POSTGRES_PASSWORD=$", example, re.MULTILINE)


def test_the_password_stays_out_of_the_database_url_of_compose() -> None:
    """Raw in the URL, a password with %, @ or / makes another URL."""
    services = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    for role in ("producer", "worker", "sink", "publisher", "maintenance", "enrichment", "api", "migrate"):
        environment = services[role]["environment"]
        assert "$" not in environment["LUMENSTREAM_DATABASE__URL"]
        assert environment["PGPASSWORD"].startswith("${POSTGRES_PASSWORD:?")


def test_the_example_of_env_starts_as_it_is() -> None:
    """Compose passes the source into a container: an RPC server on 127.0.0.1 would never answer there."""
    values = dotenv_values(REPOSITORY / ".env.example")
    assert (values["LUMENSTREAM_PRODUCER__SOURCE"], values["LUMENSTREAM_NETWORK__NAME"]) == ("sandbox", "sandbox")
    assert "LUMENSTREAM_PRODUCER__RPC_URL" not in values


def test_every_line_of_env_reaches_every_role_of_compose_and_breaks_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Guards: containers that saw a dozen settings and passed over the others in silence. `environment` wins over `env_file`."""
    ports = {
        leaf.variable: "9" for leaf in leaves(Settings.model_construct(), {}) if leaf.path.endswith(("http_port", "api.port"))
    }
    hosts = {"LUMENSTREAM_HTTP__HOST": "127.0.0.1", "LUMENSTREAM_API__HOST": "127.0.0.1"}
    given = {"LUMENSTREAM_PRODUCER__BEGIN": "newest", "LUMENSTREAM_ARCHIVE__ENDPOINT": "http://s3:9000"}
    another = {"SECURITY_PROTOCOL": "SASL_SSL", "SASL_MECHANISM": "PLAIN", "SSL_CA_LOCATION": "/ca.pem", "REPLICATION": "3"}
    given |= {f"LUMENSTREAM_KAFKA__{name}": value for name, value in another.items()}  # of a Kafka elsewhere
    lines = ports | hosts | dict(dotenv_values(REPOSITORY / ".env.example")) | given
    monkeypatch.chdir(tmp_path)
    services = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    roles = {name: service for name, service in services.items() if service["image"] == "lumenstream:latest"}
    assert len(roles) == 10
    assert all("env_file" not in service for name, service in services.items() if name not in roles)
    for name, service in roles.items():
        assert service["env_file"] == [{"path": ".env", "required": False}], name
        with monkeypatch.context() as environment:
            for variable, value in {**lines, **service["environment"]}.items():
                environment.setenv(variable, interpolated(str(value), lines))
            settings = load_settings()
        assert (settings.producer.begin, settings.archive.endpoint) == ("newest", "http://s3:9000"), name
        assert settings.process.workers == 1, "more would need more memory, and ports that nobody asks"
        assert (settings.http.host, settings.api.host, settings.kafka.bootstrap) == ("0.0.0.0", "0.0.0.0", "kafka:9092"), name
        assert (settings.kafka.security_protocol, settings.kafka.sasl_mechanism) == ("PLAINTEXT", ""), name
        assert (settings.kafka.ssl_ca_location, settings.kafka.replication) == ("", 1), name
        assert "@database:5432/" in settings.database.url.get_secret_value(), name
        moved = {leaf.variable for leaf in leaves(settings, {}) if leaf.variable in ports and leaf.value == 9}
        assert moved == {"LUMENSTREAM_BACKFILL__HTTP_PORT"}, "which no service here listens on"


def interpolated(text: str, variables: Mapping[str, str | None]) -> str:
    """As compose does: ${NAME:-default} and ${NAME:?message}."""
    return re.sub(r"\$\{(\w+):(?:-([^}]*)|\?[^}]*)\}", lambda found: variables.get(found[1]) or found[2] or "", text)


def test_compose_and_the_tests_use_the_same_images() -> None:
    services = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    assert (services["kafka"]["image"], services["database"]["image"]) == (docker.KAFKA_IMAGE, docker.TIMESCALE_IMAGE)


def test_ports_of_compose_and_prometheus_are_the_defaults() -> None:
    settings = Settings()
    compose = (REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8")
    scrapes = (REPOSITORY / "ops/prometheus/prometheus.yml").read_text(encoding="utf-8")
    ports = {
        "producer": settings.producer.http_port,
        "worker": settings.process.http_port,
        "sink": settings.sink.http_port,
        "publisher": settings.publisher.http_port,
        "maintenance": settings.maintenance.http_port,
        "enrichment": settings.enrich.http_port,
        "api": settings.api.port,
    }
    assert len(set(ports.values())) == len(ports)
    targets = yaml.safe_load(compose)["services"]["api"]["environment"]["LUMENSTREAM_STATUS__TARGETS"]
    assert targets == ",".join(f"{role}=http://{role}:{port}" for role, port in ports.items())
    for role, port in ports.items():
        assert f"127.0.0.1:{port}/health" in compose, role
        assert re.search(rf"{role}:{port}|names: \[{role}\], type: A, port: {port}", scrapes), role


def test_every_room_is_behind_a_wall() -> None:
    linter = pyproject()["tool"]["importlinter"]
    assert set(linter["root_packages"]) == set(ROOMS)
    guarded = {module for contract in linter["contracts"] for module in contract["source_modules"]}
    assert set(ROOMS) <= guarded
    reasons = [contract["name"] for contract in linter["contracts"]]
    assert len(set(reasons)) == len(reasons) and all("\n" not in reason and len(reason) > 30 for reason in reasons)
    packages = {path.parent.name for path in REPOSITORY.glob("*/__init__.py")}
    assert packages - {"tests"} == set(ROOMS)


def test_mypy_covers_every_room_and_the_tests() -> None:
    assert set(pyproject()["tool"]["mypy"]["files"]) == {*ROOMS, "tests"}
    assert pyproject()["tool"]["mypy"]["strict"] is True


def test_lock_files_hold_pins_and_hashes_and_no_url() -> None:
    for name in LOCKS:
        text = (REPOSITORY / name).read_text(encoding="utf-8")
        assert "://" not in text and not re.search(r"^--", text, re.MULTILINE), name
        pins = re.findall(r"^[a-z0-9][\w.-]*==\S+ \\$", text, re.MULTILINE)
        assert len(pins) > 50 and text.count("--hash=sha256:") >= len(pins), name


def test_lock_files_agree_and_cover_what_is_declared() -> None:
    runtime, everything = (
        dict(re.findall(r"^([a-z0-9][\w.-]*)==(\S+)", (REPOSITORY / name).read_text(encoding="utf-8"), re.MULTILINE))
        for name in LOCKS
    )
    assert runtime.items() <= everything.items()
    project = pyproject()["project"]
    extras = project["optional-dependencies"]

    def declared(*lists: list[str]) -> set[str]:
        return {re.split(r"[\[<>=;]", requirement)[0].lower() for requirements in lists for requirement in requirements}

    # The image is installed from the first: without sentry and otel a setting that needs them would end its roles.
    assert declared(project["dependencies"], *(extras[name] for name in extras if name != "dev")) <= runtime.keys()
    assert declared(extras["dev"]) <= everything.keys()


def test_no_tracked_file_names_a_machine_or_a_registry() -> None:
    own = Path(__file__)
    # Put together here, so that this file does not hold what it looks for.
    forbidden = [
        re.compile(pattern)
        for pattern in (
            r"(?<![\w.])/(?:home|Users|work|root)/\w",
            "index" + r"-url\s*=",
            r"https?://[^\s\"'<>]*(?:arti" + r"factory|nexus|devpi|/simple/)",
            "pypi" + r"\.org|files\.pythonhosted|registry\.npmjs|static\.crates",
        )
    ]
    found = []
    for path in tracked():
        if path == own or path.suffix in BINARY:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{path.relative_to(REPOSITORY)}: {match.group()}" for pattern in forbidden for match in pattern.finditer(text)]
    assert found == []


def test_nothing_unfinished_is_left_behind() -> None:
    marks = re.compile("TO" + r"DO\b|FIX" + r"ME\b|XX" + r"X\b|type:" + " ignore")
    found = [
        f"{path.relative_to(REPOSITORY)}:{number}"
        for path in tracked()
        if path.suffix in {".py", ".rs", ".sql"} and path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if marks.search(line)
    ]
    assert found == []


def test_make_help_describes_every_target() -> None:
    done = subprocess.run(
        ["make", "--no-print-directory"], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=30
    )
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = {name for line in re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE) for name in line.split()}
    wanted = {"demo", "test", "lint", "bench", "chaos", "servers-up", "servers-down", "doctor", "lock", "format", "clean"}
    assert wanted <= targets
    assert [target for target in targets if f"make {target} " not in done.stdout] == []


def prose(path: Path) -> str:
    """A document without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """Of the headings, as GitHub makes them: lower case, spaces as hyphens, other signs dropped."""
    headings = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    texts = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts}


def test_links_of_the_documents_lead_somewhere() -> None:
    """Guards: a heading that got a fourth word, and three links to it that nobody missed."""
    broken, followed = [], 0
    for path in [path for path in tracked() if path.suffix == ".md"]:
        for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
            place, _, anchor = target.partition("#")
            if "://" in target:
                continue
            leads_to = path.parent / place if place else path
            if not leads_to.exists() or (anchor and anchor not in anchors(leads_to)):
                broken.append(f"{path.relative_to(REPOSITORY)} -> {target}")
            followed += bool(anchor)
    assert broken == [] and followed > 10


def test_settings_are_listed_in_one_place() -> None:
    """docs/reference.md is made from the code. A table written by hand beside it told of two thirds of them."""
    listed = {path for path in tracked() if path.suffix == ".md" and "\n| `LUMENSTREAM_" in path.read_text(encoding="utf-8")}
    assert listed == {REPOSITORY / "docs/reference.md"}
