"""What people ask of the Registry at a terminal, beyond its lists: knows no dumps and prints nothing."""

from harvester.ask.audit import audit
from harvester.ask.findings import Answer, Audit, Finding, Plan, Query, Question, Rules, Status
from harvester.ask.identify import find

__all__ = ["Answer", "Audit", "Finding", "Plan", "Query", "Question", "Rules", "Status", "audit", "find"]
