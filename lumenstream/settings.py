"""Every setting of every role, in one tree.

Order of precedence: command-line flag, environment (`LUMENSTREAM_` + path joined by two underscores, for example
`LUMENSTREAM_KAFKA__BOOTSTRAP`), file `.env`, default. `lumenstream config` prints what is in force, secrets masked.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from lumenstream.errors import ConfigurationError
from schemas import strkey

PASSPHRASES: Final = {
    "pubnet": "Public Global Stellar Network ; September 2015",
    "testnet": "Test SDF Network ; September 2015",
    "sandbox": "Lumenstream Sandbox Network",
}
_PERCENT_ENCODED: Final = "in a URL the characters % @ / ? # : of a password are percent-encoded"


# A length of time as PostgreSQL reads it; no months, whose length depends on when they begin.
Duration = Annotated[str, Field(pattern=r"^(\d{1,6} (minute|hour|day|week)s?)?$")]


def seconds_of(duration: str) -> int:
    """A Duration in seconds, 0 for an empty one."""
    if not duration:
        return 0
    count, unit = duration.split()
    return int(timedelta(**{f"{unit.removesuffix('s')}s": int(count)}).total_seconds())


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _split(value: Any) -> Any:
    """`a, b` as the environment gives it, as a tuple."""
    return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value


class NetworkSettings(_Section):
    name: str = Field("sandbox", description="pubnet, testnet, sandbox, or any name together with a passphrase")
    passphrase: str = Field("", description="network passphrase; empty: the known one of that name")

    def resolved_passphrase(self) -> str:
        """The passphrase in force. ConfigurationError for an unknown name without one."""
        if self.passphrase:
            return self.passphrase
        if self.name in PASSPHRASES:
            return PASSPHRASES[self.name]
        raise ConfigurationError(
            f"network {self.name!r} has no known passphrase", hint="set --network-passphrase or LUMENSTREAM_NETWORK__PASSPHRASE"
        )

    def network_id(self) -> bytes:
        """SHA-256 of the passphrase."""
        return hashlib.sha256(self.resolved_passphrase().encode()).digest()


class KafkaSettings(_Section):
    bootstrap: str = Field("127.0.0.1:9092", description="bootstrap servers, host:port, comma separated")
    topic_prefix: str = Field("", description="put in front of every topic and consumer group", max_length=100)
    partitions: int = Field(12, ge=1, le=1000, description="partitions of the ledger and parts topics")
    replication: int = Field(1, ge=1, le=9, description="copies of every topic; 3 in production")
    range_size: int = Field(1, ge=1, le=4096, description="ledgers that share a partition in a row on the live topics")
    backfill_range_size: int = Field(
        64, ge=1, le=4096, description="ledgers of one range, which is one transaction of a backfill"
    )
    max_message_bytes: int = Field(32 << 20, ge=1 << 20, le=1 << 30, description="of the topics: the largest ledger or part")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"
    )
    sasl_mechanism: Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "", description="PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; empty: no SASL"
    )
    sasl_username: str = Field("", description="SASL user")
    sasl_password: SecretStr = Field(SecretStr(""), description="SASL password")
    ssl_ca_location: str = Field("", description="file of the certificates that are believed; empty: the system's")
    request_timeout_seconds: float = Field(10.0, gt=0, le=300, description="of one request to the broker")
    session_timeout_seconds: float = Field(6.0, ge=1, le=300, description="a dead worker's partitions move after this long")
    retention_hours: int = Field(168, ge=1, description="of the ledger and parts topics, counted from arrival")

    def topic(self, name: str) -> str:
        """The full name of a topic."""
        return self.topic_prefix + name


def _check_database_url(text: str) -> None:
    """ValueError for what libpq cannot read, or reads otherwise than it was meant. Its text never repeats the value.

    A raw @ or / in a password would move the rest of it into the host, the port or the database name, which errors do show.
    """
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        parts = conninfo_to_dict(text)
    except ProgrammingError:
        raise ValueError(f"not a libpq connection string; {_PERCENT_ENCODED}") from None
    if not all(port.isdecimal() or not port for port in str(parts.get("port") or "").split(",")):
        raise ValueError(f"the port is not a number; {_PERCENT_ENCODED}")
    if text.startswith(("postgresql://", "postgres://")):
        rest = text.partition("://")[2]
        authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
        elsewhere = rest.partition("?")[0].removeprefix(authority)
        unseen = "user" in parts and "@" not in authority and "user=" not in rest
        if authority.count("@") > 1 or "@" in elsewhere or unseen:
            raise ValueError(f"user or password are not told apart from the rest; {_PERCENT_ENCODED}")


class DatabaseSettings(_Section):
    url: SecretStr = Field(SecretStr("postgresql://postgres@127.0.0.1:5432/lumenstream"), description="libpq connection string")
    pool_min: int = Field(1, ge=0, le=100, description="connections that an API process keeps open")
    pool_max: int = Field(10, ge=1, le=200, description="connections of an API process at most")
    connect_timeout_seconds: int = Field(5, ge=1, le=120, description="until a connection stands")
    statement_timeout_seconds: int = Field(60, ge=1, le=3600, description="of one statement")
    prepared_statements: bool = Field(True, description="of the API; false behind a pooler that does not know them")

    @field_validator("url")
    @classmethod
    def _well_formed(cls, value: SecretStr) -> SecretStr:
        _check_database_url(value.get_secret_value())
        return value


class ProducerSettings(_Section):
    source: Literal["files", "lake", "rpc", "sandbox"] = Field("sandbox", description="where ledgers come from")
    path: Path | None = Field(None, description="files: a ledger file or a folder of them, any known format")
    rpc_url: str = Field("", description="rpc: URL of a Stellar RPC server")
    from_ledger: int | None = Field(None, ge=1, description="start here whatever the topic and the database say")
    begin: Literal["oldest", "newest"] = Field(
        "oldest", description="the source's ledger that a stream begins with when neither topic nor database know where to go on"
    )
    poll_seconds: float = Field(1.0, gt=0, le=60, description="rpc, lake: pause between two looks for the next ledger")
    source_attempts: int = Field(10, ge=1, le=100, description="rpc, lake: failures in a row that end the program")
    source_backoff_seconds: float = Field(1.0, gt=0, le=60, description="pause after the first failure; it doubles")
    source_backoff_max_seconds: float = Field(30.0, gt=0, le=600, description="longest pause between two tries")
    rpc_page: int = Field(10, ge=1, le=200, description="ledgers asked for in one getLedgers call")
    max_queued_bytes: int = Field(256 << 20, ge=1 << 20, description="back-pressure: bytes waiting for delivery")
    max_ahead_ledgers: int = Field(0, ge=0, description="stop this many ledgers past the database cursor; 0: no limit")
    use_database: bool = Field(True, description="false: a producer of topics alone, which never asks for the database cursor")
    http_port: int = Field(8011, ge=0, le=65535, description="/health, /ready, /metrics; 0: a free port")


class LakeSettings(_Section):
    """Source `lake`. Credentials come from the environment of the provider's own tools: AWS_*, GOOGLE_*, AZURE_*."""

    url: str = Field("", description="s3://, gs://, az://, file:// or a folder; empty: the public lake of pubnet or testnet")
    region: str = Field("", description="of an S3 bucket")
    endpoint: str = Field("", description="URL of a server that speaks the provider's protocol in its stead")
    anonymous: bool = Field(False, description="read without credentials")
    ledgers_per_batch: int = Field(0, ge=0, le=1_000_000, description="of a lake without .config.json: ledgers an object")
    batches_per_partition: int = Field(0, ge=0, le=1_000_000, description="of a lake without .config.json: objects a folder")
    readers: int = Field(8, ge=1, le=64, description="objects read at the same time")
    prefetch_objects: int = Field(32, ge=1, le=1000, description="objects read ahead, at most")
    prefetch_bytes: int = Field(64 << 20, ge=1 << 20, description="compressed bytes read ahead, about")
    timeout_seconds: float = Field(30.0, gt=0, le=600, description="of one read")

    @field_validator("url", "endpoint")
    @classmethod
    def _without_credentials(cls, value: str) -> str:
        """Such a URL would be shown in messages."""
        parts = urlsplit(value)
        if "://" in value and parts.scheme != "file" and ("@" in parts.netloc or parts.query):
            raise ValueError("a lake's URL has no user, password or query: credentials come from the environment")
        return value


