"""The objects of a data lake, wherever it lies: S3, GCS, Azure or a folder, through obstore.

A call is tried once here; `Failure` says that another attempt may mend it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore

from lumenstream.errors import ConfigurationError, IntegrityError
from lumenstream.retry import Failure
from lumenstream.settings import LakeSettings
from producers.bucket import SCHEMES, access_denied, open_bucket, plain
from producers.sources.lake.layout import COMPRESSION, MANIFEST, PARTITION, Batch, Layout

MAX_OBJECT_BYTES: Final = 256 << 20

# The lakes that the Stellar Development Foundation publishes in the Open Data programme of AWS.
_PUBLIC_REGION: Final = "us-east-2"
PUBLIC_LAKES: Final = {
    "pubnet": "s3://aws-public-blockchain/v1.1/stellar/ledgers/pubnet",
    "testnet": "s3://aws-public-blockchain/v1.1/stellar/ledgers/testnet",
}


class Manifest(NamedTuple):
    """What `.config.json` says. `passphrase` is empty where it does not name the network."""

    passphrase: str
    layout: Layout


class Found(NamedTuple):
    batch: Batch
    size: int  # bytes, compressed


class LakeStore:
    """`name` is what messages show: the lake's URL, which holds no secrets."""

    def __init__(self, settings: LakeSettings, network: str) -> None:
        """ConfigurationError for a place that cannot be one. Nothing is asked of a server yet."""
        settings = located(settings, network)
        self.name = settings.url.rstrip("/")
        self._sorted = True
        self._store = self._opened(settings)

    def manifest(self) -> Manifest | None:
        """None when the lake has none. IntegrityError for one that cannot be read."""
        data = self.get(MANIFEST)
        if data is None:
            return None
        try:
            document = json.loads(data)
            layout = Layout(int(document["ledgersPerBatch"]), int(document["batchesPerPartition"]))
            passphrase, compression = str(document.get("networkPassphrase", "")), document.get("compression", COMPRESSION)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise IntegrityError(f"{self.name}: {MANIFEST} cannot be read: {type(error).__name__}: {error}") from error
        if compression != COMPRESSION:
            raise IntegrityError(f"{self.name}: {MANIFEST} says compression {compression!r}, this program knows {COMPRESSION}")
        if min(layout) < 1:
            raise IntegrityError(f"{self.name}: {MANIFEST} says {layout.ledgers_per_batch} ledgers an object")
        return Manifest(passphrase, layout)

    def get(self, key: str) -> bytes | None:
        """An object's bytes; None when it is not there. Failure, ConfigurationError when access is denied."""
        try:
            result = obstore.get(self._store, key)
            if result.meta["size"] > MAX_OBJECT_BYTES:
                raise IntegrityError(f"{self.name}/{key} has {result.meta['size']} bytes, more than {MAX_OBJECT_BYTES}")
            return bytes(result.bytes())
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as error:
            raise self._failed(f"{self.name}/{key}", error) from error

    def newest(self, layout: Layout) -> Found | None:
        """The newest object; None when there is none. A listing in the order of names begins with it."""
        for partition in self._partitions(layout):
            objects = self._objects(layout, partition)
            found = next(objects, None) if self._sorted else max(objects, key=_first, default=None)
            if found is not None:
                return found
        return None

    def oldest(self, layout: Layout) -> Found | None:
        """The oldest object; None when there is none. Reads the whole listing of the oldest partition."""
        for partition in reversed(self._partitions(layout)):
            if found := min(self._objects(layout, partition), key=_first, default=None):
                return found
        return None

    def _partitions(self, layout: Layout) -> list[str | None]:
        """The folders of the lake, newest first; None is the lake itself, where it has no folders."""
        if layout.batches_per_partition == 1:
            return [None]
        try:
            folders = obstore.list_with_delimiter(self._store)["common_prefixes"]
        except (BaseError, OSError) as error:
            raise self._failed(f"listing {self.name}", error) from error
        return [*sorted(filter(PARTITION.fullmatch, folders))]

    def _objects(self, layout: Layout, prefix: str | None) -> Iterator[Found]:
        """Ledger objects under a prefix, in the store's order, which is that of names everywhere but in a folder."""
        try:
            for page in obstore.list(self._store, prefix):
                for meta in page:
                    batch = self._batch_at(layout, meta["path"])
                    if batch is not None:
                        yield Found(batch, meta["size"])
        except (BaseError, OSError) as error:
            raise self._failed(f"listing {self.name}", error) from error

    def _batch_at(self, layout: Layout, key: str) -> Batch | None:
        try:
            return layout.batch_at(key)
        except IntegrityError as error:
            raise IntegrityError(f"{self.name}: {error}", hint=error.hint) from error

    def _failed(self, what: str, error: Exception) -> Exception:
        text = plain(error)
        if access_denied(error):
            return ConfigurationError(
                f"{what}: access denied: {text}",
                hint="may these credentials read and list it? A public lake is read with LUMENSTREAM_LAKE__ANONYMOUS=true",
            )
        return Failure("store", f"{what}: {text}")

    def _opened(self, settings: LakeSettings) -> ObjectStore:
        folder = folder_of(settings.url)
        if folder is not None:
            if not folder.is_dir():
                raise ConfigurationError(f"lake folder {folder} does not exist", hint="set --lake-url or LUMENSTREAM_LAKE__URL")
            self._sorted = False
            return LocalStore(folder)
        return open_bucket(settings, f"the lake {self.name}", "set --lake-url or LUMENSTREAM_LAKE__URL")


def located(settings: LakeSettings, network: str) -> LakeSettings:
    """The settings with the public lake of a network that has one, where they name none. ConfigurationError without either."""
    if not settings.url:
        if network not in PUBLIC_LAKES:
            raise ConfigurationError(
                f"source lake needs a place: network {network!r} has no public lake",
                hint="set --lake-url or LUMENSTREAM_LAKE__URL",
            )
        return settings.model_copy(
            update={
                "url": PUBLIC_LAKES[network],
                "region": settings.region or _PUBLIC_REGION,
                "anonymous": True,
            }
        )
    scheme = urlsplit(settings.url).scheme
    if "://" in settings.url and scheme not in (*SCHEMES, "file"):
        raise ConfigurationError(
            f"a lake with scheme {scheme!r} is not known", hint="s3://, gs://, az://, file:// or a folder: LUMENSTREAM_LAKE__URL"
        )
    return settings


def folder_of(url: str) -> Path | None:
    """The folder that a lake's URL names, None when it is elsewhere."""
    if "://" not in url:
        return Path(url)
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def _first(found: Found) -> int:
    return found.batch.first
