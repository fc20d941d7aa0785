"""Bytes on disk: records that are replaced whole, and a journal that only grows."""

from .directory import RecordInfo, RecordStore, open_record_store
from .disk import Disk, FileInfo, RealDisk, replace_file
from .durations import Durations, DurationsSummary
from .errors import (
    InvalidName,
    NewerVersion,
    RecordNotFound,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from .journal import Journal, JournalStatistics, StreamInfo, open_journal
from .lock import DirectoryInUse, own_directory
from .memory import MemoryDisk
from .writer import WriterStatistics

__all__ = [
    "DirectoryInUse",
    "Disk",
    "Durations",
    "DurationsSummary",
    "FileInfo",
    "InvalidName",
    "Journal",
    "JournalStatistics",
    "MemoryDisk",
    "NewerVersion",
    "RealDisk",
    "RecordInfo",
    "RecordNotFound",
    "RecordStore",
    "StoreError",
    "StoreFull",
    "StoreUnavailable",
    "StreamInfo",
    "WriterStatistics",
    "open_journal",
    "open_record_store",
    "own_directory",
    "replace_file",
]
