"""At least 100 SIGKILLs: `python -m tests.benchmarks.kills [KILLS [SEED]]`. Exits 1 if a single byte differs."""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.serving import CollectionSpec, database, environment, measured, served
from tests.killing import harvest_and_kill
from tests.support import as_dumped, as_held, data_bytes, difference

SPEC = CollectionSpec(seed=77, objects=250, files_per_object=8.0, largest_object=1500, events_per_file=3)
OFTEN = {"HARVESTER_CHECKPOINT_BYTES": "200000", "HARVESTER_CHECKPOINT_OBJECTS": "10", "HARVESTER_RATE": "150"}
LISTS = ("--resources", "objects,files,events,items,checksums,deletions,alerts")


def main() -> None:
    """Kill, compare, print."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    chance = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 2026)
    path = database(SPEC)
    held = as_held(path, ("objects", "files", "events", "work_items", "checksums", "deletions", "alerts"))
    kills = partial = harvests = 0
    began = time.monotonic()
    with served(path) as url, tempfile.TemporaryDirectory() as scratch:
        env = environment(url, **OFTEN)
        while kills < wanted:
            compression = ("--compression", chance.choice(["none", "gzip", "zstd"]))
            plain = measured(
                ["harvest", "--quiet", *LISTS, *compression], {**env, "HARVESTER_RATE": "9999"}, Path(scratch)
            )
            undisturbed = Path(scratch) / plain.stdout.strip()
            killed = harvest_and_kill(Path(scratch), env, chance, longest=2.0, arguments=(*LISTS, *compression))
            kills, partial, harvests = kills + killed.kills, partial + killed.partial, harvests + 1
            differs = data_bytes(killed.dump) != data_bytes(undisturbed) or difference(as_dumped(killed.dump), held)
            if differs:
                print(f"harvest {harvests} differs: {differs}")
                sys.exit(1)
            shutil.rmtree(Path(scratch) / "out")
            shutil.rmtree(Path(scratch) / "inventories")
    print(
        f"{kills} kills ({partial} left a partial dump) over {harvests} harvests in {time.monotonic() - began:.0f} s:"
        " 0 differing bytes"
    )


if __name__ == "__main__":
    main()
