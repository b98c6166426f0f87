"""The member API v3 as an async client: authentication, one attempt, retries, answers into pages.

Hides HTTP entirely. This is the only place that knows `aiohttp.ClientError`, status codes, CloudFlare's
pages, the Registry's three shapes of error body, and which of all that is worth asking again. Whoever
calls it sees pages and records, or one of the errors in `harvester.errors`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from operator import ge, itemgetter
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import orjson
from aiohttp.connector import Connection
from yarl import URL

from harvester.config import Credentials, Settings
from harvester.errors import (
    AuthError,
    BlockedError,
    ConflictError,
    DeniedError,
    MaintenanceError,
    NotFoundError,
    ProtocolError,
    RegistryError,
    RequestError,
    SlowError,
    TransientError,
    UncountableError,
)
from harvester.registry.resources import Filter, Resource
from harvester.registry.retry import Patience, patiently
from harvester.registry.throttle import Departure, Knee, Throttle
from harvester.registry.walk import BY_ID

log = logging.getLogger("harvester.registry")

Record = dict[str, Any]
"""One entry of a list, exactly as the Registry sent it."""

MAINTENANCE_PATH = "/maintenance"
LIST_KEYS = ("results", "items")
"""What a list answer holds its rows under: the server says the first, its OpenAPI document the second."""

SMALLEST_PAGE = 100
"""Rows of a page that is not cut any further when it does not come in time."""

MOST_STITCHES = 12

CUT_PAGES = 10
"""After so many pages that came in pieces, pieces of twice the size are tried again."""

OVERLOADED = frozenset({0, 429, 500, 503, 504, 520, 522, 524})
"""Statuses that mean too much at once; 500 is the Registry's `pg: connection pool timeout`, 0 no answer at all."""


TOO_SLOW = frozenset({504, 524})
"""Statuses by which a proxy says that the Registry took too long: CloudFlare's 524 comes after 100 s."""


@dataclass(frozen=True)
class Page:
    """One answer to a list query.

    `count` is what the Registry says the whole list holds; `exact` tells a count of rows from a look into
    the Registry's hourly table. `has_next` is whether it offered a next page, which is no more reliable
    than the count. `answered_at` is the server's Date header, `ray` CloudFlare's ray id or "".
    """

    rows: list[Record]
    count: int
    exact: bool
    has_next: bool
    answered_at: datetime
    ray: str = ""

    @property
    def size(self) -> int:
        """Rows on the page."""
        return len(self.rows)

    @property
    def first_id(self) -> int:
        """Id of the first row; 0 if there is none."""
        return self.rows[0]["id"] if self.rows else 0

    @property
    def last_id(self) -> int:
        """Id of the last row; 0 if there is none."""
        return self.rows[-1]["id"] if self.rows else 0

    def beyond(self, row_id: int) -> Page:
        """The page without its rows up to and including this id."""
        return replace(self, rows=[row for row in self.rows if row["id"] > row_id])


@dataclass
class Traffic:
    """What the client has sent and received so far: requests (attempts) by resource, retries, body bytes."""

    requests: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class _Answer:
    """An HTTP answer, read whole."""

    url: str
    status: int
    body: bytes
    content_type: str
    ray: str
    retry_after: float | None
    location: str
    mitigated: bool
    date: str


