"""The whole table: `python -m tests.benchmarks [--quick] [PART…]`. Exits 1 if a goal is missed or a part fails.

The parts: own_cost waiting registry_cost peers memory listing durability soak. Half an hour on two cores once their
databases are made, which are kept, and 5 GB under the temporary directory; `--quick` takes one run and the smallest
size of each, which shows that they work and little more. Each part alone, with its own arguments:
`python -m tests.benchmarks.PART`.
"""

from __future__ import annotations

import platform
import sys
import time
import traceback
from collections.abc import Iterator, Sequence

from tests.benchmarks import durability, listing, memory, own_cost, peers, registry_cost, soak, waiting
from tests.benchmarks.table import Row, Rows, show

PARTS: dict[str, tuple[Rows, Sequence[str]]] = {
    "own_cost": (own_cost.rows, ["1"]),
    "waiting": (waiting.rows, ["1"]),
    "registry_cost": (registry_cost.rows, ["10"]),
    "peers": (peers.rows, ["1"]),
    "memory": (memory.rows, ["10000", "20000"]),
    "listing": (listing.rows, ["20000"]),
    "durability": (durability.rows, ["1"]),
    "soak": (soak.rows, ["5000"]),
}
"""Each part, and its arguments when it must be quick."""


def _table(wanted: Sequence[str], *, quick: bool) -> Iterator[Row]:
    began = time.monotonic()
    for part in wanted:
        rows, arguments = PARTS[part]
        since = time.monotonic()
        try:
            yield from rows(arguments if quick else ())
        except Exception as error:  # the others are worth having all the same
            traceback.print_exc()
            yield Row(f"{part}: failed", f"{type(error).__name__}: {' '.join(str(error).split())}"[:200], "", False)
        yield Row(f"{part}: time taken", f"{time.monotonic() - since:.0f} s")
    yield Row("all: time taken", f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    asked = [argument for argument in sys.argv[1:] if argument != "--quick"]
    if unknown := set(asked) - PARTS.keys():
        sys.exit(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    print(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}\n")
    sys.exit(not show(_table(asked or list(PARTS), quick="--quick" in sys.argv)))