class ProcessSettings(_Section):
    processors: Annotated[tuple[str, ...], NoDecode] = Field((), description="names, comma separated; empty: all")
    workers: int = Field(1, ge=1, le=64, description="worker processes of one command")
    from_ledger: int | None = Field(None, ge=1, description="where a new consumer group starts; none: at the oldest ledger kept")
    backfill: bool = Field(False, description="process ledgers.backfill instead of the live topics")
    stall_seconds: float = Field(30.0, ge=1, description="a worker idle for so long with messages to read starts anew")
    http_port: int = Field(8020, ge=0, le=65535, description="first port; worker n listens on this + n")

    @field_validator("processors", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return _split(value)


class SinkSettings(_Section):
    reorder_window_ledgers: int = Field(64, ge=1, le=10_000, description="past it partitions that run ahead are paused")
    reorder_window_bytes: int = Field(256 << 20, ge=1 << 20, description="the same in bytes of parts")
    group_threshold: int = Field(
        16, ge=0, description="behind by more ledgers (waiting whole, or produced and not committed) they are committed in groups"
    )
    group_ledgers: int = Field(16, ge=1, le=1000, description="most ledgers in one transaction while catching up; 1: never group")
    group_rows: int = Field(200_000, ge=1, description="a group that has so many history rows takes no further ledger")
    group_bytes: int = Field(64 << 20, ge=1, description="most bytes of parts in a group; one ledger always goes")
    group_wait_seconds: float = Field(0.5, ge=0, le=10, description="how long a group waits for ledgers that are on their way")
    missing_part_seconds: float = Field(30.0, gt=0, description="a ledger that waits longer for a part is reported")
    standby_poll_seconds: float = Field(1.0, gt=0, le=60, description="how often a standby asks for the writer's lock")
    http_port: int = Field(8013, ge=0, le=65535, description="/health, /ready, /metrics; 0: a free port")


class BackfillSettings(_Section):
    max_open_ranges: int = Field(6, ge=1, le=10_000, description="back-pressure: ranges sent and not yet committed")
    stall_seconds: float = Field(
        300.0, gt=0, description="ranges that are open when nothing was committed for so long have failed"
    )
    from_topics: bool = Field(
        True, description="take raw ledgers from the topics that still hold them; else from the source only"
    )
    keep_days: int = Field(30, ge=0, description="how long ranges that ended stay in table backfill_ranges")
    http_port: int = Field(8015, ge=0, le=65535, description="of a backfill sink")


class MaintenanceSettings(_Section):
    chunk_interval: Duration = Field("1 day", min_length=1, description="of new chunks of the history tables (TimescaleDB)")
    retention_period: Duration = Field("", description="history that closed longer ago is dropped; empty: all is kept")
    compress_after: Duration = Field("7 days", description="age at which chunks are compressed (community edition); empty: never")
    compress_schedule: Duration = Field("12 hours", min_length=1, description="how often the compression job runs")
    compress_max_chunks: int = Field(0, ge=0, le=10_000, description="chunks that one run compresses; 0: all that are due")
    every_seconds: float = Field(60.0, ge=1, le=86_400, description="pause between two runs of `lumenstream maintain`")
    delete_ledgers: int = Field(64, ge=1, le=10_000, description="ledgers dropped in one transaction (plain PostgreSQL)")
    http_port: int = Field(8016, ge=0, le=65535, description="/health, /ready, /metrics; 0: a free port")


class StatusSettings(_Section):
    targets: str = Field(
        "",
        description="where the roles are, as role=http://host:port, comma separated; a host with several addresses is several "
        "roles; empty: the ports of these settings on this machine",
    )
    page: bool = Field(True, description="whether the API serves /status and /status.json")
    gap_seconds: float = Field(60.0, ge=0, le=86_400, description="how long a count of missing ledgers is believed")


class ArchiveSettings(_Section):
    url: str = Field("", description="history archive: a folder, file://, http://, https://, s3://, gs:// or az://; empty: none")
    region: str = Field("", description="of the bucket, where the provider wants it")
    endpoint: str = Field("", description="URL of a server that speaks the provider's protocol in its stead")
    anonymous: bool = Field(False, description="read a bucket without credentials")
    timeout_seconds: float = Field(60.0, gt=0, le=600, description="of one read")
    checkpoint_frequency: int = Field(64, ge=2, le=1 << 20, description="ledgers from one checkpoint of the network to the next")


class EnrichSettings(_Section):
    batch_contracts: int = Field(20, ge=1, le=1000, description="contracts asked before a pause")
    concurrency: int = Field(10, ge=1, le=64, description="contracts asked at the same time")
    pause_seconds: float = Field(2.0, ge=0, le=600, description="between two batches, to spare the RPC server")
    poll_seconds: float = Field(60.0, gt=0, le=86_400, description="with --watch, between two looks for new tokens")
    again_hours: float = Field(24.0, ge=0, description="a token that did not tell is asked again after this long")
    http_port: int = Field(8017, ge=0, le=65535, description="of /health and /metrics, with --watch")


class PublisherSettings(_Section):
    poll_seconds: float = Field(1.0, gt=0, le=60, description="how often the database is asked when no NOTIFY comes")
    batch_ledgers: int = Field(16, ge=1, le=1000, description="ledgers read, and delivered, together")
    http_port: int = Field(8014, ge=0, le=65535, description="/health, /ready, /metrics; 0: a free port")


class ApiSettings(_Section):
    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 in a container")
    port: int = Field(8001, ge=0, le=65535, description="GraphQL, /health, /ready, /metrics, /status; 0: a free port")
    page_default: int = Field(50, ge=1, le=1000, description="items of a page that asks for no number")
    page_max: int = Field(100, ge=1, le=1000, description="items of a page at most")
    max_body_bytes: int = Field(100 << 10, ge=1 << 10, description="of a request; more gets 413")
    max_depth: int = Field(15, ge=1, le=100, description="nesting of an operation")
    max_complexity: int = Field(10_000, ge=1, description="what one operation may cost: fields, times the rows of pages")
    max_tokens: int = Field(5_000, ge=100, description="tokens of an operation's text")
    max_balance_accounts: int = Field(20, ge=1, le=1000, description="accounts of one balances query")
    introspection: bool = Field(True, description="whether the schema may be asked for")
    request_timeout_seconds: float = Field(30.0, gt=0, le=600, description="of one request, and of the drain at the end")
    query_page: bool = Field(True, description="whether / shows the explorer, and /graphql/query the query page")
    plans: bool = Field(True, description="compile queries that come again; false: graphql-core walks every document")
    auth_public_keys: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="accounts (G..., comma separated) whose signed requests are answered; empty: no authentication"
    )
    auth_max_seconds: float = Field(15.0, gt=0, le=3600, description="longest life of a request's token")
    rate_limit: str = Field("", description="per key or address and process, for example 50/second;2000/minute; empty: none")
    max_requests: int = Field(512, ge=1, le=100_000, description="GraphQL requests under way; more get 503")
    max_connections: int = Field(4_096, ge=1, le=1_000_000, description="open connections of a process; more get 503")
    max_subscriptions: int = Field(5_000, ge=1, le=1_000_000, description="subscriptions of a process")
    max_subscriptions_per_connection: int = Field(50, ge=1, le=10_000, description="subscriptions of one connection")
    trusted_proxies: str = Field("127.0.0.1", description="addresses whose X-Forwarded-For is believed, comma separated")
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="origins (comma separated, or *) whose pages may ask; empty: none"
    )
    persisted_file: Path | None = Field(None, description="JSON object from SHA-256 to query text, known from the start")
    persisted_only: bool = Field(False, description="answer the queries of persisted_file and no others")
    traces_endpoint: str = Field("", description="OTLP over HTTP: URL of a collector that gets traces (extra otel); empty: none")
    traces_ratio: float = Field(0.05, ge=0, le=1, description="of requests that are traced when their caller does not say")
    slow_query_seconds: float = Field(1.0, gt=0, description="database queries that take longer are logged")

    @field_validator("auth_public_keys", "cors_origins", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return _split(value)

    @field_validator("auth_public_keys")
    @classmethod
    def _accounts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for account in value:
            if not strkey.is_account(account):
                raise ValueError(f"not a Stellar public key (G...): {account[:72]!r}")
        return value

    @field_validator("rate_limit")
    @classmethod
    def _limits(cls, value: str) -> str:
        from limits import parse_many

        if value:
            parse_many(value)
        return value


class ClientSettings(_Section):
    url: str = Field("http://127.0.0.1:8001", description="the API that `lumenstream query` asks")
    secret: SecretStr = Field(SecretStr(""), description="secret key (S...) that signs its requests; empty: unsigned")
    timeout_seconds: float = Field(30.0, gt=0, le=600, description="for one answer, and for a connection")


class TrackerSettings(_Section):
    dsn: SecretStr = Field(SecretStr(""), description="Sentry's address for reports of defects (extra sentry); empty: none")
    environment: str = Field("", description="production, staging, ...: shown with each report")


class SandboxSettings(_Section):
    seed: int = Field(1, ge=0, description="chooses keys and traffic")
    close_seconds: float = Field(1.0, gt=0, le=60, description="pace of the network")
    transactions_per_ledger: int = Field(20, ge=0, le=1000, description="transactions in every ledger")
    max_ledgers: int = Field(0, ge=0, description="stop after this many; 0: never")


class HttpSettings(_Section):
    host: str = Field("127.0.0.1", description="where roles serve /health, /ready and /metrics; 0.0.0.0 in a container")


class BenchSettings(_Section):
    ledgers: int = Field(0, ge=0, le=100_000, description="ledgers in a benchmark of the pipeline; 0: its own default")
    workers: int = Field(1, ge=1, le=64, description="worker processes of a benchmark of the pipeline")
    depth: int = Field(0, ge=0, le=1_000_000_000, description="rows in each history table before bench ingest or backfill begins")


class LogSettings(_Section):
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level: debug, info, warning, error")
    format: Literal["console", "json"] = Field("console", description="console for eyes, json for machines")


class Settings(BaseSettings):
    """The whole tree. Build it with `load_settings`, which turns mistakes into one clear line."""

    model_config = SettingsConfigDict(
        env_prefix="LUMENSTREAM_",
        env_nested_delimiter="__",
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    network: NetworkSettings = NetworkSettings()
    kafka: KafkaSettings = KafkaSettings()
    database: DatabaseSettings = DatabaseSettings()
    producer: ProducerSettings = ProducerSettings()
    lake: LakeSettings = LakeSettings()
    process: ProcessSettings = ProcessSettings()
    sink: SinkSettings = SinkSettings()
    backfill: BackfillSettings = BackfillSettings()
    maintenance: MaintenanceSettings = MaintenanceSettings()
    status: StatusSettings = StatusSettings()
    archive: ArchiveSettings = ArchiveSettings()
    enrich: EnrichSettings = EnrichSettings()
    publisher: PublisherSettings = PublisherSettings()
    api: ApiSettings = ApiSettings()
    client: ClientSettings = ClientSettings()
    tracker: TrackerSettings = TrackerSettings()
    sandbox: SandboxSettings = SandboxSettings()
    http: HttpSettings = HttpSettings()
    bench: BenchSettings = BenchSettings()
    log: LogSettings = LogSettings()


def load_settings(**flags: Any) -> Settings:
    """Settings from flags (dotted paths with `__`, for example `kafka__bootstrap`; None means not given), environment and `.env`.

    ConfigurationError names the first wrong setting and how to set it.
    """
    _refuse_unknown_sections()
    overrides: dict[str, Any] = {}
    for path, value in flags.items():
        if value is not None:
            section, _, name = path.partition("__")
            overrides.setdefault(section, {})[name] = value
    try:
        return Settings(**overrides)  # nested init values are merged with the environment's by pydantic-settings
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        variable = "LUMENSTREAM_" + "__".join(str(part) for part in first["loc"]).upper()
        raise ConfigurationError(f"setting {place}: {first['msg']}", hint=f"mend the flag, {variable} or .env") from error
    except SettingsError as error:
        raise ConfigurationError(str(error), hint="look at the LUMENSTREAM_* variables and .env") from error


def _refuse_unknown_sections() -> None:
    """ConfigurationError for LUMENSTREAM_KAFA__PARTITIONS: pydantic looks for the names it knows and passes over the others."""
    prefix, env_file = "LUMENSTREAM_", Path(str(Settings.model_config.get("env_file") or ".env"))
    names = [*os.environ, *(dotenv_values(env_file) if env_file.is_file() else ())]
    for name in names:
        section, separator, rest = name.upper().removeprefix(prefix).partition("__")
        if name.upper().startswith(prefix) and separator and section.lower() not in Settings.model_fields:
            near = difflib.get_close_matches(section.lower(), Settings.model_fields, n=1, cutoff=0.0)[0]
            raise ConfigurationError(
                f"{name}: there is no section {section.lower()!r} of settings",
                hint=f"did you mean {prefix}{near.upper()}__{rest}?",
            )
