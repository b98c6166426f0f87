"""A Registry that answers as fast as it can, so that what is measured is the client.

Rows are encoded once, when the server starts; an answer is joined from them and written in one piece by a raw asyncio
protocol. It understands what a harvest asks, by either strategy, and nothing else. `GET /demo/stats` says what it saw,
`POST /demo/stats/reset` begins anew. Started by `replayed(...)` in `serving`.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import orjson

from harvester.demo import records

API = "/member-api/v3/"
TIMES = {"objects": "created_at", "files": "created_at", "events": "date_time"}
UNDATED = "0001-01-01T00:00:00Z"


def max_in_any_second(arrivals: Sequence[float]) -> int:
    """The most requests that arrived within any half-open second."""
    most, first = 0, 0
    for last, now in enumerate(arrivals):
        while arrivals[first] <= now - 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most


def moment(text: str) -> str:
    """A Registry time as a text that sorts like the time: fractions of different lengths do not."""
    whole, _, fraction = text[:-1].partition(".")
    return f"{whole}.{fraction:0<6}"


@dataclass
class Shelf:
    """The rows of one list, encoded, in the orders in which they are asked for."""

    by_id: list[bytes] = field(default_factory=list)
    of_object: defaultdict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    halves: dict[str, list[bytes]] = field(default_factory=lambda: {"true": [], "false": []})
    undated: dict[str, list[bytes]] = field(default_factory=lambda: {"true": [], "false": []})
    times: list[str] = field(default_factory=list)
    by_time: list[bytes] = field(default_factory=list)

    @classmethod
    def of(cls, database: Path, name: str) -> Shelf:
        """Read a list."""
        shelf, dated = cls(), []
        for row in records(database, name):
            line = orjson.dumps(row)
            shelf.by_id.append(line)
            if name == "objects":
                continue
            shelf.of_object[str(row["intellectual_object_id"])].append(line)
            half = "true" if row.get("generic_file_id") == 0 else "false"
            shelf.halves[half].append(line)
            if row[TIMES[name]] == UNDATED:
                shelf.undated[half].append(line)
            else:
                dated.append((moment(row[TIMES[name]]), row["id"], line))
        dated.sort()
        shelf.times = [when for when, _, _ in dated]
        shelf.by_time = [line for _, _, line in dated]
        return shelf


class Replay:
    """Answers by target, and an account of the requests."""

    def __init__(self, database: Path) -> None:
        self._shelves = {name: Shelf.of(database, name) for name in TIMES}
        self.reset()

    def reset(self) -> None:
        """Forget the requests seen."""
        self.targets: list[str] = []
        self.arrivals: list[float] = []
        self.connections = 0
        self.finished_at = 0.0

    def stats(self) -> bytes:
        """What was seen since the last reset; `span` is from the first request's arrival to the last answer."""
        return orjson.dumps(
            {
                "requests": len(self.targets),
                "targets": self.targets,
                "arrivals": [moment - self.arrivals[0] for moment in self.arrivals],
                "connections": self.connections,
                "span": self.finished_at - self.arrivals[0] if self.arrivals else 0.0,
                "max_in_any_second": max_in_any_second(self.arrivals),
            }
        )

    def answer(self, target: str) -> bytes:
        """The body of a list."""
        path, _, text = target.partition("?")
        name = path.removeprefix(API)
        query = dict(reversed(parse_qsl(text)))  # of `sort`, the first
        page, per_page = int(query.get("page", 1)), int(query["per_page"])
        count, rows = self._rows(name, query, (page - 1) * per_page, page * per_page)
        following = ""
        if count > page * per_page:
            pairs = [(key, value) for key, value in parse_qsl(text) if key != "page"]
            following = f"{path}?{urlencode([*pairs, ('page', str(page + 1))])}"
        head = b'{"count":%d,"next":%b,"previous":"","results":' % (count, orjson.dumps(following))
        return b"".join((head, b"[" if rows else b"null", b",".join(rows), b"]}" if rows else b"}"))

    def _rows(self, name: str, query: dict[str, str], begin: int, end: int) -> tuple[int, Sequence[bytes]]:
        if name not in self._shelves or "updated_at__gteq" in query:
            return 0, ()
        shelf = self._shelves[name]
        if (parent := query.get("intellectual_object_id")) is not None:
            rows = shelf.of_object.get(parent, [])
        elif (half := query.get("generic_file_id__is_null")) is not None:
            rows = shelf.halves[half]
            if query["sort"] == "date_time__desc":
                return len(rows), shelf.undated[half][begin:end]
        elif (since := query.get(f"{TIMES[name]}__gteq")) is not None:
            first = bisect_left(shelf.times, moment(since))
            last = bisect_right(shelf.times, moment(query[f"{TIMES[name]}__lteq"]))
            if query["sort"].endswith("__desc"):  # by id too: the same rows from their far end
                return last - first, shelf.by_time[max(first, last - end) : max(first, last - begin)][::-1]
            return last - first, shelf.by_time[first + begin : min(last, first + end)]
        else:
            rows = shelf.by_id
        return len(rows), rows[begin:end]


class Connection(asyncio.Protocol):
    """One client's connection; requests have no bodies and are not pipelined."""

    def __init__(self, replay: Replay, latency: float) -> None:
        self._replay = replay
        self._latency = latency
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._replay.connections += 1

    def data_received(self, data: bytes) -> None:
        self._head += data
        if b"\r\n\r\n" not in self._head:
            return
        method, target, _ = self._head.split(b" ", 2)
        self._head = b""
        if target.startswith(b"/demo/"):
            self._send(self._replay.stats() if method == b"GET" else b"{}")
            if method == b"POST":
                self._replay.reset()
                self._transport.close()  # whatever body it came with
            return
        self._replay.targets.append(target.decode())
        self._replay.arrivals.append(time.monotonic())
        if self._latency:
            asyncio.get_running_loop().call_later(self._latency, self._answer, target.decode())
        else:
            self._answer(target.decode())

    def _answer(self, target: str) -> None:
        self._send(self._replay.answer(target))
        self._replay.finished_at = time.monotonic()

    def _send(self, body: bytes) -> None:
        date = format_datetime(datetime.now(UTC), usegmt=True).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nDate: %b\r\n" % date
        # As Go does it: a body beyond its buffer goes out as one chunk.
        if len(body) > 2048:
            head += b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body)
            self._transport.writelines((head, body, b"\r\n0\r\n\r\n"))
        else:
            self._transport.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)


async def serve(database: str, latency: str) -> None:
    """Serve until killed; prints the URL."""
    replay = Replay(Path(database))
    gc.collect()
    gc.freeze()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(replay, float(latency)), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
