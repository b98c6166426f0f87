"""A Registry that answers from a script: what the real one says (wire.md), word for word where it matters."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import Mock

import aiohttp
import orjson
from aioresponses import CallbackResult, aioresponses
from pydantic import SecretStr

from harvester.config import Credentials, Settings, load_settings
from harvester.registry import BY_ID, RESOURCES, Page, RegistryClient
from tests.registry.jumping import now

KEY = "S3cret-Key-0f-A-Member"
EMAIL = "Librarian@example.edu"
URL = "https://repo.example.org"
DATE = "Mon, 23 Nov 2026 02:00:00 GMT"

MAINTENANCE_BODY = b'{"Error":"APTrust Registry is currently undergoing maintenance.","StatusCode":"503"}'
BAD_CREDENTIALS = b'{"Error":"API credentials are missing or invalid.","StatusCode":401}'
POOL_TIMEOUT = b'{"StatusCode":500,"Error":"pg: connection pool timeout"}'


class _Response(aiohttp.ClientResponse):
    """aioresponses 0.7.9 does not know the argument that aiohttp 3.14 has added."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("stream_writer", Mock())
        super().__init__(*args, **kwargs)


@dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


def rows(*ids: int, count: int | None = None, **more: Any) -> Answer:
    """A page of a list, as the Registry answers it."""
    results = [{"id": number} for number in ids] or None
    content = {"count": len(ids) if count is None else count, "next": "", "previous": "", "results": results}
    return Answer(body=orjson.dumps(content | more))


def web_page(status: int, **headers: str) -> Answer:
    """A page for people."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, b"<!DOCTYPE html><title>Just a moment...</title>", named, "text/html; charset=UTF-8")


def redirect(location: str, **headers: str) -> Answer:
    """302."""
    return Answer(302, b"", {"Location": location, **headers}, "text/html")


MAINTENANCE = redirect("/maintenance?format=json")


@dataclass
class Asked:
    """A request that came in."""

    at: float
    url: str
    options: Mapping[str, Any]


class Script:
    """Gives the answers in turn; the last one for ever. Exceptions are raised as aiohttp would."""

    def __init__(self, *steps: Answer | Exception) -> None:
        self.steps = list(steps)
        self.asked: list[Asked] = []

    def answer(self, url: Any, **options: Any) -> CallbackResult:
        self.asked.append(Asked(now(), str(url), options))
        step = self.steps[0] if len(self.steps) == 1 else self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return CallbackResult(
            status=step.status,
            body=step.body,
            content_type=step.content_type,
            headers={"Date": DATE, **step.headers},
            response_class=_Response,
        )


def settings_for(url: str = URL, **flags: Any) -> Settings:
    """Settings without a limit that a test does not ask for."""
    return load_settings(
        {"registry_url": url, "rate": 1000.0, "retry_budget": 0.0, "maintenance_patience": 0.0} | flags
    )


def client_for(url: str = URL, **flags: Any) -> RegistryClient:
    return RegistryClient(settings_for(url, **flags), Credentials(EMAIL, SecretStr(KEY)))


@asynccontextmanager
async def scripted(*steps: Answer | Exception, **flags: Any) -> AsyncIterator[tuple[RegistryClient, Script]]:
    """A client that talks to a script of these answers."""
    script = Script(*steps)
    with aioresponses() as mocked:
        mocked.get(re.compile(".*"), callback=script.answer, repeat=True)
        async with client_for(**flags) as client:
            yield client, script


async def page_of(
    client: RegistryClient,
    resource: str = "objects",
    *,
    sort: Sequence[str] = BY_ID,
    number: int = 1,
    per_page: int = 5,
) -> Page:
    """An ordinary request."""
    return await client.page(RESOURCES[resource], sort=sort, page=number, per_page=per_page)
