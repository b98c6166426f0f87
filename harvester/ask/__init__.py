"""What people ask of the Registry at a terminal, beyond its lists: knows no dumps and prints nothing."""

from harvester.ask.identify import find
from harvester.ask.question import Question

__all__ = ["Question", "find"]
