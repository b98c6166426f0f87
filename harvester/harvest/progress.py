"""How far a harvest has come, for whoever shows it. Numbers only."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from harvester.harvest.plan import Plan
from harvester.registry import Traffic


@dataclass
class Progress:
    """Counters of one run. `rows` counts records by resource, `objects_total` is 0 while unknown.

    `began_with` are the rows already in the dump when this run took it up; the ETA looks only at what this
    run has done. `on_plan` is told the plan as soon as there is one.
    """

    objects_total: int = 0
    rows_total: int = 0
    began_with: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    failures: int = 0
    traffic: Traffic = field(default_factory=Traffic)
    started: float = field(default_factory=time.monotonic)
    state: str = "starting"
    plan: Plan | None = None
    on_plan: Callable[[Plan], None] | None = None

    def planned(self, plan: Plan) -> None:
        """Take down what is to be expected."""
        self.plan = plan
        self.objects_total = plan.rows["objects"]
        self.rows_total = sum((plan.whole if plan.strategy == "sweep" else plan.rows).values())
        if self.on_plan is not None:
            self.on_plan(plan)

    def took_up(self, rows: Mapping[str, int]) -> None:
        """Count what the dump held already."""
        self.began_with = sum(rows.values())
        self.rows.update(rows)

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self.started

    @property
    def requests(self) -> int:
        """Requests sent so far."""
        return self.traffic.requests.total()

    @property
    def done(self) -> float | None:
        """The share of the work that is done, 0 to 1; None while there is nothing to judge by."""
        total, rows = (
            (self.rows_total, self.rows.total()) if self.rows_total else (self.objects_total, self.rows["objects"])
        )
        return min(1.0, rows / total) if total else None

    @property
    def eta(self) -> float | None:
        """Seconds to go, judged by the rows received so far; None while there is nothing to judge by."""
        share = self.done
        began = self.began_with / self.rows_total if self.rows_total else 0.0
        if share is None or share <= began:
            return None
        return max(0.0, self.elapsed / (share - began) * (1.0 - share))
