"""How fast `verify` is, against a bare sha256 of the same files in the same run, and how much memory it takes.

    python -m tests.benchmarks.verify_speed [--files 300000] [--compression none]

Prints one JSON object. Each measurement is the best of three, each peak RSS that of a process of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from harvester.dump import Codec, Pace, lines_of, read_manifest, verify
from tests.dump.synthetic import Collection, Harvest

FILES_PER_OBJECT = 30
ROUNDS = 3


def make(output: Path, files: int, codec: Codec) -> Path:
    collection = Collection(objects=files // FILES_PER_OBJECT, files=FILES_PER_OBJECT, events=3)
    return Harvest(collection, codec, Pace(8 << 20, 200)).run(output)


def best(work: Callable[[], object]) -> float:
    def once() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return min(once() for _ in range(ROUNDS))


def sha256(directory: Path) -> None:
    for path in directory.iterdir():
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256")


def parse(directory: Path) -> None:
    for path in directory.glob("*.ndjson*"):
        for _ in lines_of(path):
            pass


def sound(directory: Path, *, deep: bool) -> None:
    verdict = verify(directory, deep=deep)
    assert verdict.sound, verdict.damages


def peak_rss(directory: Path, *options: str) -> float:
    """MiB, of a process that does nothing but verify."""
    command = [sys.executable, "-m", "tests.benchmarks.verify_speed", "--only-verify", str(directory), *options]
    return round(float(subprocess.run(command, capture_output=True, check=True, text=True).stdout), 1)


def measure(output: Path, files: int, codec: Codec) -> dict[str, object]:
    directory = make(output, files, codec)
    summaries = read_manifest(directory).files.values()
    size, plain = sum(s.bytes for s in summaries), sum(s.ndjson_bytes for s in summaries)
    sha, lines = best(lambda: sha256(directory)), best(lambda: parse(directory))
    usual, deep = best(lambda: sound(directory, deep=False)), best(lambda: sound(directory, deep=True))
    return {
        "files": files,
        "compression": codec.value,
        "lines": sum(s.records for s in summaries),
        "MB": round(plain / 1e6, 1),
        "MB on disk": round(size / 1e6, 1),
        "verify MB/s": round(plain / usual / 1e6),
        "verify --deep MB/s": round(plain / deep / 1e6),
        "only parsing each line MB/s": round(plain / lines / 1e6),
        "bare sha256 MB/s on disk": round(size / sha / 1e6),
        "peak RSS MiB": peak_rss(directory),
        "peak RSS --deep MiB": peak_rss(directory, "--deep"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, action="append")
    parser.add_argument("--compression", choices=[codec.value for codec in Codec], action="append")
    parser.add_argument("--only-verify", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--deep", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.only_verify:
        sound(chosen.only_verify, deep=chosen.deep)
        # ru_maxrss would begin with what the parent process had when it forked.
        status = Path("/proc/self/status").read_text()
        print(int(status.split("VmHWM:")[1].split()[0]) / 1024)
        return
    for files in chosen.files or (10_000, 300_000):
        for name in chosen.compression or ("none",):
            with tempfile.TemporaryDirectory() as output:
                print(json.dumps(measure(Path(output), files, Codec(name))), flush=True)


if __name__ == "__main__":
    main()
