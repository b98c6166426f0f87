"""The dump on disk, both ways. Knows bytes and fsync, nothing of HTTP; synchronous."""

from harvester.dump.codec import Codec
from harvester.dump.disk import Disk
from harvester.dump.journal import JournalState
from harvester.dump.layout import partials, published, published_name
from harvester.dump.manifest import Manifest, read_manifest
from harvester.dump.reader import Dump, lines_of
from harvester.dump.recover import Unfinished, begun, header_of, recover
from harvester.dump.spool import Block, Heap, Spool, own_id
from harvester.dump.verify import Damage, Verdict, verify
from harvester.dump.writer import DumpWriter, Pace, new_partial, point_to_newest, publish, remove

__all__ = [
    "Block",
    "Codec",
    "Damage",
    "Disk",
    "Dump",
    "DumpWriter",
    "Heap",
    "JournalState",
    "Manifest",
    "Pace",
    "Spool",
    "Unfinished",
    "Verdict",
    "begun",
    "header_of",
    "lines_of",
    "new_partial",
    "own_id",
    "partials",
    "point_to_newest",
    "publish",
    "published",
    "published_name",
    "read_manifest",
    "recover",
    "remove",
    "verify",
]
