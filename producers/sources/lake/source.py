"""A data lake as a source: objects of one or more ledgers each, read ahead in parallel, then polling at the tip.

Source: SEP-54 (the layout that Galexie writes). The manifest says how ledgers are spread over objects, and of which network they
are; a lake without one is described by the settings.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from lumenstream import metrics
from lumenstream.errors import ConfigurationError, IntegrityError
from lumenstream.logs import get_logger
from lumenstream.retry import Failure, Retry, RetryPolicy, Stopped, Wait
from lumenstream.settings import LakeSettings
from lumenstream.xdr.errors import LedgerFileError
from lumenstream.xdr.files import LedgerBatch, read_batch
from producers.sources.lake.layout import Batch, Layout
from producers.sources.lake.prefetch import Limits, Prefetch
from producers.sources.lake.store import LakeStore
from producers.sources.port import Extent, SourceLedger

_LAST_SEQUENCE: Final = (1 << 32) - 1
_POLLS_PER_LISTING: Final = 30
_TYPICAL_OBJECT_BYTES: Final = 1 << 20  # until one was seen

_log = get_logger("source.lake")


class LakeSource:
    """`network` and `passphrase`: whose ledgers are wanted. A source without end: it polls for the next object."""

    def __init__(
        self,
        settings: LakeSettings,
        network: str,
        passphrase: str,
        wait: Wait,
        *,
        poll_seconds: float = 1.0,
        retry: RetryPolicy = RetryPolicy(),
    ) -> None:
        self._settings = settings
        self._passphrase = passphrase
        self._store = LakeStore(settings, network)
        self._wait = wait
        self._poll_seconds = poll_seconds
        self._retry = Retry(
            retry,
            wait,
            lambda kind: metrics.SOURCE_ERRORS.labels(kind).inc(),
            hint="does the object store answer, and is LUMENSTREAM_LAKE__URL right?",
        )
        self._layout: Layout | None = None
        self._typical_bytes = _TYPICAL_OBJECT_BYTES
        self.tip: int | None = None

    @property
    def problem(self) -> str:
        return self._retry.problem

    def look(self) -> Extent:
        """`oldest` stays unknown: it would be the whole listing of a partition."""
        self._newest(self._opened())
        return Extent(self._store.name, None, self.tip)

    def ledgers(self, after: int | None, through: int | None = None) -> Iterator[SourceLedger]:
        try:
            yield from self._ledgers(after, _LAST_SEQUENCE if through is None else through)
        except Stopped:
            return

    def close(self) -> None:
        """Nothing is held between two iterations."""

    def _ledgers(self, after: int | None, through: int) -> Iterator[SourceLedger]:
        layout = self._opened()
        due = after + 1 if after is not None else self._beginning(layout)
        follows = after is not None
        for batch, data in self._objects(layout, due, through):
            key = f"{self._store.name}/{layout.key_of(batch)}"
            content = _content(data, batch, key)
            if content.first > due and follows:
                raise IntegrityError(f"{key} begins with ledger {content.first}, ledger {due} was due")
            for sequence in range(max(due, content.first), min(content.last, through) + 1):
                raw = content.ledgers[sequence - content.first]
                yield SourceLedger(sequence, sequence - 1 if follows else None, raw, f"{key} ledger {sequence}")
                due, follows = sequence + 1, True

    def _opened(self) -> Layout:
        """The lake's layout. IntegrityError for another network's lake, ConfigurationError for one that nothing describes."""
        if self._layout is not None:
            return self._layout
        manifest = self._retry.run(f"reading {self._store.name}", self._store.manifest)
        layout = Layout(self._settings.ledgers_per_batch, self._settings.batches_per_partition)
        if manifest is None:
            if min(layout) < 1:
                raise ConfigurationError(
                    f"{self._store.name} has no .config.json that says its layout",
                    hint="is it the folder that holds the partitions? Else set LUMENSTREAM_LAKE__LEDGERS_PER_BATCH and "
                    "__BATCHES_PER_PARTITION",
                )
            self._layout = layout
            return layout
        if manifest.passphrase and manifest.passphrase != self._passphrase:
            raise IntegrityError(
                f"{self._store.name} holds network {manifest.passphrase!r}, settings say {self._passphrase!r}",
                hint="set LUMENSTREAM_NETWORK__NAME or another lake",
            )
        if max(layout) > 0 and layout != manifest.layout:
            _log.warning("the lake's .config.json wins over the settings", lake=self._store.name, layout=manifest.layout)
        self._layout = manifest.layout
        return manifest.layout

    def _newest(self, layout: Layout) -> int:
        """The last ledger of the newest object, 0 when there is none."""
        found = self._retry.run(f"listing {self._store.name}", lambda: self._store.newest(layout))
        if found is None:
            return 0
        self._typical_bytes = found.size
        self.tip = max(self.tip or 0, found.batch.last)
        return found.batch.last

    def _beginning(self, layout: Layout) -> int:
        oldest = self._retry.run(f"listing {self._store.name}", lambda: self._store.oldest(layout))
        if oldest is None:
            raise ConfigurationError(
                f"{self._store.name} holds no ledger to begin with", hint="set --lake-url, or --from to wait for a ledger"
            )
        return oldest.batch.first

    def _objects(self, layout: Layout, first: int, through: int) -> Iterator[tuple[Batch, bytes]]:
        """Objects from the one that holds `first` to the one that holds `through`, in order; waits for those not there yet."""
        if through > (self.tip or 0):
            self._newest(layout)
        settings = self._settings
        prefetch = Prefetch(
            layout,
            lambda wanted: self._fetched(layout.key_of(wanted)),
            Limits(settings.readers, settings.prefetch_objects, settings.prefetch_bytes),
            self._typical_bytes,
        )
        batch, polls = layout.batch_of(first), 0
        try:
            while batch.first <= through:
                data = self._take(prefetch, batch, through)
                if data is not None:
                    self.tip = max(self.tip or 0, batch.last)
                    yield batch, data
                    batch, polls = layout.after(batch), 0
                elif not self._await(layout, batch, polls):
                    return
                else:
                    polls += 1
        finally:
            prefetch.close()

    def _fetched(self, key: str) -> bytes | None:
        """An object's bytes; None when it is not there. Called by several threads."""
        started = time.perf_counter()
        data = self._store.get(key)
        if data is not None:
            metrics.SOURCE_FETCH_SECONDS.observe(time.perf_counter() - started)
        return data

    def _take(self, prefetch: Prefetch, batch: Batch, through: int) -> bytes | None:
        """The object's bytes; None when it is not there."""
        while True:
            prefetch.start(batch, min(self.tip or 0, through))
            if not prefetch.wait(lambda: self._wait(0)):
                raise Stopped
            try:
                data = prefetch.take()
            except Failure as failure:
                self._retry.failed("reading the lake", failure)
                prefetch.again()
            else:
                self._retry.succeeded()
                return data

    def _await(self, layout: Layout, batch: Batch, polls: int) -> bool:
        """An object is not there: wait for it at the tip. False: stop. IntegrityError when there are newer ones."""
        if polls % _POLLS_PER_LISTING == 0:
            newest = self._newest(layout)
            if newest > batch.last:
                key = layout.key_of(batch)
                if self._retry.run("reading the lake", lambda: self._store.get(key)) is not None:
                    return True  # it came between the two questions
                raise IntegrityError(
                    f"{self._store.name} has no object {key}, and newer ones up to ledger {newest}",
                    hint="the lake has a hole: read those ledgers from another source",
                )
        return not self._wait(self._poll_seconds)


def _content(data: bytes, batch: Batch, key: str) -> LedgerBatch:
    """What an object holds. IntegrityError when it cannot be read, or is of other ledgers than its name says."""
    try:
        content = read_batch(data, key)
    except LedgerFileError as error:
        raise IntegrityError(str(error), hint="the object is damaged: have it written again") from error
    if content.last != batch.last or not batch.first <= content.first <= batch.last:
        raise IntegrityError(f"{key} holds ledgers {content.first} to {content.last}", hint="the object is misnamed")
    if len(content.ledgers) != content.last - content.first + 1:
        raise IntegrityError(f"{key} holds {len(content.ledgers)} ledgers for {content.first} to {content.last}")
    return content
