"""The demo Registry: a real HTTP server with the real server's quirks, faults on order, and its own account of it all.

Hides the way of one request: who asks, what strikes, which rows, what it costs, and how the bytes go out.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import queue
import re
import socket
import sqlite3
import struct
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import parse_qsl, unquote

import orjson
from aiohttp import hdrs, web

from harvester.demo.changes import Changes, Ids, PendingWorkError, RequestRestoration, change_from_json
from harvester.demo.costs import Cost
from harvester.demo.database import OWN_INSTITUTION, RESOURCES, connect, entries, file_record
from harvester.demo.faults import HTML_TYPE, JSON_TYPE, OUTAGE_401, Fault, Faults, answer
from harvester.demo.listing import ForbiddenError, Listing, QueryError, understand
from harvester.demo.stats import Stats

T = TypeVar("T")

EMAIL = "demo@institution1.edu"
API_KEY = "demo-key-not-a-secret"
OTHER_EMAIL = "demo@institution2.edu"
DEACTIVATED_EMAIL = "former@institution1.edu"
KEYLESS_EMAIL = "keyless@institution1.edu"
ADMIN_EMAIL = "admin@aptrust.org"

_API = "/member-api/v3/"
_RESTORE = "/admin-api/v3/objects/init_restore/"
_SLOW_COUNT = 0.005
_READERS = 4
# Go takes a megabyte of request head; aiohttp by itself would refuse a long identifier percent-encoded.
_MAX_LINE = 1 << 17
# Go's net/http sends a Content-Length by itself when the whole body fits its buffer, and chunks otherwise.
_GO_BUFFER = 2048
_MAINTENANCE = b'{"Error":"APTrust Registry is currently undergoing maintenance.","StatusCode":"503"}'
_NO_MAINTENANCE = b'{"message":"APTrust Registry is not undergoing maintenance."}'
_SHOW_PATTERN = {"objects": "*id", "files": "*id", "events": "*id", "alerts": ":id/:user_id"}
_WITH_IDENTIFIER = frozenset({"objects", "files", "events"})
_JOINED = frozenset(column.name for column in RESOURCES["items"].columns if not column.sql.startswith("t."))
# SQLite's ids end here; a longer number cannot be one.
_DIGITS = re.compile(r"\d{1,18}", re.ASCII)


@dataclass(frozen=True)
class _Account:
    institution_id: int = OWN_INSTITUTION
    key: str | None = API_KEY
    active: bool = True
    admin: bool = False

    @property
    def sees(self) -> int | None:
        """The institution whose records it sees; None is all of them."""
        return None if self.admin else self.institution_id


_ACCOUNTS = {
    EMAIL: _Account(),
    OTHER_EMAIL: _Account(institution_id=OWN_INSTITUTION + 1),
    DEACTIVATED_EMAIL: _Account(active=False),
    KEYLESS_EMAIL: _Account(key=None),
    ADMIN_EMAIL: _Account(institution_id=1, admin=True),
}


@dataclass(frozen=True)
class _Reply:
    """An answer's head and whole body."""

    status: int
    body: bytes
    content_type: str = JSON_TYPE
    headers: tuple[tuple[str, str], ...] = ()


_NOWHERE = _Reply(404, b"404 page not found", "text/plain")
_DONE = _Reply(200, b"{}")


def _go_json(value: object) -> bytes:
    """JSON as Go writes it: also what could matter to a browser is escaped."""
    text = orjson.dumps(value)
    for plain, escaped in (
        (b"<", b"\\u003c"),
        (b">", b"\\u003e"),
        (b"&", b"\\u0026"),
        ("\u2028".encode(), b"\\u2028"),
        ("\u2029".encode(), b"\\u2029"),
    ):
        text = text.replace(plain, escaped)
    return text


