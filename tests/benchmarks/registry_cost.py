"""What a harvest costs the Registry: `python -m tests.benchmarks.registry_cost [PERCENT…]` (default 10 100 1000).

5,000 objects, 150,000 files, 750,000 events, a heavy tail, one object of 30,000 files; server seconds by the demo's
cost model (2 cores, figures of the real server) and requests of (a) a client that follows `next` over the three lists
by id, (b) the per-object strategy, (c) the sweep. The floor is every list in full pages at offset 0, without counts.

Up to 100 % all three are run against the demo server, which only adds the cost up. Above that (a) and (b) are reckoned
from the known rows (as a check, also at 100 %), and the sweep's own scheduler walks the real times without HTTP.
`sweep PERCENT…` reckons all three at any size, which takes seconds.
`real SCALE` instead runs (b) and (c) at 10 % with requests that really hold a core for SCALE of their cost.

The sweep's excess over full pages is told by reason: it follows exactly from which rows each request brought.
"""

from __future__ import annotations

import asyncio
import http.client
import shutil
import sqlite3
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import orjson

from harvester.demo import API_KEY, EMAIL, OWN_INSTITUTION, Cost
from harvester.harvest.sweep import SPARE_LANES
from harvester.registry import Page, Record, Resource
from harvester.registry.resources import EVENTS, FILES, RESOURCES, format_time, parse_time
from harvester.registry.windows import EPOCH, FIRST, LAST, MICROSECOND, Sweep, Window, micros
from tests.benchmarks.serving import SCRATCH, CollectionSpec, database, environment, measured, post, served, stats
from tests.benchmarks.table import Row, at_most, show

PER_PAGE = 1000
CONCURRENCY = 8
LANES = CONCURRENCY + SPARE_LANES
COST = Cost(scale=0.0)
LISTS = ("objects", "files", "events")
PLACE = "/member-api/v3/"


def spec_of(percent: int) -> CollectionSpec:
    """The collection, scaled: objects and the largest of them."""
    return CollectionSpec(
        seed=4,
        objects=50 * percent,
        files_per_object=25.0,
        largest_object=300 * percent,
        events_per_file=5,
        work_items=0,
        checksums=0,
    )


@dataclass(frozen=True)
class Spent:
    """Requests, and seconds of the server's."""

    requests: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.requests:,} requests, {self.seconds:,.1f} s"


