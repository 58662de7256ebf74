"""docs/reference.md says what the code says, and everything in it has a meaning."""

from __future__ import annotations

import re
from collections import Counter as Count
from pathlib import Path

import typer
from prometheus_client import Counter, Gauge, Histogram

from lumenstream import metrics
from lumenstream.cli import equivalents, reference
from lumenstream.cli.main import build
from lumenstream.masking import leaves
from lumenstream.settings import Settings
from tests.unit.test_house import FOREIGN_METRICS, REPOSITORY, ROOMS, metric_names, names_in, tracked

ONLY_UPSTREAM = 15  # rows of the reference that may have nothing here

# Spec/ingestion.md 9, with the options of 12.2; commands of 9.4 by their names.
OPTIONS_THERE = """
database-url log-level network-passphrase rpc-url base-fee tracker-dsn stellar-environment server-base-url
channel-account-encryption-passphrase distribution-account-public-key distribution-account-private-key
distribution-account-signature-provider kms-key-arn aws-region
port client-auth-public-keys client-auth-max-timeout-seconds client-auth-max-body-size-bytes supported-assets
max-sponsored-base-reservers number-channel-accounts graphql-complexity-limit max-accounts-per-balances-query
max-graphql-worker-pool-size enable-participant-filtering
ingestion-mode network start-ledger end-ledger latest-ledger-cursor-name oldest-ledger-cursor-name ledger-backend-type
datastore-config-path get-ledgers-limit archive-url checkpoint-frequency backfill-workers backfill-batch-size
backfill-db-insert-batch-size catchup-threshold ingest-server-port admin-port skip-tx-meta skip-tx-envelope chunk-interval
retention-period compression-schedule-interval compression-compress-after compression-max-chunks
db-max-conns db-min-conns db-max-conn-lifetime db-max-conn-idle-time datastore-bucket-path datastore-region datastore-endpoint-url
datastore-buffer-size datastore-num-workers datastore-retry-limit datastore-retry-wait datastore-ledgers-per-file
datastore-files-per-partition graphql-introspection-enabled
"""
COMMANDS_THERE = {
    *("migrate up", "migrate down", "channel-account ensure", "distribution-account kms import", "loadtest run"),
    *("integration-tests", "protocol-setup", "protocol-migrate"),
}
# Spec/ingestion.md 10, with those that its newest version added.
METRICS_THERE = """
ingestion_ledger_latest ingestion_ledger_oldest ingestion_duration_seconds ingestion_phase_duration_seconds ingestion_batch_size
ingestion_participants_count ingestion_state_change_processing_duration_seconds ingestion_state_changes_total
ingestion_ledgers_processed_total ingestion_transactions_processed_total ingestion_operations_processed_total active_accounts
rpc_service_health rpc_latest_ledger rpc_requests_total rpc_requests_duration_seconds rpc_endpoint_failures_total
rpc_endpoint_successes_total rpc_method_calls_total rpc_method_duration_seconds rpc_method_errors_total
http_requests_total http_request_duration_seconds db_queries_total db_query_duration_seconds db_query_errors_total
db_batch_operation_size db_transactions_total db_transaction_duration_seconds signature_verification_expired_total
graphql_fields_total graphql_field_duration_seconds graphql_complexity graphql_errors_total
pool_workers_running pool_tasks_waiting pool_tasks_submitted_total pool_tasks_successful_total pool_tasks_failed_total
pool_tasks_completed_total go_sql_*
ingestion_lag_ledgers ingestion_ledger_fetch_duration ingestion_retries ingestion_retry_exhaustions ingestion_errors
auth_expired_signatures_total
"""


def test_the_document_is_what_the_code_gives() -> None:
    written = Path(REPOSITORY / "docs/reference.md").read_text(encoding="utf-8")
    assert written == reference.document(), "settings, options or metrics changed: run make reference"


def test_every_command_and_its_options_are_there() -> None:
    text = reference.document()
    commands = getattr(typer.main.get_command(build()), "commands")  # noqa: B009 (a group, typed as a command)
    assert [name for name in commands if f"### lumenstream {name}" not in text] == []
    assert "| `--pause-retention` |" in text and "| `--kafka-bootstrap` | `kafka.bootstrap` |" in text


def test_every_setting_says_what_it_is_for() -> None:
    settings = list(leaves(Settings(), {}))
    assert len(settings) > 70
    assert [leaf.path for leaf in settings if not leaf.description] == []


def test_every_variable_outside_the_settings_is_there_and_read() -> None:
    """Names of settings have two underscores in a row; of what is left each that stands in the source is on the page."""
    sources = [path for path in tracked() if path.suffix == ".py" and path.relative_to(REPOSITORY).parts[0] in (*ROOMS, "tests")]
    outside = [path for path in sources if path != Path(reference.__file__) and path.parent.name not in ("unit", "integration")]
    texts = "".join(path.read_text(encoding="utf-8") for path in outside)
    read = set(re.findall(r'"(LUMENSTREAM_[A-Z]+(?:_[A-Z]+)*)"', texts))
    assert read == {name for name, _, _ in reference.VARIABLES}
    assert [name for name in read if f"\n| `{name}` |" not in reference.document()] == []


def test_every_metric_has_a_purpose_and_a_query_of_metrics_that_exist() -> None:
    found = list(reference.metric_list())
    defined = [value for value in vars(metrics).values() if isinstance(value, (Counter, Gauge, Histogram))]
    assert len(found) == len(defined) > 40
    assert max(Count(metric.name for metric in found).values()) == 1
    known = metric_names() | FOREIGN_METRICS
    assert {metric.name: unknown for metric in found if (unknown := names_in(metric.query) - known)} == {}
    assert [metric.name for metric in found if not metric.purpose or not metric.text or not names_in(metric.query)] == []


def test_every_option_and_metric_of_the_reference_is_named_once() -> None:
    options = Count(name for found in equivalents.OPTIONS for name in found.there.split(", "))
    there = Count(name for found in equivalents.METRICS for name in found.there.split(", "))
    wanted_options, wanted_metrics = set(OPTIONS_THERE.split()), set(METRICS_THERE.split())
    assert len(wanted_options) > 60 and len(wanted_metrics) > 45
    assert (wanted_options | COMMANDS_THERE) - set(options) == set()
    assert wanted_metrics - set(there) == set()
    assert {name for name, times in (options + there).items() if times > 1} == set()


def test_what_stands_for_the_reference_exists() -> None:
    paths = {leaf.path for leaf in leaves(Settings(), {})}
    commands = {f"lumenstream {name}" for name in getattr(typer.main.get_command(build()), "commands")}  # noqa: B009
    everything = [*equivalents.OPTIONS, *equivalents.METRICS]
    named = {name for found in everything for name in found.here}
    assert named - paths - commands - metric_names() - {metric.name for metric in reference.metric_list()} == set()
    without = [found for found in everything if not found.here]
    assert all(found.remark for found in without) and len(without) <= ONLY_UPSTREAM