class _Readers:
    """A few threads and read-only connections, so that queries neither block the loop nor each other."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._threads = ThreadPoolExecutor(_READERS, "demo-reader")
        self._idle: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._long: dict[sqlite3.Connection, Generator[Any, None, None]] = {}

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The result of `work` on a connection of its own, from one snapshot of the database."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._on_connection, work)

    async def stream(self, items: Callable[[sqlite3.Connection], Generator[T, None, None]]) -> AsyncGenerator[T, None]:
        """The items of a long result, one at a time, all from one snapshot of the database."""
        loop, connection = asyncio.get_running_loop(), connect(self._database)
        connection.execute("BEGIN")
        self._long[connection] = found = items(connection)
        step = functools.partial(next, found, None)
        running = loop.run_in_executor(self._threads, step)
        try:
            while (item := await asyncio.shield(running)) is not None:
                yield item
                running = loop.run_in_executor(self._threads, step)
        finally:
            # After a cancellation the last query may still be running: it must end before the connection does.
            running.add_done_callback(lambda _: self._end(connection))

    def _end(self, connection: sqlite3.Connection) -> None:
        # The query first: its cursor cannot be closed any more once the connection is.
        if (found := self._long.pop(connection, None)) is not None:
            found.close()
            connection.close()

    def close(self) -> None:
        """Wait for running queries and close everything."""
        self._threads.shutdown()
        for connection in list(self._long):
            self._end(connection)
        while not self._idle.empty():
            self._idle.get().close()

    def _on_connection(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection = connect(self._database)
        try:
            connection.execute("BEGIN")
            return work(connection)
        finally:
            connection.execute("ROLLBACK")
            self._idle.put(connection)


class _CountingServer(web.Server):
    """aiohttp's low-level server, telling how many connections were opened."""

    def __init__(self, handler: Callable[[web.BaseRequest], Any], stats: Stats) -> None:
        super().__init__(
            handler, handler_cancellation=True, access_log=None, keepalive_timeout=75.0, max_line_size=_MAX_LINE
        )
        self._stats = stats

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        self._stats.connections += 1
        super().connection_made(handler, transport)


def _now() -> datetime:
    return datetime.now(UTC)


