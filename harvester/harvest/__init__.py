"""The pipeline: producer, bounded workers, ordered commit. Where `registry` and `dump` meet."""

from harvester.harvest.plan import Plan, count_now
from harvester.harvest.progress import Progress
from harvester.harvest.run import Outcome, estimate, harvest, resume
from harvester.harvest.scope import Scope

__all__ = ["Outcome", "Plan", "Progress", "Scope", "count_now", "estimate", "harvest", "resume"]
