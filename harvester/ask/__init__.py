"""What people ask of the Registry at a terminal, beyond its lists: knows no dumps and prints nothing."""

from harvester.ask.identify import find
from harvester.ask.items import REPORT_SINCE, Change, Report, Watch, follow, query
from harvester.ask.restore import in_the_way, request_restoration, restores

__all__ = [
    "REPORT_SINCE",
    "Change",
    "Report",
    "Watch",
    "find",
    "follow",
    "in_the_way",
    "query",
    "request_restoration",
    "restores",
]