class DemoRegistry:
    """A Registry of one's own: `async with DemoRegistry(path) as registry: ... registry.url`.

    `latency` is added before each request is looked at, as on a long line. `cost`: what requests cost and for how long
    each holds one of the server's cores; without it the cost is only added up. `seed` decides faults with a rate below
    1. `clock` is the server's now: the Date header, and the times that changes write.
    """

    email = EMAIL
    api_key = API_KEY

    def __init__(
        self,
        database: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        latency: float = 0.0,
        cost: Cost | None = None,
        seed: int = 0,
        faults: Sequence[Fault] = (),
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self.stats = Stats()
        self.changes = Changes(database, clock)
        self._database = database
        self._host = host
        self._port = port
        self._latency = latency
        self._cost = cost or Cost(scale=0.0)
        self._clock = clock
        self._faults = Faults(seed)
        for fault in faults:
            self.add_fault(fault)
        self._cores = asyncio.Semaphore(self._cost.cores)
        self._stopping = asyncio.Event()
        self._counts: dict[tuple[str, str, tuple[object, ...]], tuple[int, int]] = {}
        self._readers: _Readers | None = None
        self._runner: web.ServerRunner | None = None

    @property
    def url(self) -> str:
        """The base URL, without a slash at the end."""
        return f"http://{self._host}:{self._port}"

    def add_fault(self, fault: Fault) -> None:
        """Order a fault."""
        self._faults.add(fault)

    def clear_faults(self) -> None:
        """Cancel all faults; maintenance ends."""
        self._faults.clear()

    async def start(self) -> None:
        """Open the database and listen."""
        self._stopping.clear()
        self.changes.open()
        self._readers = _Readers(self._database)
        server = _CountingServer(self._serve, self.stats)
        self._runner = web.ServerRunner(server, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port, backlog=1024)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close every connection and the database."""
        self._stopping.set()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._readers is not None:
            self._readers.close()
        self.changes.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # The way of a request

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        if path.startswith("/demo/"):
            # Not by _send: the demo's own switches are no part of what it saw.
            reply = await self._control(request, path)
            return web.Response(status=reply.status, body=reply.body, headers=self._headers(reply.content_type))
        name = path[len(_API) :].partition("/")[0] if path.startswith(_API) else path
        headers = tuple(request.headers)
        self.stats.arrived(time.monotonic(), name, request.raw_path, headers, "X-Pharos-API-Key" in request.headers)
        try:
            await self._pause(self._latency)
            return await self._answer(request, path, query)
        except ConnectionError:
            return web.StreamResponse()
        finally:
            self.stats.in_flight -= 1

    async def _answer(self, request: web.BaseRequest, path: str, query: str) -> web.StreamResponse:
        if path == "/maintenance":
            on = self._faults.maintenance_is_on(time.monotonic())
            return await self._send(request, _Reply(503, _MAINTENANCE) if on else _Reply(200, _NO_MAINTENANCE))
        if not path.startswith((_API, _RESTORE)):
            return await self._send(request, _NOWHERE)
        fault = self._faults.strike(request.raw_path, time.monotonic())
        if fault is not None:
            self.stats.faults[fault.kind] += 1
            if fault.kind == "reset":
                return _reset(request)
            if (instead := answer(fault)) is not None:
                headers = tuple(instead.headers.items())
                reply = _Reply(instead.status, instead.body, instead.content_type, headers)
                return await self._send(request, reply)
            if fault.kind == "slow":
                await self._pause(fault.seconds)
        name, _, tail = path[len(_API) :].partition("/")
        misplaced = _misplaced(request.method, path, query)
        if misplaced is not None:
            return await self._send(request, misplaced, fault)
        account = _ACCOUNTS.get(request.headers.get("X-Pharos-API-User", ""), _Account(key=None))
        if account.key is None or request.headers.get("X-Pharos-API-Key") != account.key:
            reply = await self._refuse(_Reply(401, OUTAGE_401))
        elif not account.active:
            place = f"{_RESTORE}:id" if path.startswith(_RESTORE) else f"{_API}{name}"
            reply = await self._refuse(_forbidden(place, account.institution_id))
        elif path.startswith(_RESTORE):
            reply = await self._restore(path, account, request.headers["X-Pharos-API-User"])
        elif tail:
            reply = await self._show(name, tail.removeprefix("show/"), path, account.sees)
        else:
            return await self._list(request, name, query, account.sees, fault)
        return await self._send(request, reply, fault)

    async def _list(
        self, request: web.BaseRequest, name: str, query: str, institution_id: int | None, fault: Fault | None
    ) -> web.StreamResponse:
        await self.changes.before_list(request.raw_path)
        try:
            listing = understand(name, parse_qsl(query, keep_blank_values=True), institution_id)
            if listing.unlimited and fault is None:
                return await self._send_all(request, listing)
            reply = await self._costing(functools.partial(self._page, listing))
        except QueryError as error:
            reply = await self._refuse(_Reply(500, _go_json({"StatusCode": 500, "Error": str(error)})))
        except ForbiddenError as error:
            reply = await self._refuse(_forbidden(f"{_API}{name}", error.institution_id))
        return await self._send(request, reply, fault)

    def _page(self, listing: Listing, connection: sqlite3.Connection) -> tuple[_Reply, float]:
        count = self._count(listing, connection)
        rows = [entry for batch in listing.batches(connection) for entry in batch]
        body = _head(listing, count) + _go_json(rows or None) + b"}"
        return _Reply(200, body), self._price(listing, count, len(rows))

    def _price(self, listing: Listing, count: int, rows: int) -> float:
        return self._cost.page(
            listing.resource.name,
            rows=rows,
            skipped=listing.offset,
            counted=0 if listing.count_is_cached else count,
            of_object="intellectual_object_id" in listing.filters,
        )

    def _count(self, listing: Listing, connection: sqlite3.Connection) -> int:
        """The count; one that took long is remembered until the next change, for a walk asks on every page."""
        changes = len(self.changes.applied)
        key = (listing.resource.name, listing.where, listing.parameters)
        known = self._counts.get(key)
        if known is not None and known[0] == changes:
            return known[1]
        started = time.perf_counter()
        count = listing.count(connection)
        if time.perf_counter() - started > _SLOW_COUNT and not listing.count_is_cached:
            self._counts[key] = (changes, count)
        return count

    async def _restore(self, path: str, account: _Account, email: str) -> _Reply:
        """Ask for a restoration: 201 and the bare work item, without what a list joins to it.

        Only 403 and 409 were observed; the 201, the shape of its body, and the action where an object lies in Glacier
        are taken from the real server's source.
        """
        if not account.admin:
            # It does not look the object up for them: hence institution 0.
            return await self._refuse(_forbidden(f"{_RESTORE}:id", 0, " non-admins must use the member api"))
        try:
            made = await self.changes.apply(RequestRestoration(int(path[len(_RESTORE) :]), email))
        except PendingWorkError as error:
            return await self._refuse(_Reply(409, _go_json({"StatusCode": 409, "Error": str(error)})))
        except LookupError:
            return await self._refuse(_Reply(404, _go_json({"error": f"Not found: {path}"})))
        (number,) = made["items"]

        def work(connection: sqlite3.Connection) -> tuple[_Reply, float]:
            (entry,) = entries(connection, RESOURCES["items"], [number])
            bare = {key: value for key, value in entry.items() if key not in _JOINED}
            return _Reply(201, _go_json(bare)), self._cost.page("items", skipped=0, rows=1)

        return await self._costing(work)

    async def _show(self, name: str, tail: str, path: str, institution_id: int | None) -> _Reply:
        def work(connection: sqlite3.Connection) -> tuple[_Reply, float]:
            seconds = self._cost.page(name, skipped=0, rows=1)
            number = _find(connection, name, tail)
            if number is None:
                return _Reply(404, _go_json({"error": f"Not found: {unquote(path)}"})), seconds
            (entry,) = entries(connection, RESOURCES[name], [number])
            if institution_id not in (None, entry["institution_id"]):
                pattern = _SHOW_PATTERN.get(name, ":id")
                return _forbidden(f"{_API}{name}/show/{pattern}", entry["institution_id"]), seconds
            return _Reply(200, _go_json(file_record(connection, number) if name == "files" else entry)), seconds

        return await self._costing(work)

    async def _refuse(self, reply: _Reply) -> _Reply:
        # The key is checked before anything else: a refusal costs as much as an answer's floor.
        return await self._costing(lambda _: (reply, self._cost.floor))

    async def _costing(self, work: Callable[[sqlite3.Connection], tuple[_Reply, float]]) -> _Reply:
        """The reply of `work`, given no sooner than its price on one of the cores is paid."""
        assert self._readers is not None
        if self._cost.scale <= 0:
            reply, seconds = await self._readers.run(work)
            self.stats.server_seconds += seconds
            return reply
        async with self._cores:
            started = time.monotonic()
            reply, seconds = await self._readers.run(work)
            self.stats.server_seconds += seconds
            await self._pause(seconds * self._cost.scale - (time.monotonic() - started))
        return reply

    # The way of the bytes

    def _headers(self, content_type: str, more: Sequence[tuple[str, str]] = ()) -> dict[str, str]:
        date = format_datetime(self._clock().astimezone(UTC), usegmt=True)
        return {"Content-Type": content_type, "Date": date, "Server": "demo-registry", **dict(more)}

    async def _send(self, request: web.BaseRequest, reply: _Reply, fault: Fault | None = None) -> web.StreamResponse:
        kind = fault.kind if fault else ""
        body = _spoilt(reply.body, kind)
        response = web.StreamResponse(status=reply.status, headers=self._headers(reply.content_type, reply.headers))
        if len(body) > _GO_BUFFER or kind in ("stall", "reset_body"):
            response.enable_chunked_encoding()
        else:
            response.content_length = len(body)
        self.stats.by_status[reply.status] += 1
        await response.prepare(request)
        if fault is not None and kind in ("stall", "reset_body"):
            await self._write(response, body[: len(body) // 2])
            await self._pause(fault.seconds if kind == "stall" else 0.0)
            _reset(request)
            return response
        if body and request.method != hdrs.METH_HEAD:
            await self._write(response, body)
        await response.write_eof()
        return response

    async def _send_all(self, request: web.BaseRequest, listing: Listing) -> web.StreamResponse:
        """A whole list in one body, piece by piece."""
        assert self._readers is not None
        async with aclosing(self._readers.stream(functools.partial(_pieces, listing))) as pieces:
            first = await anext(pieces)
            response = web.StreamResponse(headers=self._headers(JSON_TYPE))
            response.enable_chunked_encoding()
            self.stats.by_status[200] += 1
            await response.prepare(request)
            await self._write(response, first[0])
            rows = first[1]
            async for piece, more in pieces:
                await self._write(response, piece)
                rows += more
        self.stats.server_seconds += self._price(listing, 0, rows)
        await response.write_eof()
        return response

    async def _write(self, response: web.StreamResponse, piece: bytes) -> None:
        await response.write(piece)
        self.stats.bytes_sent += len(piece)

    async def _pause(self, seconds: float) -> None:
        """Wait, unless the server stops first."""
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), seconds)

    # The demo's own switches

    async def _control(self, request: web.BaseRequest, path: str) -> _Reply:
        switch = (request.method, path)
        if switch == ("GET", "/demo/stats"):
            return _Reply(200, orjson.dumps(self.stats.as_json()))
        if switch == ("POST", "/demo/stats/reset"):
            self.stats.reset()
            return _DONE
        if switch == ("DELETE", "/demo/faults"):
            self.clear_faults()
            return _DONE
        if switch not in (("POST", "/demo/faults"), ("POST", "/demo/changes")):
            return _NOWHERE
        try:
            orders = orjson.loads(await request.read())
            if path == "/demo/changes":
                return _Reply(200, orjson.dumps([await self._change(order) for order in orders]))
            for fault in [Fault(**order) for order in orders]:
                self.add_fault(fault)
        except (KeyError, LookupError, TypeError, ValueError) as error:
            return _Reply(400, orjson.dumps({"error": f"{type(error).__name__}: {error}"}))
        return _DONE

    async def _change(self, order: dict[str, Any]) -> Ids | None:
        after, path = order.pop("after", None), order.pop("path", "")
        change = change_from_json(order)
        if after is None:
            return await self.changes.apply(change)
        self.changes.schedule(change, after=after, path=path)
        return None


def _misplaced(method: str, path: str, query: str) -> _Reply | None:
    """The router's answer to what is no place of the API; None if it is one."""
    if path.startswith(_RESTORE):
        whole = method == hdrs.METH_POST and _DIGITS.fullmatch(path[len(_RESTORE) :])
        return None if whole else _NOWHERE
    name, _, tail = path[len(_API) :].partition("/")
    if method != hdrs.METH_GET or name not in RESOURCES:
        return _NOWHERE
    if path.endswith("/"):
        target = path.rstrip("/") + (f"?{query}" if query else "")
        body = f'<a href="{target}">Moved Permanently</a>.\n\n'.encode()
        return _Reply(301, body, HTML_TYPE, (("Location", target),))
    return None if not tail or tail.startswith("show/") else _NOWHERE


def _find(connection: sqlite3.Connection, name: str, tail: str) -> int | None:
    """The id of the record that the rest of a show path names."""
    if name == "alerts":
        first, _, user = tail.partition("/")
        if not (_DIGITS.fullmatch(first) and _DIGITS.fullmatch(user)):
            return None
        statement, wanted = "SELECT id FROM alerts WHERE id = ? AND user_id = ?", (int(first), int(user))
        row = connection.execute(statement, wanted).fetchone()
        return row[0] if row else None
    key = unquote(tail)
    if _DIGITS.fullmatch(key):
        row = connection.execute(f"SELECT id FROM {name} WHERE id = ?", (int(key),)).fetchone()  # noqa: S608
    elif name in _WITH_IDENTIFIER:
        row = connection.execute(f"SELECT id FROM {name} WHERE identifier = ?", (key,)).fetchone()  # noqa: S608
    else:
        row = None
    return row[0] if row else None


def _forbidden(pattern: str, institution_id: int, why: str = "") -> _Reply:
    text = f"Permission denied for {pattern} (institution {institution_id}).{why}"
    return _Reply(403, _go_json({"error": text}))


def _head(listing: Listing, count: int) -> bytes:
    following, previous = listing.links(count)
    return _go_json({"count": count, "next": following, "previous": previous})[:-1] + b',"results":'


def _pieces(listing: Listing, connection: sqlite3.Connection) -> Generator[tuple[bytes, int], None, None]:
    """The body of a list without a limit, in pieces, and the number of rows in each."""
    opening = _head(listing, listing.count(connection)) + b"["
    for batch in listing.batches(connection):
        yield opening + _go_json(batch)[1:-1], len(batch)
        opening = b","
    yield (b"]}" if opening == b"," else opening[:-1] + b"null}"), 0


def _spoilt(body: bytes, kind: str) -> bytes:
    if kind == "truncated":
        return body[: len(body) // 2]
    return body[:-1] + b',"oops}' if kind == "invalid_json" else body


def _reset(request: web.BaseRequest) -> web.StreamResponse:
    """Drop the connection the hard way: the client sees a reset, not an end."""
    transport = request.transport
    if transport is not None:
        lingering = transport.get_extra_info("socket")
        lingering.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.StreamResponse()
