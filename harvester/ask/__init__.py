"""What people ask of the Registry at a terminal, beyond its lists: knows no dumps and prints nothing."""

from harvester.ask.audit import audit
from harvester.ask.bag import Directory, Excerpt, File, arrange, excerpt, within
from harvester.ask.check import Observation, State, Surroundings, look_around, reach_out
from harvester.ask.findings import Answer, Audit, Concern, Finding, Plan, Query, Rules, Status
from harvester.ask.identify import find
from harvester.ask.items import REPORT_SINCE, Change, Report, Watch, follow, query
from harvester.ask.portrait import Chronicle, Happening, Portrait, portray
from harvester.ask.question import Question, confirm
from harvester.ask.restore import in_the_way, request_restoration, restores

__all__ = [
    "REPORT_SINCE",
    "Answer",
    "Audit",
    "Change",
    "Chronicle",
    "Concern",
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
    "Report",
    "Rules",
    "State",
    "Status",
    "Surroundings",
    "Watch",
    "arrange",
    "audit",
    "confirm",
    "excerpt",
    "find",
    "follow",
    "in_the_way",
    "look_around",
    "portray",
    "query",
    "reach_out",
    "request_restoration",
    "restores",
    "within",
]