@dataclass(frozen=True)
class Known:
    """What the database knows of the rows: how many there are, how they lie in time and in objects."""

    path: Path

    def _column(self, statement: str) -> array[int]:
        with closing(sqlite3.connect(self.path)) as connection:
            return array("q", (row[0] for row in connection.execute(statement, (OWN_INSTITUTION,))))

    @cached_property
    def rows(self) -> dict[str, int]:
        """Rows by list."""
        return {name: self._column(f"SELECT count(*) FROM {name} WHERE institution_id = ?")[0] for name in LISTS}

    @cached_property
    def times(self) -> dict[str, array[int]]:
        """The dates of files and events, in order."""
        statement = "SELECT {1} FROM {0} WHERE institution_id = ? AND {1} IS NOT NULL ORDER BY {1}"
        return {r.path: self._column(statement.format(r.path, r.time_field)) for r in (FILES, EVENTS)}

    @cached_property
    def halves(self) -> dict[str, tuple[int, int]]:
        """Rows, and undated ones, of the events of objects themselves ("true") and of files ("false")."""
        found = {}
        for value, null in (("true", "IS NULL"), ("false", "IS NOT NULL")):
            whole = f"SELECT count(*) FROM events WHERE institution_id = ? AND generic_file_id {null}"
            found[value] = (self._column(whole)[0], self._column(f"{whole} AND date_time IS NULL")[0])
        return found

    def in_objects(self, name: str) -> array[int]:
        """How many rows each object has that has any."""
        return self._column(f"SELECT count(*) FROM {name} WHERE institution_id = ? GROUP BY intellectual_object_id")

    @property
    def pages(self) -> int:
        """Full pages that hold all rows."""
        return sum(-(-rows // PER_PAGE) for rows in self.rows.values())

    @property
    def floor(self) -> float:
        """Seconds for those pages at offset 0."""
        return sum(
            COST.page(name, skipped=0, rows=min(PER_PAGE, rows - first))
            for name, rows in self.rows.items()
            for first in range(0, rows, PER_PAGE)
        )

    def naive(self) -> Spent:
        """Following `next` over the three lists, by the cost model."""
        seconds = sum(
            COST.page(name, skipped=first, rows=min(PER_PAGE, rows - first))
            for name, rows in self.rows.items()
            for first in range(0, rows, PER_PAGE)
        )
        return Spent(self.pages, seconds)

    def per_object(self) -> Spent:
        """Every object's two lists, each walked until a page is short, by the cost model."""
        count = self.rows["objects"]
        requests, seconds = 0, 0.0
        for first in range(0, count + 1, PER_PAGE):
            requests += 1
            seconds += COST.page("objects", skipped=first, rows=min(PER_PAGE, count - first), counted=count)
        for name in ("files", "events"):
            held = self.in_objects(name)
            for rows in (*held, *([0] * (count - len(held)))):
                for first in range(0, rows + 1, PER_PAGE):
                    requests += 1
                    found = min(PER_PAGE, rows - first)
                    seconds += COST.page(name, skipped=first, rows=found, counted=rows, of_object=True)
        return Spent(requests, seconds)


@dataclass
class Reasons:
    """What each request of a sweep brought: where the pages and the seconds beyond the floor come from."""

    known: Known
    requests: Counter[str] = field(default_factory=Counter)
    unfilled: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    repeated: int = 0
    deep: int = 0
    _seen: dict[str, bytearray] = field(default_factory=dict)

    def line(self, line: str) -> None:
        """A request as the server logged it."""
        parts = urlsplit(line)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        name = parts.path.removeprefix(PLACE)
        size = int(query["per_page"])
        skipped = (int(query["page"]) - 1) * size
        half = query.get("generic_file_id__is_null", "")
        field_name = EVENTS.time_field if name == "events" else FILES.time_field
        if f"{field_name}__gteq" in query and name in self.known.times:
            window = Window(
                RESOURCES[name],
                _moment(query[f"{field_name}__gteq"]),
                _moment(query[f"{field_name}__lteq"]),
                backwards=query["sort"].endswith("__desc"),
            )
            self.window(window, skipped)
        elif size == 1:
            count = self.known.halves[half][0] if half else self.known.rows[name]
            self._add("plan", name, 0, 1, count)
        elif half:
            # The page is full of whatever comes first: only its undated rows are new.
            count, undated = self.known.halves[half]
            self._add("undated scan", name, skipped, min(PER_PAGE, count - skipped), count)
            self.unfilled["undated scan"] += max(0, PER_PAGE - max(0, undated - skipped))
        elif "updated_at__gteq" in query:
            self._add("reconciliation", name, 0, 0, 0)
        else:
            self._add("objects", name, skipped, min(PER_PAGE, self.known.rows[name] - skipped), self.known.rows[name])

    def window(self, window: Window, skipped: int) -> range:
        """A page of a window: the places of its rows among all that have a date."""
        name = window.resource.path
        times = self.known.times[name]
        first, last = bisect_left(times, window.since), bisect_right(times, window.until)
        begin, end = min(last, first + skipped), min(last, first + skipped + PER_PAGE)
        if window.backwards:
            begin, end = max(first, last - skipped - PER_PAGE), max(first, last - skipped)
        seen = self._seen.setdefault(name, bytearray(len(times)))
        self.repeated += seen.count(1, begin, end)
        seen[begin:end] = b"\1" * (end - begin)
        self.unfilled["window ends"] += PER_PAGE - (end - begin)
        self.deep += skipped >= 4 * PER_PAGE
        self._add("windows", name, skipped, end - begin, last - first)
        return range(begin, end)

    def _add(self, kind: str, name: str, skipped: int, rows: int, counted: int) -> None:
        self.requests[kind] += 1
        self.seconds["keys"] += COST.floor
        self.seconds["rows"] += COST.page(name, skipped=0, rows=rows) - COST.floor
        self.seconds["skipped rows"] += COST.page(name, skipped=skipped, rows=0) - COST.floor
        self.seconds["counted rows"] += counted * COST.per_counted_row

    @property
    def spent(self) -> Spent:
        """All of it."""
        return Spent(self.requests.total(), sum(self.seconds.values()))

    def __str__(self) -> str:
        pages = {
            "plan": self.requests["plan"],
            "reconciliation": self.requests["reconciliation"],
            "undated scan": self.unfilled["undated scan"] / PER_PAGE,
            "window ends": self.unfilled["window ends"] / PER_PAGE,
            "repeats": self.repeated / PER_PAGE,
        }
        extra = ", ".join(f"{name} {number:.1f}" for name, number in pages.items())
        spent = ", ".join(f"{name} {number:.1f} s" for name, number in self.seconds.items())
        return f"pages beyond rows/1000: {extra}; {self.deep} pages deeper than 4,000 rows; {spent}"


def rows(arguments: Sequence[str] = ()) -> Iterator[Row]:
    """Each size."""
    if arguments and arguments[0] == "real":
        yield from _really(float(arguments[1]))
        return
    reckoned = "sweep" in arguments
    for percent in [int(argument) for argument in arguments if argument != "sweep"] or [10, 100, 1000]:
        yield from _at(percent, run=percent <= 100 and not reckoned)


def _at(percent: int, *, run: bool) -> Iterator[Row]:
    path = database(spec_of(percent))
    known = Known(path)
    name = f"registry cost at {percent} %"
    counts = ", ".join(f"{count:,} {what}" for what, count in known.rows.items())
    yield Row(f"{name}: floor", f"{Spent(known.pages, known.floor)} ({counts})")
    reasons = Reasons(known)
    if run:
        with served(path) as url:
            naive = _follow_next(url)
            per_object, _ = _harvest(url, "per-object")
            sweep, log = _harvest(url, "sweep")
        for line in log:
            reasons.line(line)
        how = "run"
        assert abs(reasons.spent.seconds - sweep.seconds) < 0.02 * sweep.seconds, reasons
    else:
        naive, per_object, how = known.naive(), known.per_object(), "reckoned"
        asyncio.run(_simulated(known, reasons))
        sweep = reasons.spent
    yield Row(f"{name}: following next, {how}", _against(naive, known))
    yield Row(f"{name}: per-object, {how}", _against(per_object, known))
    yield Row(f"{name}: sweep, {how if run else 'scheduler over the real times'}", _against(sweep, known))
    yield Row(f"{name}: sweep's excess", str(reasons))
    if run:
        simulated = Reasons(known)
        asyncio.run(_simulated(known, simulated))
        check = f"next {known.naive()}; per-object {known.per_object()}; sweep {simulated.spent}"
        yield Row(f"{name}: the same reckoned without HTTP", check)
    yield at_most(f"{name}: sweep requests / full pages", sweep.requests / known.pages, 1.06)
    yield at_most(f"{name}: sweep server time / floor", sweep.seconds / known.floor, 1.2)
    yield at_most(f"{name}: sweep server time / per-object's", sweep.seconds / per_object.seconds, 0.2)


def _against(spent: Spent, known: Known) -> str:
    return f"{spent} ({spent.requests / known.pages:.2f} × pages, {spent.seconds / known.floor:.2f} × floor)"


def _follow_next(url: str) -> Spent:
    """What a careful script does, but for the lies of `count`."""
    post(url, "stats/reset")
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    for name in LISTS:
        target = f"{PLACE}{name}?page=1&per_page={PER_PAGE}&sort=id__asc"
        while target:
            connection.request("GET", target, headers={"X-Pharos-API-User": EMAIL, "X-Pharos-API-Key": API_KEY})
            target = orjson.loads(connection.getresponse().read())["next"]
    connection.close()
    return _spent(url)


def _harvest(url: str, strategy: str) -> tuple[Spent, list[str]]:
    post(url, "stats/reset")
    output = SCRATCH / "registry-cost"
    shutil.rmtree(output, ignore_errors=True)
    command = ["harvest", "--quiet", "--strategy", strategy, "--output", str(output)]
    done = measured(command, environment(url, HARVESTER_CONCURRENCY=str(CONCURRENCY)), SCRATCH)
    assert done.code == 0
    shutil.rmtree(output)
    return _spent(url), stats(url)["log"]


def _spent(url: str) -> Spent:
    seen = stats(url)
    return Spent(seen["requests"], seen["server_seconds"])


async def _simulated(known: Known, reasons: Reasons) -> None:
    """The sweep's own scheduler over the real times, every answer taking one turn of the loop."""

    async def ask(window: Window, number: int) -> Page:
        times = known.times[window.resource.path]
        places = reasons.window(window, (number - 1) * PER_PAGE)
        count = bisect_right(times, window.until) - bisect_left(times, window.since)
        name = window.resource.time_field
        rows: list[Record] = [{"id": n + 1, name: format_time(EPOCH + times[n] * MICROSECOND)} for n in places]
        if window.backwards:
            rows.reverse()
        await asyncio.sleep(0)
        return Page(rows, count, exact=True, has_next=number * PER_PAGE < count, answered_at=datetime.now(UTC))

    async def take(resource: Resource, rows: Sequence[Record]) -> None:
        pass

    now = micros(datetime.now(UTC))
    windows = [Window(r, *ends) for r in (FILES, EVENTS) for ends in ((FIRST, now), (now + 1, LAST))]
    for half in ("true", "false"):
        for page in range(known.halves[half][1] // PER_PAGE + 1):
            reasons.line(f"{PLACE}events?generic_file_id__is_null={half}&page={page + 1}&per_page={PER_PAGE}")
        reasons.line(f"{PLACE}events?generic_file_id__is_null={half}&page=1&per_page=1")
    for page in range(known.rows["objects"] // PER_PAGE + 1):
        reasons.line(f"{PLACE}objects?page={page + 1}&per_page={PER_PAGE}")
    reasons.line(f"{PLACE}objects?page=1&per_page=1")
    reasons.line(f"{PLACE}files?page=1&per_page=1")
    reasons.line(f"{PLACE}objects?updated_at__gteq=x&page=1&per_page={PER_PAGE}")
    await Sweep(ask, take, PER_PAGE, LANES, deque(windows)).run()


def _really(scale: float) -> Iterator[Row]:
    """Requests that hold a core for a share of their cost: do the seconds saved show on the clock?"""
    with served(database(spec_of(10)), cost_scale=scale) as url:
        for strategy in ("per-object", "sweep"):
            post(url, "stats/reset")
            output = SCRATCH / "registry-cost"
            shutil.rmtree(output, ignore_errors=True)
            command = ["harvest", "--quiet", "--strategy", strategy, "--output", str(output)]
            done = measured(command, environment(url), SCRATCH)
            spent = _spent(url)
            ideal = spent.seconds * scale / COST.cores
            yield Row(
                f"registry cost at 10 %, waiting {scale:g} of it, {strategy}",
                f"{spent}; {done.wall:.2f} s wall, {done.wall / ideal:.2f} × server seconds × scale / cores",
            )


def _moment(text: str) -> int:
    moment = parse_time(text)
    assert moment is not None
    return micros(moment)


if __name__ == "__main__":
    show(rows(sys.argv[1:]))
