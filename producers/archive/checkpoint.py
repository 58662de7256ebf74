"""A checkpoint of a history archive, read: its state file, its ledger's header, and the entries of all its buckets in a stream.

Memory: one piece of a bucket, and what the scanner remembers of the keys in newer buckets (`lumenstream.xdr.buckets`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Final, NamedTuple

from lumenstream.errors import ConfigurationError, IntegrityError
from lumenstream.logs import get_logger
from lumenstream.retry import Wait
from lumenstream.settings import Settings
from lumenstream.xdr import LedgerDecodeError, buckets
from lumenstream.xdr.rows import Entry, LedgerHeader
from producers.archive import state
from producers.archive.headers import checkpoint_header
from producers.archive.store import Store, open_store, unzipped

REPORT_SECONDS: Final = 0.5

_log = get_logger("archive")


class Batch(NamedTuple):
    """Entries that exist. `archived`: they were evicted to the hot archive and may be restored."""

    entries: list[Entry]
    archived: bool


class Progress(NamedTuple):
    """Compressed bytes of the buckets; `total_bytes` 0 where the archive does not tell."""

    done_bytes: int
    total_bytes: int
    records: int
    entries: int
    seconds: float

    @property
    def entries_per_second(self) -> float:
        return self.entries / self.seconds if self.seconds else 0.0

    @property
    def eta_seconds(self) -> float | None:
        """None while it cannot be told."""
        if not self.done_bytes or not self.total_bytes:
            return None
        return max(0.0, self.seconds * (self.total_bytes - self.done_bytes) / self.done_bytes)


Report = Callable[[Progress], None]


class Checkpoint(NamedTuple):
    """What an archive holds for a ledger. `header` is None where the archive lacks the file of headers."""

    ledger: int
    state: state.ArchiveState
    header: LedgerHeader | None


class HistoryArchive:
    """An archive of the configured network. Close it after use."""

    def __init__(self, settings: Settings, wait: Wait) -> None:
        if not settings.archive.url:
            raise ConfigurationError(
                "no history archive is configured", hint="give --archive-url or set LUMENSTREAM_ARCHIVE__URL"
            )
        self._store: Store = open_store(settings.archive, wait)
        self._passphrase = settings.network.resolved_passphrase()
        self._frequency = settings.archive.checkpoint_frequency

    @property
    def name(self) -> str:
        return self._store.name

    def close(self) -> None:
        self._store.close()

    def newest(self, not_above: int | None = None) -> Checkpoint:
        """The newest checkpoint, or the newest that is not above a ledger.

        IntegrityError when it is of another network or its parts contradict each other; MissingFileError, UnreachableError.
        """
        found = self._state(state.WELL_KNOWN)
        if not_above is not None and found.ledger > not_above:
            ledger = (not_above + 1) // self._frequency * self._frequency - 1
            if ledger <= 0:
                raise IntegrityError(
                    f"{self.name} has no checkpoint at or below ledger {not_above}", hint="its first is that of its frequency"
                )
            path = state.path_of("history", f"{ledger:08x}", "json")
            found = self._state(path)
            if found.ledger != ledger:
                raise IntegrityError(f"{self.name}/{path} is of ledger {found.ledger}")
        if (found.ledger + 1) % self._frequency:
            raise IntegrityError(
                f"{self.name}: ledger {found.ledger} is no checkpoint, these come every {self._frequency} ledgers",
                hint="is archive.checkpoint_frequency that of the network?",
            )
        header = checkpoint_header(self._store, found.ledger)
        if header is None:
            _log.warning("the archive has no headers here: the list of buckets is not checked", ledger=found.ledger)
        elif found.list_hash(header.protocol_version) != header.bucket_list_hash:
            raise IntegrityError(
                f"{self.name}: the buckets listed for ledger {found.ledger} have hash "
                f"{found.list_hash(header.protocol_version).hex()}, its header says {header.bucket_list_hash.hex()}",
                hint="the archive is damaged or forged: use another one",
            )
        return Checkpoint(found.ledger, found, header)

    def entries(self, checkpoint: Checkpoint, report: Report | None = None) -> Iterator[Batch]:
        """Every entry that exists at the checkpoint, each once; evicted ones last. IntegrityError for a bucket that is not
        what its name says; what came before it must not be kept then."""
        live, hot = state.buckets(checkpoint.state.live), state.buckets(checkpoint.state.hot)
        total = sum(self._store.size(_bucket_path(name)) for name in (*live, *hot))
        reading = _Reading(self._store, total, report)
        for archived, names in ((False, live), (True, hot)):
            scanner = buckets.scanner(archived=archived)
            for name in names:
                for entries in reading.bucket(name, scanner, oldest=name == names[-1]):
                    yield Batch(entries, archived)
            _log.info("buckets read", archived=archived, buckets=len(names), records=scanner.records, keys_kept=scanner.known)
        reading.tell(finished=True)

    def _state(self, path: str) -> state.ArchiveState:
        found = state.parse(self._store.read(path), f"{self.name}/{path}")
        if found.passphrase and found.passphrase != self._passphrase:
            raise IntegrityError(
                f"{self.name} is of network {found.passphrase!r}, settings say {self._passphrase!r}",
                hint="is LUMENSTREAM_NETWORK__NAME or LUMENSTREAM_ARCHIVE__URL wrong?",
            )
        return found


class _Reading:
    """The buckets of a checkpoint, one after the other."""

    def __init__(self, store: Store, total_bytes: int, report: Report | None) -> None:
        self._store = store
        self._total = total_bytes
        self._report = report
        self._done = 0
        self._records = 0
        self._entries = 0
        self._started = time.monotonic()
        self._told_at = 0.0

    def bucket(self, name: str, scanner: buckets.BucketScanner, *, oldest: bool) -> Iterator[list[Entry]]:
        path, digest = _bucket_path(name), sha256()
        place = f"{self._store.name}/{path}"
        before = scanner.records
        scanner.begin(oldest)
        try:
            for piece in unzipped(self._counted(path), place):
                digest.update(piece)
                entries = scanner.feed(piece)
                self._entries += len(entries)
                self._records += scanner.records - before
                before = scanner.records
                self.tell()
                if entries:
                    yield entries
            scanner.end()
        except LedgerDecodeError as error:
            raise IntegrityError(f"{place}: {error}", hint="the archive is damaged: use another one") from error
        if digest.hexdigest() != name:
            raise IntegrityError(f"{place}: its hash is {digest.hexdigest()}", hint="the archive is damaged: use another one")

    def tell(self, *, finished: bool = False) -> None:
        now = time.monotonic()
        if self._report is not None and (finished or now - self._told_at >= REPORT_SECONDS):
            self._told_at = now
            self._report(Progress(self._done, self._total, self._records, self._entries, now - self._started))

    def _counted(self, path: str) -> Iterator[bytes]:
        for chunk in self._store.stream(path):
            self._done += len(chunk)
            yield chunk


def _bucket_path(name: str) -> str:
    return state.path_of("bucket", name, "xdr.gz")
