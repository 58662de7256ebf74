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


OPTIONS: Final = (
    Equivalent("database-url", ("database.url",)),
    Equivalent(
        "db-max-conns, db-min-conns", ("database.pool_max", "database.pool_min"), "the API's pool; other roles hold one or two"
    ),
    Equivalent("db-max-conn-lifetime, db-max-conn-idle-time", (), "constants: 30 minutes, 60 seconds"),
    Equivalent("log-level", ("log.level", "log.format")),
    Equivalent("network, network-passphrase", ("network.name", "network.passphrase")),
    Equivalent("rpc-url", ("producer.rpc_url",)),
    Equivalent("ingestion-mode", ("lumenstream sink", "lumenstream backfill"), "a command each"),
    Equivalent("start-ledger, end-ledger", ("lumenstream backfill",), "--start, --end"),
    Equivalent("ledger-backend-type", ("producer.source",)),
    Equivalent("get-ledgers-limit", ("producer.rpc_page",)),
    Equivalent("latest-ledger-cursor-name, oldest-ledger-cursor-name", (), "fixed names: a database belongs to one network"),
    Equivalent("backfill-workers", ("process.workers", "lumenstream backfill"), "--workers"),
    Equivalent("backfill-batch-size", ("kafka.backfill_range_size",), "a range is one transaction"),
    Equivalent("backfill-db-insert-batch-size", ("kafka.backfill_range_size",), "a range is one transaction"),
    Equivalent("catchup-threshold", ("sink.group_threshold", "sink.group_ledgers"), "groups of ledgers in one transaction"),
    Equivalent("ingest-server-port", ("producer.http_port", "process.http_port", "sink.http_port", "publisher.http_port")),
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
    Equivalent("loadtest run", ("lumenstream bench",)),
)

METRICS: Final = (
    Equivalent("ingestion_ledger_latest, ingestion_ledger_oldest", ("lumenstream_cursor_ledger", "lumenstream_oldest_ledger")),
    Equivalent("ingestion_lag_ledgers", ("lumenstream_sink_lag_ledgers", "lumenstream_sink_lag_seconds")),
    Equivalent("ingestion_duration_seconds", ("lumenstream_latency_seconds", "lumenstream_backfill_range_seconds")),
    Equivalent(
        "ingestion_phase_duration_seconds",
        ("lumenstream_decode_seconds", "lumenstream_processor_seconds", "lumenstream_commit_seconds"),
        "stages are processes",
    ),
    Equivalent(
        "ingestion_batch_size", ("lumenstream_committed_ledgers_total", "lumenstream_commit_seconds_count"), "the quotient"
    ),
    Equivalent("ingestion_participants_count", ("lumenstream_committed_rows_total",), 'table="transactions_accounts"'),
    Equivalent("ingestion_state_change_processing_duration_seconds", ("lumenstream_processor_seconds",)),
    Equivalent("ingestion_state_changes_total", ("lumenstream_published_events_total", "lumenstream_committed_rows_total")),
    Equivalent(
        "ingestion_ledgers_processed_total", ("lumenstream_committed_ledgers_total", "lumenstream_backfill_ledgers_total")
    ),
    Equivalent("ingestion_transactions_processed_total, ..._operations_...", ("lumenstream_committed_rows_total",), "by table"),
    Equivalent("ingestion_ledger_fetch_duration, retries, errors", ("lumenstream_source_errors_total",), "by kind"),
    Equivalent("rpc_service_health, rpc_latest_ledger", ("lumenstream_produced_ledger", "lumenstream_source_errors_total")),
    Equivalent(
        "rpc_requests_total, rpc_endpoint_..., rpc_method_...", ("lumenstream_source_errors_total",), "one method is called"
    ),
    Equivalent("http_requests_total, http_request_duration_seconds", ("lumenstream_api_request_seconds",), "by path and status"),
    Equivalent(
        "db_queries_total, db_query_duration_seconds", ("lumenstream_api_queries_total", "lumenstream_api_slow_queries_total")
    ),
    Equivalent("db_query_errors_total", ("lumenstream_server_errors_total",), 'server="database"'),
    Equivalent("db_batch_operation_size", ("lumenstream_committed_rows_total", "lumenstream_backfill_rows_total"), "by table"),
    Equivalent("db_transactions_total, db_transaction_duration_seconds", ("lumenstream_commit_seconds",)),
    Equivalent(
        "signature_verification_expired_total", ("lumenstream_api_auth_expired_seconds", "lumenstream_api_auth_refusals_total")
    ),
    Equivalent("graphql_errors_total", ("lumenstream_api_errors_total",)),
    Equivalent(
        "graphql_fields_total, graphql_field_duration_seconds", ("lumenstream_api_queries_total",), "what fields cost is queries"
    ),
    Equivalent("graphql_complexity", ("lumenstream_api_complexity",)),
    Equivalent("pool_workers_running, pool_tasks_...", ("lumenstream_assigned_partitions", "lumenstream_api_requests_under_way")),
    Equivalent("go_sql_*", ("lumenstream_api_requests_under_way",), "pg_stat_activity by application_name tells the rest"),
    Equivalent("active_accounts", (), "there is no registration of accounts"),
)
