"""Peak memory of a list, and how it grows: `python -m tests.benchmarks.listing [EVENTS…]`.

`harvester list events` in a process of its own against a server in another; its peak resident set is what the kernel
says. In both orders: by id, and newest first, where the ids that were seen are remembered. All lines are counted.
Without arguments 20,000 and 1,000,000 events.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.benchmarks.serving import PROGRAM, SCRATCH, CollectionSpec, database, environment, served, stats, watched
from tests.benchmarks.table import Row, at_most, show

ORDERS = {"by id": (), "newest first": ("--sort", "date_time__desc", "--limit", "200000")}
"""The demo sorts all events again for each page of the second."""


def rows(arguments: Sequence[str] = ()) -> Iterator[Row]:
    """Measure each size in each order."""
    sizes = [int(argument) for argument in arguments] or [20_000, 1_000_000]
    peaks: dict[str, list[float]] = {order: [] for order in ORDERS}
    for events in sizes:
        spec = CollectionSpec(seed=1, objects=events // 120, files_per_object=45.0, events_per_file=4)
        with served(database(spec)) as url:
            for order, flags in ORDERS.items():
                before = stats(url)["requests"]
                began = time.perf_counter()
                lines, peak = listed(url, *flags)
                wall, requests = time.perf_counter() - began, stats(url)["requests"] - before
                peaks[order].append(peak)
                note = f"{lines:,} lines, {requests:,} requests, {wall:.1f} s"
                yield at_most(f"list, {events:,} events, {order}: peak RSS", peak, 100, note, " MiB")
                yield at_most(f"list, {events:,} events, {order}: requests", requests, lines // 1000 + 4)
    for order, found in peaks.items():
        yield at_most(f"list, {order}: largest against smallest peak", max(found) / min(found), 1.15)


def listed(url: str, *flags: str) -> tuple[int, float]:
    """Lines that came, and the peak resident memory in MiB of the process that gave them."""
    command = [*PROGRAM, "list", "events", *flags]
    with subprocess.Popen(command, env=environment(url), cwd=SCRATCH, stdout=subprocess.PIPE) as process:
        stdout = process.stdout
        assert stdout is not None
        with ThreadPoolExecutor(1) as reader:
            lines = reader.submit(lambda: sum(piece.count(b"\n") for piece in iter(lambda: stdout.read(1 << 20), b"")))
            _, peak = watched(process)
    assert process.returncode == 0
    return lines.result(), peak


if __name__ == "__main__":
    show(rows(sys.argv[1:]))
