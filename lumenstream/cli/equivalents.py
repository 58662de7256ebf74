"""The options and metrics of stellar/wallet-backend (spec/ingestion.md 9, 10 and 12), each with what stands for it here.

Settings are named by path, metrics by their Prometheus name, commands as they are typed; a test checks that all of them exist.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Equivalent(NamedTuple):
    """`here` empty: there is none, and `remark` says why."""

    there: str
    here: tuple[str, ...]
    remark: str = ""


_NOT_SIGNED: Final = "nothing is signed or submitted here"

OPTIONS: Final = (
    Equivalent("database-url", ("database.url",)),
    Equivalent(
        "db-max-conns, db-min-conns", ("database.pool_max", "database.pool_min"), "the API's pool; other roles hold one or two"
    ),
    Equivalent("db-max-conn-lifetime, db-max-conn-idle-time", (), "constants: 30 minutes, 60 seconds"),
    Equivalent("log-level", ("log.level", "log.format")),
    Equivalent("network, network-passphrase", ("network.name", "network.passphrase")),
    Equivalent("rpc-url", ("producer.rpc_url",)),
    Equivalent("tracker-dsn", ("tracker.dsn",)),
    Equivalent("stellar-environment", ("tracker.environment",)),
    Equivalent("server-base-url", (), "no answer names the server's own address"),
    Equivalent("base-fee", (), _NOT_SIGNED),
    Equivalent("channel-account-encryption-passphrase, number-channel-accounts, channel-account ensure", (), _NOT_SIGNED),
    Equivalent("distribution-account-public-key, distribution-account-private-key", (), _NOT_SIGNED),
    Equivalent("distribution-account-signature-provider, distribution-account kms import", (), _NOT_SIGNED),
    Equivalent("kms-key-arn, aws-region", (), _NOT_SIGNED),
    Equivalent("ingestion-mode", ("lumenstream sink", "lumenstream backfill"), "a command each"),
    Equivalent("start-ledger, end-ledger", ("lumenstream backfill",), "--start, --end"),
    Equivalent("ledger-backend-type", ("producer.source",)),
    Equivalent("get-ledgers-limit", ("producer.rpc_page",)),
    Equivalent("datastore-config-path", ("lake.url",), "no file of its own: section lake, and the lake's .config.json"),
    Equivalent("datastore-bucket-path", ("lake.url", "lake.anonymous")),
    Equivalent("datastore-region", ("lake.region",)),
    Equivalent("datastore-endpoint-url", ("lake.endpoint",)),
    Equivalent("datastore-buffer-size", ("lake.prefetch_objects", "lake.prefetch_bytes")),
    Equivalent("datastore-num-workers", ("lake.readers",)),
    Equivalent("datastore-retry-limit", ("producer.source_attempts",)),
    Equivalent("datastore-retry-wait", ("producer.source_backoff_seconds", "producer.source_backoff_max_seconds")),
    Equivalent("datastore-ledgers-per-file", ("lake.ledgers_per_batch",), "of a lake without .config.json"),
    Equivalent("datastore-files-per-partition", ("lake.batches_per_partition",), "of a lake without .config.json"),
    Equivalent("archive-url", ("archive.url",)),
    Equivalent("checkpoint-frequency", ("archive.checkpoint_frequency",)),
    Equivalent("latest-ledger-cursor-name, oldest-ledger-cursor-name", (), "fixed names: a database belongs to one network"),
    Equivalent("backfill-workers", ("process.workers", "lumenstream backfill"), "--workers"),
    Equivalent("backfill-batch-size", ("kafka.backfill_range_size",), "a range is one transaction"),
    Equivalent("backfill-db-insert-batch-size", ("kafka.backfill_range_size",), "a range is one transaction"),
    Equivalent("catchup-threshold", ("sink.group_threshold", "sink.group_ledgers"), "groups of ledgers in one transaction"),
    Equivalent(
        "ingest-server-port",
        (
            *("producer.http_port", "process.http_port", "sink.http_port", "publisher.http_port"),
            *("maintenance.http_port", "enrich.http_port", "backfill.http_port"),
        ),
        "each role has its own",
    ),
    Equivalent("admin-port", (), "no profiler is served; py-spy attaches to a role"),
    Equivalent("skip-tx-meta, skip-tx-envelope", (), "columns are there and not filled"),
    Equivalent("enable-participant-filtering", (), "removed upstream too"),
    Equivalent("chunk-interval", ("maintenance.chunk_interval",)),
    Equivalent("retention-period", ("maintenance.retention_period",)),
    Equivalent("compression-schedule-interval", ("maintenance.compress_schedule",)),
    Equivalent("compression-compress-after", ("maintenance.compress_after",)),
    Equivalent("compression-max-chunks", ("maintenance.compress_max_chunks",)),
    Equivalent("port", ("api.port", "api.host")),
    Equivalent("graphql-complexity-limit", ("api.max_complexity", "api.max_depth", "api.max_tokens")),
    Equivalent("graphql-introspection-enabled", ("api.introspection",)),
    Equivalent("max-accounts-per-balances-query", ("api.max_balance_accounts",)),
    Equivalent("client-auth-public-keys", ("api.auth_public_keys",)),
    Equivalent("client-auth-max-timeout-seconds", ("api.auth_max_seconds",)),
    Equivalent("client-auth-max-body-size-bytes", ("api.max_body_bytes",)),
    Equivalent("max-graphql-worker-pool-size", ("api.max_requests",)),
    Equivalent("supported-assets, max-sponsored-base-reservers", (), "unused there"),
    Equivalent("migrate up, migrate down", ("lumenstream migrate",), "--to N goes both ways"),
    Equivalent("protocol-setup", (), "contract code is classified where it appears: in ledgers and in a bootstrap's checkpoint"),
    Equivalent("protocol-migrate", ("lumenstream replay",), "--processors sep41; of balances and allowances there is no replay"),
    Equivalent("loadtest run", ("lumenstream bench",)),
    Equivalent("integration-tests", (), "the tests of this repository bring servers and a network of their own"),
)

METRICS: Final = (
    Equivalent("ingestion_ledger_latest, ingestion_ledger_oldest", ("lumenstream_cursor_ledger", "lumenstream_oldest_ledger")),
    Equivalent(
        "ingestion_lag_ledgers",
        ("lumenstream_sink_lag_ledgers", "lumenstream_sink_lag_seconds", "lumenstream_source_lag_ledgers"),
        "behind the topic, the network, and the topic behind the source",
    ),
    Equivalent("ingestion_duration_seconds", ("lumenstream_latency_seconds", "lumenstream_backfill_range_seconds")),
    Equivalent(
        "ingestion_phase_duration_seconds",
        ("lumenstream_decode_seconds", "lumenstream_processor_seconds", "lumenstream_commit_seconds"),
        "stages are processes",
    ),
    Equivalent("ingestion_batch_size", ("lumenstream_sink_group_ledgers",)),
    Equivalent("ingestion_participants_count", ("lumenstream_committed_rows_total",), 'table="transactions_accounts"'),
    Equivalent("ingestion_state_change_processing_duration_seconds", ("lumenstream_processor_seconds",)),
    Equivalent("ingestion_state_changes_total", ("lumenstream_published_events_total", "lumenstream_committed_rows_total")),
    Equivalent(
        "ingestion_ledgers_processed_total", ("lumenstream_committed_ledgers_total", "lumenstream_backfill_ledgers_total")
    ),
    Equivalent(
        "ingestion_transactions_processed_total, ingestion_operations_processed_total",
        ("lumenstream_committed_rows_total",),
        "by table",
    ),
    Equivalent("ingestion_ledger_fetch_duration", ("lumenstream_source_fetch_seconds",)),
    Equivalent(
        "ingestion_retries, ingestion_retry_exhaustions, ingestion_errors",
        ("lumenstream_source_errors_total", "lumenstream_server_errors_total"),
        "by kind, by server; exhausted retries end the role",
    ),
    Equivalent("rpc_service_health", ("lumenstream_source_errors_total",), "and /health of the producer"),
    Equivalent("rpc_latest_ledger", ("lumenstream_source_tip_ledger",)),
    Equivalent(
        "rpc_requests_total, rpc_endpoint_successes_total, rpc_method_calls_total",
        ("lumenstream_source_fetch_seconds_count",),
        "one method gives ledgers",
    ),
    Equivalent("rpc_requests_duration_seconds, rpc_method_duration_seconds", ("lumenstream_source_fetch_seconds",)),
    Equivalent("rpc_endpoint_failures_total, rpc_method_errors_total", ("lumenstream_source_errors_total",), "by kind"),
    Equivalent("http_requests_total, http_request_duration_seconds", ("lumenstream_api_request_seconds",), "by path and status"),
    Equivalent("db_queries_total", ("lumenstream_api_queries_total",)),
    Equivalent("db_query_duration_seconds", ("lumenstream_api_query_seconds", "lumenstream_api_slow_queries_total")),
    Equivalent("db_query_errors_total", ("lumenstream_server_errors_total",), 'server="database"'),
    Equivalent("db_batch_operation_size", ("lumenstream_committed_rows_total", "lumenstream_backfill_rows_total"), "by table"),
    Equivalent("db_transactions_total, db_transaction_duration_seconds", ("lumenstream_commit_seconds",)),
    Equivalent(
        "signature_verification_expired_total, auth_expired_signatures_total",
        ("lumenstream_api_auth_expired_seconds", "lumenstream_api_auth_refusals_total"),
    ),
    Equivalent("graphql_errors_total", ("lumenstream_api_errors_total",)),
    Equivalent(
        "graphql_fields_total, graphql_field_duration_seconds", ("lumenstream_api_queries_total",), "what fields cost is queries"
    ),
    Equivalent("graphql_complexity", ("lumenstream_api_complexity",)),
    Equivalent("dataloader batch size and duration", ("lumenstream_api_query_seconds",), "a batch is one query"),
    Equivalent("pool_workers_running", ("lumenstream_assigned_partitions", "lumenstream_api_requests_under_way")),
    Equivalent(
        "pool_tasks_waiting, pool_tasks_submitted_total, pool_tasks_successful_total, pool_tasks_failed_total, "
        "pool_tasks_completed_total",
        ("lumenstream_sink_buffered_ledgers", "lumenstream_parts_sent_total", "lumenstream_processor_failures_total"),
        "a task is a processor's part of a ledger",
    ),
    Equivalent(
        "migration_...",
        ("lumenstream_backfill_ledgers_total", "lumenstream_backfill_range_seconds"),
        "a replay is a backfill job",
    ),
    Equivalent("go_sql_*", ("lumenstream_api_requests_under_way",), "pg_stat_activity by application_name tells the rest"),
    Equivalent("active_accounts", (), "there is no registration of accounts"),
)
