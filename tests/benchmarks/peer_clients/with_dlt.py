"""dlt's rest_api source, parallelised, into the filesystem destination as JSON lines."""

import os
import sys
from typing import Any

url, email, key, directory = sys.argv[1:]
os.environ |= {
    "DLT_DATA_DIR": f"{directory}/.dlt",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "DATA_WRITER__DISABLE_COMPRESSION": "true",
    "NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION": "true",
}

import dlt  # type: ignore[import-not-found, unused-ignore]  # noqa: E402
from dlt.sources.helpers.rest_client.paginators import JSONLinkPaginator  # type: ignore  # noqa: E402
from dlt.sources.rest_api import rest_api_source  # type: ignore[import-not-found, unused-ignore]  # noqa: E402


class Next(JSONLinkPaginator):  # type: ignore[misc, unused-ignore]
    """The stock paginator takes the `""` on the last page for an address and fails on it."""

    def update_state(self, response: Any, data: Any = None) -> None:
        super().update_state(response, data)
        self._next_reference: str | None = getattr(self, "_next_reference", None) or None


source = rest_api_source(
    {
        "client": {
            "base_url": f"{url}/member-api/v3/",
            "headers": {"X-Pharos-API-User": email, "X-Pharos-API-Key": key},
            "paginator": Next("next"),
        },
        "resource_defaults": {
            "primary_key": "id",
            "parallelized": True,
            "endpoint": {"params": {"per_page": 1000}, "data_selector": "results"},
        },
        "resources": ["objects", "files", "events"],
    }
)
pipeline = dlt.pipeline(
    "registry",
    pipelines_dir=f"{directory}/.pipelines",
    destination=dlt.destinations.filesystem(f"file://{directory}"),
    dataset_name="inventory",
)
pipeline.run(source, loader_file_format="jsonl")
