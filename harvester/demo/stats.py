"""What the server saw: the independent account of how a client behaved."""

from __future__ import annotations

from array import array
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

LOG_LENGTH = 1000
_HEADER_SETS = 100


@dataclass
class Stats:
    """Counters since start or the last reset. `arrivals` are monotonic seconds, one a request."""

    requests: int = 0
    by_path: Counter[str] = field(default_factory=Counter)
    by_status: Counter[int] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    connections: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    server_seconds: float = 0.0
    bytes_sent: int = 0
    arrivals: array[float] = field(default_factory=lambda: array("d"))
    log: deque[str] = field(default_factory=lambda: deque(maxlen=LOG_LENGTH))
    header_sets: Counter[tuple[str, ...]] = field(default_factory=Counter)
    with_key: int = 0

    def arrived(self, now: float, path: str, line: str, headers: tuple[str, ...], has_key: bool) -> None:
        """A request's head has been read."""
        self.requests += 1
        self.by_path[path] += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        self.arrivals.append(now)
        self.log.append(line)
        self.with_key += has_key
        if headers in self.header_sets or len(self.header_sets) < _HEADER_SETS:
            self.header_sets[headers] += 1

    def max_in_any_window(self, seconds: float) -> int:
        """The most requests that arrived within any half-open window of this length."""
        most, first = 0, 0
        for last, moment in enumerate(self.arrivals):
            while self.arrivals[first] <= moment - seconds:
                first += 1
            most = max(most, last - first + 1)
        return most

    def reset(self) -> None:
        """Forget everything but the requests and connections that are open now."""
        fresh = Stats(in_flight=self.in_flight, max_in_flight=self.in_flight)
        self.__dict__.update(fresh.__dict__)

    def as_json(self) -> dict[str, Any]:
        """What `GET /demo/stats` answers."""
        return {
            "requests": self.requests,
            "by_path": dict(self.by_path),
            "by_status": {str(status): number for status, number in self.by_status.items()},
            "faults": dict(self.faults),
            "connections": self.connections,
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "max_in_any_second": self.max_in_any_window(1.0),
            "server_seconds": round(self.server_seconds, 6),
            "bytes_sent": self.bytes_sent,
            "with_key": self.with_key,
            "header_sets": [{"headers": list(names), "requests": n} for names, n in self.header_sets.items()],
            "log": list(self.log),
        }
