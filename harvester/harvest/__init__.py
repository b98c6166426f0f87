"""The pipeline: producer, bounded workers, ordered commit. Where `registry` and `dump` meet."""

from harvester.harvest.progress import Progress
from harvester.harvest.run import Outcome, harvest, resume
from harvester.harvest.scope import Scope

__all__ = ["Outcome", "Progress", "Scope", "harvest", "resume"]
