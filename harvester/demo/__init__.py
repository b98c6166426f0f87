"""An embedded Registry to try harvester on: a real HTTP server over a made-up collection.

It behaves like the real server, mistakes included, fails on order, changes while it is read, and keeps its own account
of every request. It imports nothing else of harvester: what harvester believes about the Registry is tested against an
independent witness.
"""

from harvester.demo.changes import (
    AddEvents,
    Change,
    Changes,
    InsertFiles,
    InsertItem,
    InsertObject,
    PutNull,
    RefreshCounts,
    RequestRestoration,
    SoftDeleteFile,
    SoftDeleteObject,
    UpdateItem,
    UpdateObject,
    Vanish,
)
from harvester.demo.collection import CollectionSpec, build
from harvester.demo.costs import Cost
from harvester.demo.database import OWN_INSTITUTION, records
from harvester.demo.faults import Fault
from harvester.demo.server import (
    ADMIN_EMAIL,
    API_KEY,
    DEACTIVATED_EMAIL,
    EMAIL,
    KEYLESS_EMAIL,
    OTHER_EMAIL,
    DemoRegistry,
)
from harvester.demo.stats import Stats

__all__ = [
    "ADMIN_EMAIL",
    "API_KEY",
    "DEACTIVATED_EMAIL",
    "EMAIL",
    "KEYLESS_EMAIL",
    "OTHER_EMAIL",
    "OWN_INSTITUTION",
    "AddEvents",
    "Change",
    "Changes",
    "CollectionSpec",
    "Cost",
    "DemoRegistry",
    "Fault",
    "InsertFiles",
    "InsertItem",
    "InsertObject",
    "PutNull",
    "RefreshCounts",
    "RequestRestoration",
    "SoftDeleteFile",
    "SoftDeleteObject",
    "Stats",
    "UpdateItem",
    "UpdateObject",
    "Vanish",
    "build",
    "records",
]
