"""Every metric of every role. Above each: what it is for, and a PromQL query that uses it.

The status panel and /health read the same registry, so all three tell the same truth.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

# Where the producer stands. Source stuck: max(changes(lumenstream_produced_ledger[1m])) == 0
PRODUCED_LEDGER: Final = Gauge("lumenstream_produced_ledger", "Highest ledger sequence delivered to topic ledgers")

# Seconds the source is behind the network: time() - max(lumenstream_produced_close_time_seconds)
PRODUCED_CLOSE_TIME: Final = Gauge("lumenstream_produced_close_time_seconds", "Close time of that ledger, Unix seconds")

# Production rate: rate(lumenstream_produced_ledgers_total[1m])
PRODUCED_LEDGERS: Final = Counter("lumenstream_produced_ledgers", "Ledgers delivered to Kafka")

# Bandwidth into Kafka: rate(lumenstream_produced_bytes_total[1m])
PRODUCED_BYTES: Final = Counter("lumenstream_produced_bytes", "Bytes of ledgers delivered to Kafka")

# Back-pressure at work: lumenstream_producer_queued_bytes > 1e8
PRODUCER_QUEUED_BYTES: Final = Gauge("lumenstream_producer_queued_bytes", "Bytes handed to the client and not yet delivered")

# A source that fails again and again: rate(lumenstream_source_errors_total[5m]) > 0
SOURCE_ERRORS: Final = Counter("lumenstream_source_errors", "Failed reads from the ledger source, by kind", ["kind"])

# Where the network stands, as the source saw it last: lumenstream_source_tip_ledger. 0 while the source does not know
SOURCE_TIP_LEDGER: Final = Gauge("lumenstream_source_tip_ledger", "Newest ledger that the source was seen to have")

# How far the topic is behind the source: lumenstream_source_lag_ledgers > 50. A topic ahead of a lagging source counts as 0
SOURCE_LAG_LEDGERS: Final = Gauge("lumenstream_source_lag_ledgers", "Ledgers that the source has and topic ledgers has not")

# A source that grows slow: histogram_quantile(0.99, sum by (le) (rate(lumenstream_source_fetch_seconds_bucket[5m])))
SOURCE_FETCH_SECONDS: Final = Histogram(
    "lumenstream_source_fetch_seconds",
    "Time of one answered read of ledgers: a page of getLedgers, an object of a lake, a ledger of a file",
    buckets=_SECONDS,
)

# Memory of a lake's read-ahead: lumenstream_source_prefetched_bytes
SOURCE_PREFETCHED_BYTES: Final = Gauge("lumenstream_source_prefetched_bytes", "Compressed bytes of a data lake read ahead")

# Which decoder serves: lumenstream_decoder_info{decoder="native"}
DECODER_INFO: Final = Gauge("lumenstream_decoder_info", "1 for the ledger decoder in use", ["decoder"])

# Decode cost: histogram_quantile(0.99, rate(lumenstream_decode_seconds_bucket[5m]))
DECODE_SECONDS: Final = Histogram("lumenstream_decode_seconds", "Time to decode one ledger", buckets=_SECONDS)

# The slowest processor: topk(1, rate(lumenstream_processor_seconds_sum[5m]))
PROCESSOR_SECONDS: Final = Histogram(
    "lumenstream_processor_seconds", "Time of one processor on one ledger", ["processor"], buckets=_SECONDS
)

# Parts per second: sum by (processor) (rate(lumenstream_parts_sent_total[1m]))
PARTS_SENT: Final = Counter(
    "lumenstream_parts_sent", "Parts delivered to ledger-changes or ledger-changes.backfill", ["processor"]
)

# Size of what goes through Kafka: rate(lumenstream_part_bytes_total[5m]) / rate(lumenstream_parts_sent_total[5m])
PART_BYTES: Final = Counter("lumenstream_part_bytes", "Bytes of parts delivered", ["processor"])

# A worker tells 0 for each of its processors from its start on, so that a first failure is a rise. Must stay 0; a rise means a
# ledger waits for a fix: increase(lumenstream_processor_failures_total[1h]) > 0
PROCESSOR_FAILURES: Final = Counter("lumenstream_processor_failures", "Ledgers a processor could not process", ["processor"])

# Highest ledger a worker has seen: max(lumenstream_processed_ledger)
PROCESSED_LEDGER: Final = Gauge("lumenstream_processed_ledger", "Highest ledger sequence processed by this worker")

# Seconds the workers are behind the network: time() - max(lumenstream_processed_close_time_seconds)
PROCESSED_CLOSE_TIME: Final = Gauge("lumenstream_processed_close_time_seconds", "Close time of that ledger, Unix seconds")

# What a process reads, topics without their prefix: lumenstream_assigned_partitions{topic="ledgers"}
ASSIGNED_PARTITIONS: Final = Gauge("lumenstream_assigned_partitions", "Partitions this process reads", ["topic"])

# Consumer lag of the workers, each telling of its own partitions: sum(lumenstream_worker_lag_messages{topic="ledgers"})
WORKER_LAG_MESSAGES: Final = Gauge(
    "lumenstream_worker_lag_messages", "Messages on a worker's partitions that it has not processed", ["topic"]
)

# Workers that stood still and started anew, which mends it; should be rare: increase(lumenstream_worker_restarts_total[1h]) > 0
WORKER_RESTARTS: Final = Counter("lumenstream_worker_restarts", "Fresh starts of a worker that read nothing although it could")

# Retention of the broker has passed a worker: increase(lumenstream_lost_messages_total[1h]) > 0
LOST_MESSAGES: Final = Counter("lumenstream_lost_messages", "Ledgers that the broker deleted before a worker read them")

# Ledgers behind: max(lumenstream_produced_ledger) - max(lumenstream_cursor_ledger)
CURSOR_LEDGER: Final = Gauge("lumenstream_cursor_ledger", "Highest ledger committed to the database")

# Seconds behind the network: time() - max(lumenstream_cursor_close_time_seconds)
CURSOR_CLOSE_TIME: Final = Gauge("lumenstream_cursor_close_time_seconds", "Close time of the cursor's ledger, Unix seconds")

# Throughput: rate(lumenstream_committed_ledgers_total[1m])
COMMITTED_LEDGERS: Final = Counter("lumenstream_committed_ledgers", "Ledgers committed to the database")

# Rows per second by table: sum by (table) (rate(lumenstream_committed_rows_total[1m]))
COMMITTED_ROWS: Final = Counter("lumenstream_committed_rows", "Rows written", ["table"])

# Commit latency: histogram_quantile(0.99, rate(lumenstream_commit_seconds_bucket[5m]))
COMMIT_SECONDS: Final = Histogram("lumenstream_commit_seconds", "Time of one sink transaction", buckets=_SECONDS)

# From whole on Kafka to visible: histogram_quantile(0.99, rate(lumenstream_latency_seconds_bucket[5m])). Since the close of the
# ledger it is lumenstream_sink_lag_seconds
LATENCY_SECONDS: Final = Histogram(
    "lumenstream_latency_seconds", "From a ledger's last part on topic ledger-changes to its commit", buckets=_SECONDS
)

# Ledgers behind the topic, told by the writer itself: max(lumenstream_sink_lag_ledgers)
SINK_LAG_LEDGERS: Final = Gauge("lumenstream_sink_lag_ledgers", "Ledgers on topic ledgers that are not committed")

# Seconds behind the network: max(lumenstream_sink_lag_seconds). On history or a sandbox it is the age of the close times.
SINK_LAG_SECONDS: Final = Gauge("lumenstream_sink_lag_seconds", "Age of the close time of the cursor's ledger")

# Catching up: max(lumenstream_sink_catching_up) == 1
SINK_CATCHING_UP: Final = Gauge("lumenstream_sink_catching_up", "1 while ledgers are committed in groups")

# Ledgers a transaction: rate(lumenstream_sink_group_ledgers_sum[5m]) / rate(lumenstream_sink_group_ledgers_count[5m])
SINK_GROUP_LEDGERS: Final = Histogram(
    "lumenstream_sink_group_ledgers", "Ledgers in one transaction", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
)

# Groups that held a ledger the database refuses; the sink stops there: increase(lumenstream_sink_split_groups_total[1h]) > 0
SINK_SPLIT_GROUPS: Final = Counter("lumenstream_sink_split_groups", "Refused groups that were committed ledger by ledger instead")

# Who is the writer: lumenstream_sink_is_leader == 1
SINK_IS_LEADER: Final = Gauge("lumenstream_sink_is_leader", "1 while this sink holds the writer's lock")

# Memory in the reorder window: lumenstream_sink_buffered_bytes
SINK_BUFFERED_LEDGERS: Final = Gauge("lumenstream_sink_buffered_ledgers", "Ledgers waiting in the reorder window")
SINK_BUFFERED_BYTES: Final = Gauge("lumenstream_sink_buffered_bytes", "Bytes of parts waiting in the reorder window")
SINK_PAUSED_PARTITIONS: Final = Gauge("lumenstream_sink_paused_partitions", "Partitions paused because they run ahead")

# The sink waits for a part: lumenstream_sink_waiting_seconds > 30
SINK_WAITING_SECONDS: Final = Gauge("lumenstream_sink_waiting_seconds", "How long the next ledger has been waiting for its parts")

# What it waits for: lumenstream_sink_missing_part == 1
SINK_MISSING_PART: Final = Gauge("lumenstream_sink_missing_part", "1 for a part the next ledger lacks", ["processor"])

# Repeats dropped, harmless: rate(lumenstream_sink_duplicate_parts_total[5m])
SINK_DUPLICATE_PARTS: Final = Counter("lumenstream_sink_duplicate_parts", "Parts that came twice or late and were dropped")

# Progress of backfills: sum(rate(lumenstream_backfill_ledgers_total[1m]))
BACKFILL_LEDGERS: Final = Counter("lumenstream_backfill_ledgers", "Ledgers that backfill sinks wrote")

# Rows a second by table: sum by (table) (rate(lumenstream_backfill_rows_total[1m]))
BACKFILL_ROWS: Final = Counter("lumenstream_backfill_rows", "Rows that backfill sinks wrote", ["table"])

# A range's transaction: rate(lumenstream_backfill_range_seconds_sum[5m]) / rate(lumenstream_backfill_range_seconds_count[5m])
BACKFILL_RANGE_SECONDS: Final = Histogram(
    "lumenstream_backfill_range_seconds", "Time of one range's transaction", buckets=(*_SECONDS, 60.0, 120.0)
)

# Ranges that one backfill sink gave up, which is gone with its job: lumenstream_backfill_failed_ranges_total
BACKFILL_FAILED_RANGES: Final = Counter("lumenstream_backfill_failed_ranges", "Ranges that a backfill sink gave up")

# Parts that nobody waits for (repeats, superseded jobs), harmless: rate(lumenstream_backfill_dropped_parts_total[5m])
BACKFILL_DROPPED_PARTS: Final = Counter("lumenstream_backfill_dropped_parts", "Parts of ranges that are not open")

# Memory in unfinished ranges: lumenstream_backfill_buffered_bytes
BACKFILL_BUFFERED_BYTES: Final = Gauge("lumenstream_backfill_buffered_bytes", "Bytes of parts whose range is not whole yet")

# Where history begins: max(lumenstream_oldest_ledger)
OLDEST_LEDGER: Final = Gauge("lumenstream_oldest_ledger", "Lowest ledger whose history is there")

# Holes to fill by a backfill: max(lumenstream_missing_ledgers) > 0
MISSING_LEDGERS: Final = Gauge("lumenstream_missing_ledgers", "Ledgers that are missing between the oldest one and the cursor")

# Told by the maintenance role, which outlives jobs. Ranges that need a look and another run: max(lumenstream_failed_ranges) > 0
FAILED_RANGES: Final = Gauge("lumenstream_failed_ranges", "Ranges of backfills and replays that failed, not written since")

# How fast history goes: rate(lumenstream_retention_dropped_ledgers_total[1h])
RETENTION_DROPPED_LEDGERS: Final = Counter("lumenstream_retention_dropped_ledgers", "Ledgers that retention dropped")

# The disk fills while this is 1: max(lumenstream_retention_held) == 1
RETENTION_HELD: Final = Gauge("lumenstream_retention_held", "1 while something holds back history that is due to be dropped")

# A run of the maintenance role: rate(lumenstream_maintenance_seconds_sum[1h]) / rate(lumenstream_maintenance_seconds_count[1h])
MAINTENANCE_SECONDS: Final = Histogram(
    "lumenstream_maintenance_seconds", "Time of one run of the maintenance role", buckets=(*_SECONDS, 60.0, 300.0)
)

# Nobody maintains: time() - max(lumenstream_maintenance_last_run_seconds) > 900
MAINTENANCE_LAST_RUN: Final = Gauge("lumenstream_maintenance_last_run_seconds", "When the last run succeeded, Unix seconds")

# Servers that went away: increase(lumenstream_server_errors_total[5m])
SERVER_ERRORS: Final = Counter("lumenstream_server_errors", "Failed calls to a server that are retried", ["server"])

# Tokens that wait for lumenstream enrich, or whose contract does not tell: lumenstream_tokens_without_metadata
TOKENS_WITHOUT_METADATA: Final = Gauge("lumenstream_tokens_without_metadata", "Tokens without name and symbol")

# What enrichment finds: sum by (outcome) (increase(lumenstream_enriched_tokens_total[1d]))
ENRICHED_TOKENS: Final = Counter("lumenstream_enriched_tokens", "Tokens asked for metadata: filled, refused", ["outcome"])

# Publisher lag in ledgers: max(lumenstream_cursor_ledger) - max(lumenstream_published_ledger)
PUBLISHED_LEDGER: Final = Gauge("lumenstream_published_ledger", "Highest ledger whose state changes were published")

# Events per second: sum by (category) (rate(lumenstream_published_events_total[1m]))
PUBLISHED_EVENTS: Final = Counter("lumenstream_published_events", "State changes delivered to Kafka", ["category"])

# API latency: histogram_quantile(0.99, sum by (le) (rate(lumenstream_api_request_seconds_bucket[5m])))
API_REQUEST_SECONDS: Final = Histogram(
    "lumenstream_api_request_seconds", "Time of one HTTP request", ["path", "status"], buckets=_SECONDS
)

# Error rate by code: sum by (code) (rate(lumenstream_api_errors_total[5m]))
API_ERRORS: Final = Counter("lumenstream_api_errors", "GraphQL errors by code", ["code"])

# Clients that may not ask, by reason; a clock that is wrong shows as expired: rate(lumenstream_api_auth_refusals_total[5m])
API_AUTH_REFUSALS: Final = Counter("lumenstream_api_auth_refusals", "Requests without a valid token, by reason", ["reason"])

# Clocks that run apart: histogram_quantile(0.9, rate(lumenstream_api_auth_expired_seconds_bucket[1h]))
API_AUTH_EXPIRED_SECONDS: Final = Histogram(
    "lumenstream_api_auth_expired_seconds", "How long ago a refused token had expired", buckets=(1, 5, 15, 60, 300, 3600, 86400)
)

# Requests refused to protect the server: sum by (reason) (rate(lumenstream_api_refusals_total[5m]))
API_REFUSALS: Final = Counter("lumenstream_api_refusals", "Requests over a rate limit, or beyond api.max_requests", ["reason"])

# How full the server is: max(lumenstream_api_requests_under_way)
API_REQUESTS_UNDER_WAY: Final = Gauge("lumenstream_api_requests_under_way", "GraphQL requests being answered")

# Clients that follow: sum(lumenstream_api_connections)
API_CONNECTIONS: Final = Gauge("lumenstream_api_connections", "Open WebSocket connections")

# Subscriptions under way: sum(lumenstream_api_subscriptions)
API_SUBSCRIPTIONS: Final = Gauge("lumenstream_api_subscriptions", "Subscriptions that run, over WebSocket and as events")

# Events to subscribers: sum(rate(lumenstream_api_events_total[1m]))
API_EVENTS: Final = Counter("lumenstream_api_events", "Answers handed to subscriptions")

# A feed that hears nothing: max(lumenstream_cursor_ledger) - min(lumenstream_api_feed_ledger)
API_FEED_LEDGER: Final = Gauge("lumenstream_api_feed_ledger", "Newest ledger that this process woke its subscriptions for")

# Queries that should be looked at: sum by (query) (rate(lumenstream_api_slow_queries_total[1h]))
API_SLOW_QUERIES: Final = Counter("lumenstream_api_slow_queries", "Database queries over api.slow_query_seconds", ["query"])

# Share of queries that a compiled plan answers: sum(rate(lumenstream_api_executions_total{by="planned"}[5m])) /
# sum(rate(lumenstream_api_executions_total[5m])). What is walked is new, or of a kind that plans leave to graphql-core.
API_EXECUTIONS: Final = Counter("lumenstream_api_executions", "Executions of documents that were valid before", ["by"])

# How costly operations are, refused ones too: histogram_quantile(0.99, sum by (le) (rate(lumenstream_api_complexity_bucket[1h])))
API_COMPLEXITY: Final = Histogram(
    "lumenstream_api_complexity",
    "Complexity of operations when they are weighed: a compiled plan once for each size of its pages",
    buckets=(10, 50, 100, 500, 1_000, 2_500, 5_000, 10_000),
)

# Queries against the database: rate(lumenstream_api_queries_total[1m])
API_QUERIES: Final = Counter("lumenstream_api_queries", "Database queries by name", ["query"])

# Where the API's time goes: rate(lumenstream_api_query_seconds_sum[5m]) / rate(lumenstream_api_query_seconds_count[5m]).
# What one of these queries costs is counted by lumenstream_api_slow_queries_total and logged.
API_QUERY_SECONDS: Final = Histogram(
    "lumenstream_api_query_seconds", "Time of one database query of the API, with the wait for a connection", buckets=_SECONDS
)
