"""How far a harvest has come, for whoever shows it. Numbers only."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from harvester.registry import Traffic


@dataclass
class Progress:
    """Counters of one run. `rows` counts committed records by resource, `objects_total` is 0 while unknown.

    `began_with` are the objects already in the dump when this run took it up; the ETA looks only at
    what this run has done.
    """

    objects_total: int = 0
    began_with: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    failures: int = 0
    traffic: Traffic = field(default_factory=Traffic)
    started: float = field(default_factory=time.monotonic)
    state: str = "starting"

    def took_up(self, objects: int, rows: Mapping[str, int]) -> None:
        """Count what the dump held already."""
        self.began_with = objects
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
    def eta(self) -> float | None:
        """Seconds to go, judged by the objects done so far; None while there is nothing to judge by."""
        done = self.rows["objects"] - self.began_with
        left = self.objects_total - self.rows["objects"]
        if done <= 0 or self.objects_total == 0:
            return None
        return max(0.0, self.elapsed / done * left)
