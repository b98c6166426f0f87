"""Full-collection inventories from the APTrust Registry, as NDJSON that can be believed.

Enough to embed a harvest in a notebook or a scheduled task:

    settings = load_settings()
    async with RegistryClient(settings, credentials(settings)) as client:
        outcome = await harvest(client, Scope.parse(["objects", "files", "events"]))
"""

import harvester.starting  # noqa: F401 - before anything that takes time
from harvester.config import Credentials, Settings, credentials, load_settings, software_version
from harvester.dump import Dump, verify
from harvester.errors import HarvesterError
from harvester.harvest import Outcome, Progress, Scope, harvest, resume
from harvester.registry import RegistryClient

__version__ = software_version()

__all__ = [
    "Credentials",
    "Dump",
    "HarvesterError",
    "Outcome",
    "Progress",
    "RegistryClient",
    "Scope",
    "Settings",
    "credentials",
    "harvest",
    "load_settings",
    "resume",
    "verify",
]
