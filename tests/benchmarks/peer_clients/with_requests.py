"""A sequential script with requests."""

import json
import sys
from pathlib import Path
from urllib.parse import urljoin

import requests  # type: ignore[import-untyped, import-not-found, unused-ignore]

url, email, key, directory = sys.argv[1:]
session = requests.Session()
session.headers.update({"X-Pharos-API-User": email, "X-Pharos-API-Key": key})
for name in ("objects", "files", "events"):
    with (Path(directory) / f"{name}.ndjson").open("w") as out:
        page = f"{url}/member-api/v3/{name}?per_page=1000"
        while page:
            response = session.get(page, timeout=60)
            response.raise_for_status()
            answer = response.json()
            for row in answer["results"] or []:
                out.write(json.dumps(row) + "\n")
            page = urljoin(url, answer["next"]) if answer["next"] else ""
