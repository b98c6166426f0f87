"""Bytes: what the client really sends, and what aiohttp makes of broken answers. On a socket of this machine.

The API key leaves the client in one header of its requests, and by no other way.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
import struct
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from harvester.config import Credentials
from harvester.errors import ProtocolError, RegistryError, TransientError
from harvester.registry import BY_ID, RESOURCES
from tests.registry.answers import DATE, EMAIL, KEY, client_for, page_of, rows

GOOD = rows(1, 2).body


def reply(body: bytes, *lines: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """An HTTP answer."""
    size = len(body) if length is None else length
    head = (f"HTTP/1.1 {status}", f"Date: {DATE}", "Content-Type: application/json", f"Content-Length: {size}", *lines)
    return "\r\n".join((*head, "", "")).encode() + body


@asynccontextmanager
async def serving(answer: bytes, *, abruptly: bool = False) -> AsyncIterator[tuple[str, list[str]]]:
    """A server that answers with these bytes and hangs up: its address, and the requests as they came."""
    requests: list[str] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(answer)
        await writer.drain()
        if abruptly:
            plain = writer.get_extra_info("socket")
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", requests


async def test_the_request_byte_for_byte() -> None:
    async with serving(reply(GOOD)) as (url, requests), client_for(url, user_agent="tool/1 (x)") as client:
        await client.page(
            RESOURCES["objects"],
            filters=(("identifier", "a.edu/b c&d=é+%2F"), ("created_at__lteq", "2026-11-23T02:00:00.5Z")),
            sort=("created_at__asc", "id__asc"),
            page=3,
            per_page=1000,
        )
    line, *headers = requests[0].rstrip("\r\n").split("\r\n")
    assert line == (
        "GET /member-api/v3/objects?identifier=a.edu%2Fb%20c%26d%3D%C3%A9%2B%252F"
        "&created_at__lteq=2026-11-23T02%3A00%3A00.5Z"
        "&sort=created_at__asc&sort=id__asc&page=3&per_page=1000 HTTP/1.1"
    )
    sent = dict(header.split(": ", 1) for header in headers)
    assert sent["X-Pharos-API-User"] == EMAIL
    assert sent["X-Pharos-API-Key"] == KEY
    assert sent["User-Agent"] == "tool/1 (x)"
    assert sent["Accept"] == "application/json"
    assert not {"Cookie", "Authorization", "Referer"} & sent.keys()
    assert requests[0].count(KEY) == 1


@pytest.mark.parametrize(
    ("key", "path"),
    [
        (17, "17"),
        ("17", "17"),
        ("a.edu/b", "a.edu%2Fb"),
        ("a.edu/ü %2F?x=1&y#z;../\n", "a.edu%2F%C3%BC%20%252F%3Fx%3D1%26y%23z%3B..%2F%0A"),
        ("..", ".."),
    ],
)
async def test_identifiers_are_quoted_in_full(key: int | str, path: str) -> None:
    async with serving(reply(b'{"id":17}')) as (url, requests), client_for(url) as client:
        assert (await client.show(RESOURCES["files"], key))["id"] == 17
    assert requests[0].startswith(f"GET /member-api/v3/files/show/{path} HTTP/1.1\r\n")


async def test_the_api_version_is_a_setting() -> None:
    async with serving(reply(GOOD)) as (url, requests), client_for(url, registry_api_version="v4") as client:
        await page_of(client, "items")
    assert requests[0].startswith("GET /member-api/v4/items?sort=id__asc&page=1&per_page=5 ")


async def test_cookies_are_not_kept() -> None:
    # Cookies of bare addresses are not kept by any client; those of names are by most.
    async with (
        serving(reply(GOOD, "Set-Cookie: session=1; Path=/", "Connection: close")) as (url, requests),
        client_for(url.replace("127.0.0.1", "localhost")) as client,
    ):
        await page_of(client)
        await page_of(client)
    assert "Cookie" not in requests[1]


async def test_a_redirect_is_not_followed() -> None:
    async with serving(reply(GOOD)) as (other, leaked):
        answer = reply(b"", f"Location: {other}/member-api/v3/objects", status="302 Found")
        async with serving(answer) as (url, _), client_for(url) as client:
            with pytest.raises(ProtocolError):
                await page_of(client)
        assert leaked == []


async def test_compressed_answers_are_counted_against_max_body_as_they_unfold() -> None:
    packed = gzip.compress(b" " * 500_000 + GOOD)
    async with serving(reply(packed, "Content-Encoding: gzip")) as (url, _):
        async with client_for(url) as client:
            assert (await page_of(client)).size == 2
        async with client_for(url, max_body=65_536) as client:
            with pytest.raises(ProtocolError, match="65536"):
                await page_of(client)


BROKEN: dict[str, tuple[bytes, bool]] = {
    "garbage": (b"\x16\x03\x01 not HTTP\r\n\r\n", False),
    "nothing": (b"", False),
    "reset": (b"", True),
    "reset in the middle": (reply(GOOD, length=5000), True),
    "shorter than announced": (reply(GOOD, length=5000), False),
    "chunks that are none": (
        f"HTTP/1.1 200 OK\r\nDate: {DATE}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nfoo".encode(),
        False,
    ),
    "chunks that end early": (
        f"HTTP/1.1 200 OK\r\nDate: {DATE}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{{".encode(),
        False,
    ),
    "gzip that is none": (reply(GOOD, "Content-Encoding: gzip"), False),
    "gzip cut short": (reply(gzip.compress(GOOD)[:-20], "Content-Encoding: gzip"), False),
    "a header without end": (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", False),
    "JSON cut short": (reply(GOOD[:-5]), False),
    "bytes that are no text": (reply(b'{"count":0,"results":null,"x":"\xff"}'), False),
}


@pytest.mark.parametrize(("answer", "abruptly"), BROKEN.values(), ids=BROKEN.keys())
async def test_broken_answers_pass_and_do_not_show_the_key(
    answer: bytes, abruptly: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(answer, abruptly=abruptly) as (url, _), client_for(url) as client:
        with pytest.raises(TransientError) as raised:
            await page_of(client)
    assert_sealed(raised.value, caplog)


async def test_no_server_at_all(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(b"") as (url, _):
        pass
    async with client_for(url) as client:
        with pytest.raises(TransientError, match="cannot connect") as raised:
            await page_of(client)
    assert_sealed(raised.value, caplog)


async def test_tls_expected_where_there_is_none(caplog: pytest.LogCaptureFixture) -> None:
    async def handle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with client_for(f"https://127.0.0.1:{port}", retry_budget=900) as client:
            with pytest.raises(ProtocolError, match="no TLS connection") as raised:
                await page_of(client)
    assert_sealed(raised.value, caplog)


@pytest.mark.parametrize(
    "answer",
    [
        reply(GOOD),
        reply(b'{"Error":"API credentials are missing or invalid.","StatusCode":401}', status="401 Unauthorized"),
        reply(b"<html>", "cf-mitigated: challenge", status="403 Forbidden"),
        reply(b"", "Location: https://evil.example.com/", status="302 Found"),
        reply(b"", "Location: /maintenance?format=json", status="302 Found"),
        reply(b'{"StatusCode":500,"Error":"Invalid query params: x"}', status="500 Internal Server Error"),
        reply(b"{}"),
        reply(b'{"count":0,"results":[{"id":2},{"id":1}]}'),
        reply(b" " * 70_000),
    ],
)
async def test_the_key_is_sealed_whatever_the_answer(answer: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(answer) as (url, requests), client_for(url, max_body=65_536) as client:
        outcome, *_ = await asyncio.gather(page_of(client), return_exceptions=True)
        assert KEY in requests[0]
        for sight in (repr(client), str(client), repr(client.settings), repr(client.traffic), repr(client.throttle)):
            assert KEY not in sight
    if isinstance(outcome, BaseException):
        assert isinstance(outcome, RegistryError)
        assert_sealed(outcome, caplog)
    assert KEY not in caplog.text


@pytest.mark.parametrize("seconds", [0.0, 0.05])
async def test_the_key_is_sealed_in_warnings_of_retries(seconds: float, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(b"nonsense\r\n\r\n") as (url, requests), client_for(url, retry_budget=seconds) as client:
        with pytest.raises(TransientError) as raised:
            await page_of(client)
        assert len(requests) == (2 if seconds else 1)
    assert_sealed(raised.value, caplog)
    assert "asking again" in caplog.text or not seconds


def test_credentials_are_sealed() -> None:
    assert KEY not in f"{Credentials(EMAIL, SecretStr(KEY))} {Credentials(EMAIL, SecretStr(KEY))!r}"


async def test_a_key_that_would_break_the_header_is_not_quoted() -> None:
    key = f"{KEY}\nX-Other: 1"
    async with serving(reply(GOOD)) as (url, requests):
        client = client_for(url)
        client._key = SecretStr(key)
        async with client:
            outcome, *_ = await asyncio.gather(page_of(client), return_exceptions=True)
        assert isinstance(outcome, Exception)
        assert all(KEY not in sight for error in chain_of(outcome) for sight in (str(error), repr(error)))
        assert requests == []


def chain_of(error: BaseException) -> list[BaseException]:
    """The error and all that hangs on it."""
    chain: list[BaseException] = []
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is not None and one not in chain:
            chain.append(one)
            left += [one.__cause__, one.__context__]
            left += getattr(one, "exceptions", ())
    return chain


def assert_sealed(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    """The key is neither in the error nor in anything that hangs on it, and in no log."""
    for one in chain_of(error):
        facts: list[Any] = [str(one), repr(one), one.args, vars(one), getattr(one, "__notes__", "")]
        assert KEY not in repr(facts), f"the key is in {type(one).__name__}"
        assert not type(one).__module__.startswith("aiohttp"), f"{type(one).__name__} carries the request"
    assert KEY not in "".join(traceback.format_exception(error))
    assert KEY not in caplog.text


def test_the_walk_asks_by_id() -> None:
    assert BY_ID == ("id__asc",)
