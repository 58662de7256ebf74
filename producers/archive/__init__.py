"""History archives as stellar-core publishes them: the network's whole state at a checkpoint, every 64 ledgers.

In: a folder, a web server or a bucket, as `archive.url` says. Out: every ledger entry that exists at the checkpoint, each once,
for `processors.checkpoint`. Nothing is believed before its hash is checked: each bucket against its name, the list of buckets
against the header of the checkpoint's ledger.
"""

from producers.archive.checkpoint import Batch, Checkpoint, HistoryArchive, Progress

__all__ = ["Batch", "Checkpoint", "HistoryArchive", "Progress"]
