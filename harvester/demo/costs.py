"""What a request costs the real server, in seconds of its cores: figures measured on it, as a formula."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """The cost of requests; all figures in seconds on one of `cores` cores.

    `floor` is the bcrypt check of the key, paid by every request. `scale` stretches the time a request really holds a
    core: 1.0 as slow as the real server, 0.0 only adds it up in the stats.
    """

    cores: int = 2
    floor: float = 0.070
    per_row_file: float = 26e-6
    per_row_event: float = 25e-6
    per_row_checksum: float = 33e-6
    per_row_other: float = 25e-6
    per_skipped_file: float = 15e-6
    # Inside one object the planner walks another index: dearer a row.
    per_skipped_file_of_object: float = 22e-6
    per_skipped_event: float = 2e-6
    per_skipped_checksum: float = 1.1e-6
    per_skipped_other: float = 2e-6
    per_counted_row: float = 0.37e-6
    scale: float = 1.0

    def page(self, resource: str, *, skipped: int, rows: int, counted: int = 0, of_object: bool = False) -> float:
        """Seconds for one page: rows given, rows skipped by the offset, rows counted for an exact `count`."""
        per_row, per_skipped = {
            "files": (self.per_row_file, self.per_skipped_file_of_object if of_object else self.per_skipped_file),
            "events": (self.per_row_event, self.per_skipped_event),
            "checksums": (self.per_row_checksum, self.per_skipped_checksum),
        }.get(resource, (self.per_row_other, self.per_skipped_other))
        return self.floor + rows * per_row + skipped * per_skipped + counted * self.per_counted_row
