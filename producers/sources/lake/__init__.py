"""Data lakes (SEP-54, as Galexie writes them).

layout      names of partitions and objects      store      objects wherever they lie, the manifest, the newest and the oldest
prefetch    reading ahead, bounded, in order     source     the source
"""

from producers.sources.lake.layout import MANIFEST, Batch, Layout
from producers.sources.lake.source import LakeSource
from producers.sources.lake.store import located

__all__ = ["MANIFEST", "Batch", "LakeSource", "Layout", "located"]
