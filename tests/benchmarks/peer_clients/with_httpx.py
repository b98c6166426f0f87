"""httpx.AsyncClient and gather: the first page says how many there are, the others are fetched at once."""

import asyncio
import json
import math
import sys
from pathlib import Path
from typing import Any

import httpx  # type: ignore[import-not-found, unused-ignore]

url, email, key, directory = sys.argv[1:]


async def fetch(client: Any, limit: asyncio.Semaphore, name: str, page: int) -> Any:
    async with limit:
        response = await client.get(f"/member-api/v3/{name}", params={"page": page, "per_page": 1000})
    response.raise_for_status()
    return response.json()


async def everything() -> None:
    headers = {"X-Pharos-API-User": email, "X-Pharos-API-Key": key}
    limit = asyncio.Semaphore(8)
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as client:
        for name in ("objects", "files", "events"):
            first = await fetch(client, limit, name, 1)
            pages = range(2, math.ceil(first["count"] / 1000) + 1)
            answers = [first, *await asyncio.gather(*(fetch(client, limit, name, page) for page in pages))]
            with (Path(directory) / f"{name}.ndjson").open("w") as out:
                for answer in answers:
                    out.writelines(json.dumps(row) + "\n" for row in answer["results"] or [])


asyncio.run(everything())
