"""Full-collection inventories from the APTrust Registry, as NDJSON that can be believed.

Enough to embed a harvest in a notebook or a scheduled task:

    settings = load_settings()
    async with RegistryClient(settings, credentials(settings)) as client:
        outcome = await harvest(client, Scope.parse(["objects", "files", "events"]))

Or to ask for something, a page at a time:

        async for files in listed(client, RESOURCES["files"], [("state", "A")]):
            ...
"""

import harvester.starting  # noqa: F401 - before anything that takes time
from harvester.config import Credentials, Settings, credentials, load_settings, software_version
from harvester.dump import Dump, verify
from harvester.errors import HarvesterError
from harvester.harvest import Outcome, Progress, Scope, harvest, resume
from harvester.registry import RESOURCES, RegistryClient, Resource, exact_count, listed, parse_filters

__version__ = software_version()

__all__ = [
    "RESOURCES",
    "Credentials",
    "Dump",
    "HarvesterError",
    "Outcome",
    "Progress",
    "RegistryClient",
    "Resource",
    "Scope",
    "Settings",
    "credentials",
    "exact_count",
    "harvest",
    "listed",
    "load_settings",
    "parse_filters",
    "resume",
    "verify",
]
