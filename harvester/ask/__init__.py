"""What people ask of the Registry at a terminal, beyond its lists: knows no dumps and prints nothing."""

from harvester.ask.audit import audit
from harvester.ask.bag import Directory, Excerpt, File, arrange, excerpt, within
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
    "Plan",
    "Portrait",
    "Query",
    "Question",
    "Rules",
    "Status",
    "arrange",
    "audit",
    "excerpt",
    "find",
    "portray",
    "within",
]
