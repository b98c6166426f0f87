"""Peak memory of a harvest, and how it grows with the collection: `python -m tests.benchmarks.memory [FILES…]`.

Each harvest is a process of its own against a server in another; its peak resident set is what the kernel says.
Both strategies. Without arguments 10,000, 100,000 and 1,000,000 files.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence

from tests.benchmarks.serving import SCRATCH, CollectionSpec, database, environment, measured, served
from tests.benchmarks.table import Row, at_most, show


def rows(arguments: Sequence[str] = ()) -> Iterator[Row]:
    """Measure each size by each strategy."""
    sizes = [int(argument) for argument in arguments] or [10_000, 100_000, 1_000_000]
    peaks: dict[str, list[float]] = {"per-object": [], "sweep": []}
    output = SCRATCH / "memory"
    for files in sizes:
        spec = CollectionSpec(seed=1, objects=files // 50, files_per_object=45.0, largest_object=files // 10)
        for strategy, found in peaks.items():
            shutil.rmtree(output, ignore_errors=True)
            with served(database(spec)) as url:
                command = ["harvest", "--quiet", "--strategy", strategy, "--output", str(output)]
                done = measured(command, environment(url), SCRATCH)
            shutil.rmtree(output)
            assert done.code == 0
            found.append(done.rss)
            note = f"{done.wall:.1f} s wall, {done.cpu:.1f} s CPU"
            yield at_most(f"memory, {files:,} files, {strategy}: peak RSS", done.rss, 150, note, " MiB")
    for strategy, found in peaks.items():
        yield at_most(f"memory, {strategy}: largest against smallest peak", max(found) / min(found), 1.15)


if __name__ == "__main__":
    show(rows(sys.argv[1:]))
