"""Servers from wheels, for a machine that has only Python: PostgreSQL and a Kafka-compatible broker, on loopback.

Each is a context manager that ends with its owner; each is replaced by setting one URL.
"""

from lumenstream.embedded.postgres import EmbeddedPostgres
from lumenstream.embedded.processes import MissingWheelError, ServerError
from lumenstream.embedded.tansu import EmbeddedTansu

__all__ = ["EmbeddedPostgres", "EmbeddedTansu", "MissingWheelError", "ServerError"]
