"""What people ask of the Registry at a terminal, beyond its lists: knows no dumps and prints nothing."""

from harvester.ask.audit import audit
from harvester.ask.bag import Directory, Excerpt, File, arrange, excerpt, within
from harvester.ask.check import Observation, State, Surroundings, look_around, reach_out
from harvester.ask.findings import Answer, Audit, Finding, Plan, Query, Question, Rules, Status
from harvester.ask.identify import find
from harvester.ask.portrait import Chronicle, Happening, Portrait, portray

__all__ = [
    "Answer",
    "Audit",
    "Chronicle",
    "Directory",
    "Excerpt",
    "File",
    "Finding",
    "Happening",
    "Observation",
    "Plan",
    "Portrait",
    "Query",
    "Question",
    "Rules",
    "State",
    "Status",
    "Surroundings",
    "arrange",
    "audit",
    "excerpt",
    "find",
    "look_around",
    "portray",
    "reach_out",
    "within",
]