class RegistryClient:
    """A connection to one Registry under one account.

    Use it as an async context manager. All requests pass one throttle; each is retried as long as the
    settings' patience allows. Safe to use from many tasks of one event loop.
    """

    def __init__(self, settings: Settings, credentials: Credentials) -> None:
        self.settings = settings
        self.account = credentials.email
        self.traffic = Traffic()
        pinned = settings.concurrency != "auto"
        knee = None if pinned else Knee(settings.min_concurrency, settings.max_concurrency)
        self.throttle = Throttle(settings.rate, settings.most_in_flight, knee)
        self._key = credentials.api_key
        self._base = settings.registry_url
        self._prefix = f"/member-api/{settings.registry_api_version}"
        self._session: aiohttp.ClientSession | None = None
        self._refusal: TransientError | MaintenanceError | None = None
        self._last_success: float | None = None
        self._patience = Patience(transient=settings.retry_budget, maintenance=settings.maintenance_patience)
        self._fetch = patiently(self._attempt, self._patience, before_wait=self._before_wait)
        self._fetch_large = patiently(
            self._attempt, self._patience, before_wait=self._before_wait, except_for=(SlowError,)
        )
        # Into how many requests a page is cut, by list and sort, where pages did not come in time.
        self._cuts: dict[tuple[str, Sequence[str]], int] = {}
        self._since_cut: Counter[tuple[str, Sequence[str]]] = Counter()

    async def __aenter__(self) -> Self:
        settings = self.settings
        self._session = aiohttp.ClientSession(
            headers={
                "X-Pharos-API-User": self.account,
                "X-Pharos-API-Key": self._key.get_secret_value(),
                "User-Agent": settings.user_agent,
                "Accept": "application/json",
            },
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=settings.total_timeout,
                sock_connect=settings.connect_timeout,
                sock_read=settings.read_timeout,
            ),
            connector=_Connector(limit=settings.most_in_flight, ttl_dns_cache=300),
        )
        # aiohttp asks a second time by itself when a kept-alive connection breaks, past the throttle and its counts.
        self._session._retry_connection = False
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def page(
        self,
        resource: Resource,
        *,
        filters: Sequence[Filter] = (),
        sort: Sequence[str],
        page: int,
        per_page: int,
    ) -> Page:
        """One page of a list. `page` counts from 1; `sort` is one or more of `<column>__asc|__desc`.

        A page that does not come in time is asked for in halves, down to `SMALLEST_PAGE` rows, and so are
        those that follow it in its list. Raises the errors of `harvester.errors.RegistryError`;
        TransientError only after every retry.
        """
        key = (resource.path, tuple(sort))
        for _ in range(MOST_STITCHES):
            cuts = self._cuts.get(key, 1) if per_page % self._cuts.get(key, 1) == 0 else 1
            try:
                stitched = await self._stitched(resource, filters, sort, page, per_page, cuts)
            except SlowError as error:
                if not _may_be_cut(per_page // cuts):
                    raise
                log.info("%s; asking for smaller pages", error)
                self._cuts[key], self._since_cut[key] = 2 * cuts, 0
                continue
            if stitched is not None:
                self._let_grow(key)
                return stitched
        raise ProtocolError(f"{resource.path}: rows keep leaving the list while it is read", mend="run it again later")

    def _let_grow(self, key: tuple[str, Sequence[str]]) -> None:
        """After some pages that came in pieces, try larger pieces: it may have been the network's fault."""
        if key in self._cuts:
            self._since_cut[key] += 1
            if self._since_cut[key] >= CUT_PAGES:
                self._since_cut[key] = 0
                self._cuts[key] = max(1, self._cuts[key] // 2)

    async def _stitched(
        self,
        resource: Resource,
        filters: Sequence[Filter],
        sort: Sequence[str],
        page: int,
        per_page: int,
        cuts: int,
    ) -> Page | None:
        """A page put together of `cuts` smaller ones; None if rows left the list in between, which may hide one."""
        size = per_page // cuts
        part = whole = await self._one_page(resource, filters, sort, (page - 1) * cuts + 1, size)
        for number in range((page - 1) * cuts + 2, page * cuts + 1):
            if part.size < size:
                break
            part = await self._one_page(resource, filters, sort, number, size)
            if part.exact and part.count < whole.count:
                return None
            seen = {row["id"] for row in whole.rows}  # a row that joined the list has moved the others on
            whole = replace(part, rows=[*whole.rows, *(row for row in part.rows if row["id"] not in seen)])
        return whole

    async def _one_page(
        self, resource: Resource, filters: Sequence[Filter], sort: Sequence[str], page: int, per_page: int
    ) -> Page:
        query = [*filters, *(("sort", by) for by in sort), ("page", str(page)), ("per_page", str(per_page))]
        fetch = self._fetch_large if _may_be_cut(per_page) else self._fetch
        answer, content = await fetch(resource.path, self._url(resource.path, query), LIST_KEYS)
        rows, ids = _rows_of(content, answer)
        if len(rows) > per_page:
            raise ProtocolError(
                f"{len(rows)} rows on a page of at most {per_page}", place=answer.url, request_id=answer.ray
            )
        if tuple(sort) == BY_ID and any(map(ge, ids, ids[1:])):
            problem = "rows sorted by id whose ids do not increase"
            raise ProtocolError(problem, place=answer.url, request_id=answer.ray)
        return Page(
            rows=rows,
            count=content["count"],
            exact=resource.count_is_exact(filters),
            has_next=bool(content.get("next")),
            answered_at=_moment(answer),
            ray=answer.ray,
        )

    async def show(self, resource: Resource, key: int | str) -> Record:
        """One record by its id, or by its identifier. Raises NotFoundError if there is none.

        An all-digit identifier is taken for an id: that is the Registry's rule.
        """
        url = self._url(f"{resource.path}/show/{quote(str(key), safe='')}", ())
        answer, content = await self._fetch(resource.path, url, ("id",))
        if not isinstance(content.get("id"), int):
            raise ProtocolError("a record without an id", place=answer.url, request_id=answer.ray)
        return content

    async def init_restore(self, object_id: int) -> Record:
        """Ask for an object's restoration: one attempt, never repeated here. Returns the work item.

        Whoever gets a TransientError does not know whether the Registry has heard: look under `items` first. Raises
        DeniedError for all but APTrust's administrators, ConflictError while other work on the object is under way.
        """
        admin = f"{self._base}/admin-api/{self.settings.registry_api_version}"
        url = URL(f"{admin}/objects/init_restore/{object_id}", encoded=True)
        _, content = await self._attempt("init_restore", url, ("id",), method="POST")
        return content

    async def probe(self) -> bool:
        """Whether the Registry answers at all right now: one attempt at the cheapest request there is."""
        if self.throttle.paused_for() > 0:
            return False
        try:
            await self._attempt("alerts", self._url("alerts", [("sort", "id__asc"), ("per_page", "1")]), LIST_KEYS)
        except RegistryError as error:
            log.info("probe: %s", error)
            return False
        return True

    def _url(self, path: str, query: Iterable[Filter]) -> URL:
        text = "&".join([f"{_quoted(name)}={_quoted(value)}" for name, value in query])
        return URL(f"{self._base}{self._prefix}/{path}{'?' if text else ''}{text}", encoded=True)

    def _before_wait(self, error: RegistryError, seconds: float) -> None:
        """Called before each wait of a retry: count it, say it, and hold the others back if the server asks."""
        self.traffic.retries += 1
        if isinstance(error, MaintenanceError):
            self.throttle.pause(seconds)
        first_contact = self._last_success is None
        level = logging.WARNING if first_contact or isinstance(error, MaintenanceError) else logging.INFO
        log.log(level, "%s; asking again in %.1f s", error, seconds)

    async def _attempt(
        self, resource: str, url: URL, keys: Sequence[str], *, method: str = "GET"
    ) -> tuple[_Answer, Record]:
        """Send one request, through the throttle. Returns the answer and its JSON, or raises a RegistryError.

        JSON that has none of `keys` is no answer of the Registry.
        """
        if self._refusal is not None:
            raise self._refusal
        try:
            async with self.throttle as departure:
                self.traffic.requests[resource] += 1
                started = time.monotonic()
                answer = await self._read(url, method, departure)
                took = time.monotonic() - started
                log.debug("%s %s: %d, %d bytes in %.3f s", method, url, answer.status, len(answer.body), took)
                if answer.status == 200:
                    self.throttle.served()
            if answer.status == 200:
                await asyncio.sleep(0)  # whoever waited for the slot sends a request before this answer is parsed
            content = self._judge(answer, keys)
        except (TransientError, MaintenanceError) as error:
            self._ease_off(error)
            raise
        self._last_success = time.monotonic()
        return answer, content

    def _ease_off(self, error: TransientError | MaintenanceError) -> None:
        """Hold everyone back as long as the server asks, and send less at once if it is overloaded."""
        asked = error.retry_after or 0
        if asked <= self._patience.with_(error):
            self.throttle.pause(asked)
        else:
            # Nobody asks any more: the server wants to be left alone for longer than there is patience.
            error.mend = f"the Registry asks to be left alone for {asked:.0f} s; run it again then"
            self._refusal = error
        if isinstance(error, TransientError) and error.status in OVERLOADED:
            self.throttle.congested()

    async def _read(self, url: URL, method: str, departure: Departure) -> _Answer:
        """Send the request and read the whole answer, whatever it is; turn aiohttp's errors into ours."""
        if self._session is None:
            raise RuntimeError("RegistryClient is used outside its `async with`")
        place = str(url)
        try:
            # Following a redirect would send the API key along, to another host too.
            with departure.preparing():
                _departing.set(departure)
                response = await self._session.request(method, url, allow_redirects=False)
            async with response:
                body = await self._body(response)
                return _Answer(
                    url=place,
                    status=response.status,
                    body=body,
                    content_type=response.headers.get("Content-Type", "").partition(";")[0].strip().lower(),
                    ray=response.headers.get("cf-ray", ""),
                    retry_after=_retry_after(response.headers.get("Retry-After", ""), response.headers.get("Date", "")),
                    location=response.headers.get("Location", ""),
                    mitigated="cf-mitigated" in response.headers,
                    date=response.headers.get("Date", ""),
                )
        except (aiohttp.ClientError, OSError) as error:
            failure = self._failure(error, place)
        # Raised out here, it has no aiohttp error as its context: the repr of some shows the request's headers,
        # and the key.
        raise failure

    def _failure(self, error: aiohttp.ClientError | OSError, place: str) -> RegistryError:
        """What it means that no whole answer came."""
        settings, first_contact = self.settings, self._last_success is None
        match error:
            case aiohttp.ClientConnectorCertificateError():
                problem = f"the server's TLS certificate is not valid ({error.certificate_error})"
                return ProtocolError(problem, place=place, mend="check registry_url")
            case aiohttp.ClientConnectorSSLError() if first_contact:
                problem = f"no TLS connection can be made ({_brief(error.os_error)})"
                return ProtocolError(problem, place=place, mend="check registry_url")
            case aiohttp.ClientConnectorDNSError() if first_contact and _is_unknown_name(error.os_error):
                problem = "no host of this name is known"
                return ProtocolError(problem, place=place, mend="check registry_url and the network")
            case aiohttp.ClientConnectorDNSError():
                problem = "the host name cannot be resolved"
            case aiohttp.ConnectionTimeoutError():
                problem = f"no connection in {settings.connect_timeout:g} s"
            case aiohttp.SocketTimeoutError():
                return SlowError(f"no byte for {settings.read_timeout:g} s", place=place)
            case TimeoutError():
                return SlowError(f"no whole answer in {settings.total_timeout:g} s", place=place)
            case aiohttp.ClientConnectorError():
                problem = f"cannot connect ({error.os_error.strerror or error.os_error})"
            case _:
                problem = f"the connection broke ({_brief(error)})"
        return TransientError(problem, place=place)

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        """The decompressed body. Raises ProtocolError beyond `max_body`, before it is all in memory."""
        pieces, size = [], 0
        async for piece in response.content.iter_any():
            size += len(piece)
            if size > self.settings.max_body:
                response.close()
                raise ProtocolError(
                    f"an answer of more than {self.settings.max_body} bytes",
                    place=str(response.url),
                    status=response.status,
                    mend="lower per_page or raise max_body",
                )
            pieces.append(piece)
        self.traffic.bytes += size
        return b"".join(pieces)

    def _judge(self, answer: _Answer, keys: Sequence[str]) -> Record:
        """The JSON object of a good answer; for every other answer the error that says what it is."""
        status, ray = answer.status, answer.ray
        if status in (301, 302, 303, 307, 308):
            raise self._redirected(answer)
        content = _json_object(answer.body)
        if status in (200, 201):
            return self._good(answer, content, keys)
        said = _words(content)
        where = _where(answer)
        if content is None and answer.mitigated:
            # Before anything succeeded this is a refusal of the client, which waiting does not mend.
            problem = f"CloudFlare asks for a browser check instead of letting the request through{_ray(ray)}"
            if self._last_success is None:
                mend = "ask APTrust to let this machine through, or set user_agent"
                raise BlockedError(problem, mend=mend, **where)
            raise TransientError(problem, retry_after=answer.retry_after, **where)
        if status == 401:
            if self._last_success is None:
                raise AuthError(said or "the credentials are refused", **where)
            # The Registry says so too whenever its database is away.
            problem = "credentials accepted before are refused now, which is what a database outage looks like"
            raise TransientError(problem, retry_after=answer.retry_after, **where)
        if status == 403 and content is not None:
            raise DeniedError(said or "access is denied", **where)
        if status == 404 and content is not None:
            raise NotFoundError(said or "no such record", **where)
        if status == 409 and content is not None:
            raise ConflictError(said or "other work is under way", **where)
        if status == 503 and "maintenance" in said.lower():
            raise MaintenanceError("the Registry is under maintenance", retry_after=answer.retry_after, **where)
        if status == 500 and _is_our_mistake(said):
            raise RequestError(said, **where)
        if status == 500 and "multiple rows in result set" in said:
            problem = f"the Registry cannot count this list ({said})"
            raise UncountableError(problem, mend="report it to APTrust: a row has no state, type or action", **where)
        if status >= 500 or status in (408, 425, 429):
            problem = said or f"the server answered {status}{_ray(ray)}"
            kind = SlowError if status in TOO_SLOW else TransientError
            raise kind(problem, retry_after=answer.retry_after, **where)
        if status == 403 and self._last_success is None:
            raise BlockedError(f"a web page refuses the request{_ray(ray)}", mend="set user_agent", **where)
        if status == 403:
            raise TransientError(f"a web page refuses the request{_ray(ray)}", **where)
        problem = f"the server answered {status}{_ray(ray)}, not the Registry's JSON"
        raise ProtocolError(problem, mend="check registry_url", **where)

    def _good(self, answer: _Answer, content: Record | None, keys: Sequence[str]) -> Record:
        """The content of an answer with status 200, which may still be something else than the Registry's."""
        if content is not None and any(key in content for key in keys):
            return content
        where = _where(answer)
        if content is not None:
            # What /maintenance says once maintenance is over, and what any other JSON service would say.
            problem = f"JSON without {keys[0]}, so not an answer of the Registry"
            if self._last_success is None:
                raise ProtocolError(problem, mend="check registry_url", **where)
            raise TransientError(problem, **where)
        if answer.body.lstrip()[:1] == b"<" or answer.content_type == "text/html":
            problem = f"a web page instead of the Registry's JSON{_ray(answer.ray)}"
            if self._last_success is None:
                raise ProtocolError(problem, mend="check registry_url", **where)
            raise TransientError(problem, **where)
        if self._last_success is None and answer.body.lstrip()[:1] not in (b"{", b""):
            raise ProtocolError("an answer that is not the Registry's JSON", mend="check registry_url", **where)
        raise TransientError(f"JSON that cannot be read ({len(answer.body)} bytes), probably cut short", **where)

    def _redirected(self, answer: _Answer) -> RegistryError:
        where = _where(answer)
        try:
            target = URL(answer.location)
        except ValueError:
            target = URL()
        if target.path == MAINTENANCE_PATH and (not target.host or target.host == URL(self._base).host):
            return MaintenanceError("the Registry is under maintenance", retry_after=answer.retry_after, **where)
        to = target.with_query(None).with_user(None).with_fragment(None) if target.host else target.path
        problem = f"redirected to {to}, which is not followed: it would send the API key there"
        return ProtocolError(problem, mend="set registry_url to the Registry's own address", **where)


@lru_cache(maxsize=512)
def _quoted(text: str) -> str:
    return quote(text, safe="")


class _Connector(aiohttp.TCPConnector):
    """Connections whose requests are noted as they leave: as they are given one, maybe long after the throttle.

    aiohttp's own tracing would tell it too, and a dozen things more, for 2 % of all that a harvest costs.
    """

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[aiohttp.tracing.Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """A connection for the request, which is written to it at once."""
        connection = await super().connect(req, traces, timeout)
        _departing.get().left()
        return connection


_departing: ContextVar[Departure] = ContextVar("_departing")
"""The request that this task is about to send."""


def _may_be_cut(per_page: int) -> bool:
    return per_page % 2 == 0 and per_page > SMALLEST_PAGE


def _rows_of(content: Record, answer: _Answer) -> tuple[list[Record], list[int]]:
    """The rows of a list answer, and their ids."""
    rows = next(content[key] for key in LIST_KEYS if key in content)
    if rows is None:
        rows = []
    count = content.get("count")
    if not isinstance(rows, list) or not isinstance(count, int) or count < 0:
        raise ProtocolError("a list whose results or count are not what they should be", **_where(answer))
    try:
        ids = list(map(itemgetter("id"), rows))
    except (KeyError, TypeError):  # the latter if an entry is no object at all
        ids = [0]
    if not set(map(type, ids)) <= {int} or min(ids, default=1) <= 0:
        raise ProtocolError("an entry without a usable id", **_where(answer))
    return rows, ids


def _where(answer: _Answer) -> dict[str, Any]:
    return {"place": answer.url, "status": answer.status, "request_id": answer.ray}


def _json_object(body: bytes) -> Record | None:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return content if isinstance(content, dict) else None


def _words(content: Record | None) -> str:
    """What the Registry says in an error body: `Error` (401, 500, maintenance) or `error` (403, 404)."""
    said = (content or {}).get("Error") or (content or {}).get("error")
    return said[:500] if isinstance(said, str) else ""


def _is_our_mistake(said: str) -> bool:
    """Whether a 500 blames the question: an unknown filter, or PostgreSQL's classes 22 (data) and 42 (names)."""
    return said.startswith("Invalid query params") or "ERROR #22" in said or "ERROR #42" in said


def _retry_after(value: str, date: str) -> float | None:
    """Retry-After in seconds from now; it is sent as seconds or as an HTTP date (RFC 9110, 10.2.3).

    An HTTP date is taken against the server's own clock, its Date header: ours may be minutes off.
    """
    value = value.strip()
    if value.isdecimal() and value.isascii():
        return float(value[:9])
    until = _http_date(value)
    if until is None:
        return None
    return max(0.0, (until - (_http_date(date) or datetime.now(UTC))).total_seconds())


def _moment(answer: _Answer) -> datetime:
    moment = _http_date(answer.date)
    if moment is None:
        raise ProtocolError("an answer without a Date header", place=answer.url, status=answer.status)
    return moment


@lru_cache(maxsize=4)
def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _is_unknown_name(error: OSError) -> bool:
    return isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME


def _brief(error: Exception) -> str:
    return str(error).partition("\n")[0][:200] or type(error).__name__


def _ray(ray: str) -> str:
    return f" (cf-ray {ray})" if ray else ""
