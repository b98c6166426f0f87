"""The library as a notebook uses it: the example of the README, run as a script."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

from harvester.demo import DemoRegistry, records
from tests.cli.conftest import environment

EXAMPLE = """\
import asyncio
from collections import Counter

from harvester import RESOURCES, RegistryClient, credentials, listed, load_settings, parse_filters


async def formats(*filters):
    settings, files = load_settings(), RESOURCES["files"]
    async with RegistryClient(settings, credentials(settings)) as client:
        pages = listed(client, files, parse_filters(files, filters))
        return Counter([file["file_format"] async for page in pages for file in page])


print(asyncio.run(formats("state=A")).most_common())  # in a notebook: await formats("state=A")
"""


def test_the_example(registry: DemoRegistry, database: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", EXAMPLE],
        cwd=tmp_path,
        env=environment(registry, HARVESTER_PER_PAGE="20"),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stderr == ""
    held = Counter(row["file_format"] for row in records(database, "files") if row["state"] == "A")
    assert dict(ast.literal_eval(done.stdout)) == held
