"""Apache Kafka in KRaft mode, one node, from Maven Central's jars: the broker that tests mean when they say Kafka.

The versions are pinned in `ops/kafka/pom.xml`; the jars are kept in `.cache/`. Broker and controller share a process; the data
directory outlives `stop()`, `kill()` and `restart()` and goes away with `close()`.
"""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path
from xml.etree import ElementTree

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from lumenstream.embedded.processes import LOOPBACK, Command, accepts_connections, free_port, run_to_end
from tests.servers.cache import REPOSITORY, Unavailable, cached_directory
from tests.servers.own import OwnServer

POM = REPOSITORY / "ops" / "kafka" / "pom.xml"
LOGGING = REPOSITORY / "ops" / "kafka" / "log4j2.properties"
JAVA_VERSION = 17
MAVEN_ATTEMPTS = 3
MAVEN_TIMEOUT_S = 300
FORMAT_TIMEOUT_S = 60.0
METADATA_TIMEOUT_S = 2.0
HEAP_MB = 512
MESSAGE_MAX_BYTES = 32 * 1024 * 1024
NODE_ID = 1

SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": NODE_ID,
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    # Short, because a broker comes back from kill -9 only after the session of its former self.
    "broker.session.timeout.ms": 3000,
    "broker.heartbeat.interval.ms": 500,
    "auto.create.topics.enable": "false",
    "message.max.bytes": MESSAGE_MAX_BYTES,
    "replica.fetch.max.bytes": MESSAGE_MAX_BYTES,
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 1000,
    "offsets.topic.num.partitions": 1,
    "offsets.topic.replication.factor": 1,
    "transaction.state.log.num.partitions": 1,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "share.coordinator.state.topic.num.partitions": 1,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "log.cleaner.dedupe.buffer.size": 16_777_216,
    "num.network.threads": 2,
    "num.io.threads": 4,
}


def version() -> str:
    """The Kafka version that the pom pins."""
    element = ElementTree.parse(POM).find(".//{*}kafka.version")
    assert element is not None and element.text
    return element.text


def _copy_jars(directory: Path) -> None:
    command = ["mvn", "-B", "-q", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={directory}"]
    for attempt in range(1, MAVEN_ATTEMPTS + 1):
        try:
            result = subprocess.run(
                [*command, "-DincludeScope=runtime"], capture_output=True, text=True, timeout=MAVEN_TIMEOUT_S, check=False
            )
            failure = result.stdout[-1000:] if result.returncode else ""
        except subprocess.TimeoutExpired:
            failure = f"no end within {MAVEN_TIMEOUT_S} s"
        if not failure and any(directory.glob("kafka_*.jar")):
            return
        if attempt == MAVEN_ATTEMPTS:
            raise Unavailable(f"Maven did not deliver Kafka's jars: {failure}")


def _java_version() -> int:
    """The major version, or 0 without Java. `java -version` answers with a line like: openjdk version "17.0.15" 2025-04-15."""
    if shutil.which("java") is None:
        return 0
    answer = subprocess.run(["java", "-version"], capture_output=True, text=True, timeout=FORMAT_TIMEOUT_S, check=False).stderr
    found = re.search(r'version "(\d+)', answer)
    return int(found[1]) if found else 0


def jars() -> Path:
    """The directory of Kafka's jars. Raises Unavailable without Java, or without Maven when they are not cached yet."""
    java = _java_version()
    if java < JAVA_VERSION:
        raise Unavailable(f"Kafka needs Java {JAVA_VERSION}, found {java}" if java else "Java is not installed")

    def build(directory: Path) -> None:
        if shutil.which("mvn") is None:
            raise Unavailable("Maven is not installed")
        _copy_jars(directory)

    return cached_directory(f"kafka-{version()}", build)


class KafkaServer(OwnServer):
    """A broker on a port that stays the same over restarts. Ends with the process that started it.

    `advertised_port` is where clients are sent on, for a broker behind a `TcpProxy`.
    """

    name = "Kafka"
    kind = "Apache Kafka from Maven jars"

    def __init__(self, settings: dict[str, object] | None = None, advertised_port: int | None = None) -> None:
        super().__init__()
        self._advertised_port = advertised_port or self.port
        self._controller_port = free_port()
        self._settings = settings or {}
        self._library = Path()

    @property
    def bootstrap(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    @property
    def _properties(self) -> Path:
        return self._home / "server.properties"

    def _new_directory(self) -> Path:
        self._library = jars()
        return Path(tempfile.mkdtemp(prefix="lumenstream-kafka-"))

    def _serve(self) -> Command:
        return self._command("kafka.Kafka", str(self._properties), heap_mb=HEAP_MB)

    def _initialize(self) -> None:
        settings = {
            **SETTINGS,
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{LOOPBACK}:{self._controller_port}",
            "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{self._advertised_port}",
            "controller.quorum.voters": f"{NODE_ID}@{LOOPBACK}:{self._controller_port}",
            "log.dirs": self._home / "data",
            **self._settings,
        }
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), encoding="utf-8")
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # The tool reads an id that begins with a dash as an option.
        arguments = ("format", "-t", cluster.replace("-", "A"), "-c", str(self._properties))
        run_to_end("Kafka's storage format", self._command("kafka.tools.StorageTool", *arguments, heap_mb=256), FORMAT_TIMEOUT_S)

    def _command(self, main: str, *arguments: str, heap_mb: int) -> Command:
        return Command(
            argv=(
                *("java", f"-Xmx{heap_mb}m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto"),
                f"-Dlog4j2.configurationFile={LOGGING}",
                *("-cp", f"{self._library}/*", main),
                *arguments,
            ),
            log=self._home / "kafka.log",
            scratch=(self._home,),
        )

    def _answers(self) -> bool:
        if not accepts_connections(self.port):
            return False
        try:
            client = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
            return bool(client.list_topics(timeout=METADATA_TIMEOUT_S).brokers)
        except KafkaException:
            return False
