"""The whole table: `python -m tests.benchmarks [PART…]`, the parts being those below.

About half an hour on two cores, and 5 GB under the temporary directory. Each part alone: `python -m
tests.benchmarks.PART`.
"""

from __future__ import annotations

import platform
import sys

from tests.benchmarks import durability, listing, memory, own_cost, peers, registry_cost, soak, waiting
from tests.benchmarks.table import Rows, show

PARTS: dict[str, Rows] = {
    "own_cost": own_cost.rows,
    "waiting": waiting.rows,
    "registry_cost": registry_cost.rows,
    "peers": peers.rows,
    "memory": memory.rows,
    "listing": listing.rows,
    "durability": durability.rows,
    "soak": soak.rows,
}

if __name__ == "__main__":
    wanted = sys.argv[1:] or list(PARTS)
    print(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}\n")
    show(row for part in wanted for row in PARTS[part](()))
