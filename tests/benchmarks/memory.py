"""Peak memory of a harvest, and how it grows with the collection: `python -m tests.benchmarks.memory [FILES…]`.

Each harvest is a process of its own against a server in another; its peak resident set is what the kernel says.
"""

from __future__ import annotations

import shutil
import sys

from tests.benchmarks.serving import SCRATCH, CollectionSpec, database, environment, measured, served


def main() -> None:
    """Measure and print."""
    sizes = [int(argument) for argument in sys.argv[1:]] or [20_000, 1_000_000]
    peaks = []
    for files in sizes:
        spec = CollectionSpec(seed=1, objects=files // 50, files_per_object=45.0, largest_object=files // 10)
        with served(database(spec)) as url:
            output = SCRATCH / "memory"
            done = measured(["harvest", "--quiet", "--output", str(output)], environment(url), SCRATCH)
            shutil.rmtree(output)
        assert done.code == 0
        peaks.append(done.rss)
        print(
            f"{files:>9,} files: {done.rss:6.1f} MiB peak RSS, {done.wall:6.1f} s wall, {done.cpu:6.1f} s CPU",
            flush=True,
        )
    print(f"largest against smallest: {max(peaks) / min(peaks):.3f}")


if __name__ == "__main__":
    main()
