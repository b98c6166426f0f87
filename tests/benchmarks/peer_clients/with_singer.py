"""A tap made with the singer-sdk; its messages go to a file, from which a target would load them."""

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from singer_sdk import RESTStream, Tap  # type: ignore[import-not-found, unused-ignore]
from singer_sdk import typing as th
from singer_sdk.pagination import BaseHATEOASPaginator  # type: ignore[import-not-found, unused-ignore]

url, email, key, directory = sys.argv[1:]

COLUMNS = {
    "objects": "title description identifier alt_identifier access bag_name created_at updated_at state etag"
    " bag_group_identifier storage_option bagit_profile_identifier source_organization internal_sender_identifier"
    " internal_sender_description institution_name institution_identifier institution_type",
    "files": "file_format identifier object_identifier access state last_fixity_check institution_name"
    " institution_identifier storage_option uuid mtime md5 sha1 sha256 sha512 created_at updated_at",
    "events": "agent created_at date_time detail event_type generic_file_identifier identifier institution_name"
    " intellectual_object_identifier object old_uuid outcome outcome_detail outcome_information updated_at",
}
NUMBERS = {
    "objects": "id institution_id institution_parent_id file_count size payload_file_count payload_size",
    "files": "id size intellectual_object_id institution_id",
    "events": "id generic_file_id institution_id intellectual_object_id",
}


class Next(BaseHATEOASPaginator):  # type: ignore[misc, unused-ignore]
    def get_next_url(self, response: Any) -> Any:
        return response.json()["next"] or None


class RegistryStream(RESTStream):  # type: ignore[misc, unused-ignore]
    url_base = f"{url}/member-api/v3"
    records_jsonpath = "$.results[*]"
    primary_keys = ("id",)

    @property
    def http_headers(self) -> Mapping[str, str]:
        return {"X-Pharos-API-User": email, "X-Pharos-API-Key": key}

    def get_new_paginator(self) -> Next:
        return Next()

    def get_url_params(self, context: Any, next_page_token: Any) -> dict[str, Any]:
        return dict(parse_qsl(next_page_token.query)) if next_page_token else {"per_page": 1000}


def stream(name: str) -> type[RegistryStream]:
    properties = [
        *(th.Property(column, th.IntegerType) for column in NUMBERS[name].split()),
        *(th.Property(column, th.StringType) for column in COLUMNS[name].split()),
    ]
    schema = th.PropertiesList(*properties).to_dict()
    return type(name, (RegistryStream,), {"name": name, "path": f"/{name}", "schema": schema})


class TapRegistry(Tap):  # type: ignore[misc, unused-ignore]
    name = "tap-registry"
    config_jsonschema = th.PropertiesList().to_dict()

    def discover_streams(self) -> list[Any]:
        return [stream(name)(self) for name in COLUMNS]


with (Path(directory) / "messages.singer").open("w") as out, contextlib.redirect_stdout(out):
    TapRegistry(config={}).sync_all()
