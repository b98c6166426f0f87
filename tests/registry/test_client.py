"""Every answer the Registry, or what stands before it, may give: the page, or the error that says what it is."""

from __future__ import annotations

import asyncio
import socket
import ssl
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from hypothesis import given
from hypothesis import strategies as st

from harvester.errors import (
    AuthError,
    BlockedError,
    DeniedError,
    MaintenanceError,
    NotFoundError,
    ProtocolError,
    RegistryError,
    RequestError,
    TransientError,
)
from harvester.registry import RESOURCES
from harvester.registry.client import _retry_after
from tests.registry.answers import (
    BAD_CREDENTIALS,
    DATE,
    MAINTENANCE,
    MAINTENANCE_BODY,
    POOL_TIMEOUT,
    Answer,
    client_for,
    page_of,
    redirect,
    rows,
    scripted,
    web_page,
)
from tests.registry.jumping import in_jumping_time, now

CHALLENGE = web_page(403, cf_mitigated="challenge", cf_ray="8f-IAD")
CONNECTION = ConnectionKey("repo.example.org", 443, True, True, None, None, None)


def certificate_error() -> Exception:
    return aiohttp.ClientConnectorCertificateError(CONNECTION, ssl.SSLCertVerificationError("has expired"))


def unknown_host(number: int = socket.EAI_NONAME) -> Exception:
    return aiohttp.ClientConnectorDNSError(CONNECTION, socket.gaierror(number, "Name or service not known"))


async def error_of(*steps: Answer | Exception, **flags: Any) -> RegistryError:
    """What comes of the last answer, the ones before it having been good."""
    async with scripted(*steps, **flags) as (client, _):
        for _ in steps[:-1]:
            await page_of(client)
        with pytest.raises(RegistryError) as raised:
            await page_of(client)
    return raised.value


# Good answers


@pytest.mark.parametrize("key", ["results", "items"])
@in_jumping_time
async def test_rows_are_under_results_or_as_the_document_has_it_items(key: str) -> None:
    body = b'{"count":7,"next":"/x?a=1\\u0026b=2","previous":"","%s":[{"id":3,"z":1},{"id":9}]}' % key.encode()
    async with scripted(Answer(body=body)) as (client, _):
        page = await page_of(client)
    assert page.rows == [{"id": 3, "z": 1}, {"id": 9}]
    assert (page.size, page.first_id, page.last_id, page.count, page.has_next) == (2, 3, 9, 7, True)
    assert page.answered_at == datetime(2026, 11, 23, 2, tzinfo=UTC)
    assert [row["id"] for row in page.beyond(3).rows] == [9]


@in_jumping_time
async def test_an_empty_page_is_null() -> None:
    async with scripted(rows(count=0)) as (client, _):
        page = await page_of(client)
    assert (page.rows, page.size, page.first_id, page.last_id, page.has_next) == ([], 0, 0, 0, False)


@pytest.mark.parametrize(("resource", "exact"), [("objects", False), ("checksums", True)])
@in_jumping_time
async def test_a_page_knows_whether_its_count_was_counted(resource: str, exact: bool) -> None:
    async with scripted(rows(1)) as (client, _):
        assert (await page_of(client, resource)).exact is exact


@in_jumping_time
async def test_other_sorts_need_not_go_by_id() -> None:
    async with scripted(rows(9, 3)) as (client, _):
        assert (await page_of(client, sort=("created_at__asc", "id__asc"))).last_id == 3


@in_jumping_time
async def test_show_gives_the_record_as_it_is() -> None:
    async with scripted(Answer(body=b'{"id":5,"identifier":"a/b"}')) as (client, _):
        assert await client.show(RESOURCES["objects"], "a/b") == {"id": 5, "identifier": "a/b"}


@in_jumping_time
async def test_traffic_is_counted() -> None:
    async with scripted(Answer(500, POOL_TIMEOUT), rows(1), rows(2), retry_budget=60) as (client, _):
        await page_of(client)
        await page_of(client, "files")
        assert client.traffic.requests == {"objects": 2, "files": 1}
        assert client.traffic.retries == 1
        assert client.traffic.bytes == len(POOL_TIMEOUT) + len(rows(1).body) + len(rows(2).body)


# Answers that cannot be believed

UNBELIEVABLE = {
    "more rows than asked for": rows(1, 2, 3, 4, 5, 6),
    "ids that go back": rows(1, 3, 2),
    "an id twice": rows(1, 2, 2),
    "a row without id": Answer(body=b'{"count":1,"results":[{"x":1}]}'),
    "an id of 0": rows(0),
    "an id that is text": Answer(body=b'{"count":1,"results":[{"id":"1"}]}'),
    "an id that is true": Answer(body=b'{"count":1,"results":[{"id":true}]}'),
    "a row that is a number": Answer(body=b'{"count":1,"results":[1]}'),
    "results that are no list": Answer(body=b'{"count":1,"results":{"id":1}}'),
    "no count": Answer(body=b'{"results":null}'),
    "a count that is text": Answer(body=b'{"count":"1","results":null}'),
    "a count below 0": rows(count=-1),
    "JSON without results": Answer(body=b'{"message":"APTrust Registry is not undergoing maintenance."}'),
    "no date": Answer(body=rows(1).body, headers={"Date": ""}),
    "no content": Answer(204),
    "not found, in plain text": Answer(404, b"404 page not found", content_type="text/plain"),
    "bad request": Answer(400, b"{}"),
    "a web page at first": web_page(200),
    "a list": Answer(body=b"[1]"),
    "a word": Answer(body=b"pong", content_type="text/plain"),
}


@pytest.mark.parametrize("answer", UNBELIEVABLE.values(), ids=UNBELIEVABLE.keys())
@in_jumping_time
async def test_what_cannot_be_believed_is_asked_once_and_tells_where(answer: Answer) -> None:
    async with scripted(answer, retry_budget=900, maintenance_patience=900) as (client, script):
        with pytest.raises(ProtocolError) as raised:
            await page_of(client)
    assert len(script.asked) == 1
    assert raised.value.place.startswith("https://repo.example.org/member-api/v3/objects?sort=id__asc")


@pytest.mark.parametrize("body", [b'{"identifier":"x"}', b'{"id":"5"}', b'{"id":null}'])
@in_jumping_time
async def test_a_record_without_an_id_is_none(body: bytes) -> None:
    async with scripted(Answer(body=body)) as (client, _):
        with pytest.raises(ProtocolError):
            await client.show(RESOURCES["objects"], 5)


@in_jumping_time
async def test_a_body_too_large_is_not_read_to_its_end() -> None:
    error = await error_of(Answer(body=b" " * 70_000), max_body=65_536)
    assert isinstance(error, ProtocolError)
    assert "65536" in error.problem
    assert "max_body" in error.mend


# The Registry's errors


@in_jumping_time
async def test_401_at_first_is_about_the_credentials() -> None:
    error = await error_of(Answer(401, BAD_CREDENTIALS), retry_budget=900)
    assert isinstance(error, AuthError)
    assert error.problem == "API credentials are missing or invalid."
    assert error.status == 401
    assert now() < 1


@in_jumping_time
async def test_401_after_success_is_an_outage() -> None:
    assert isinstance(await error_of(rows(1), Answer(401, BAD_CREDENTIALS)), TransientError)
    async with scripted(
        rows(1), Answer(401, BAD_CREDENTIALS), Answer(401, BAD_CREDENTIALS), rows(2), retry_budget=60
    ) as (
        client,
        script,
    ):
        await page_of(client)
        assert (await page_of(client)).first_id == 2
        assert len(script.asked) == 4


@pytest.mark.parametrize(("status", "kind"), [(403, DeniedError), (404, NotFoundError)])
@in_jumping_time
async def test_the_second_shape_of_error_body(status: int, kind: type[RegistryError]) -> None:
    error = await error_of(
        rows(1), Answer(status, b'{"error":"Permission denied"}', {"cf-ray": "8f-IAD"}), retry_budget=900
    )
    assert type(error) is kind
    assert (error.problem, error.status, error.request_id) == ("Permission denied", status, "8f-IAD")
    assert now() < 1


@pytest.mark.parametrize(
    "said",
    [
        "Invalid query params: bogus",
        "ERROR #22007 invalid input syntax for type timestamp with time zone",
        'ERROR #42703 column "bogus" does not exist',
    ],
)
@in_jumping_time
async def test_500_that_is_our_mistake_is_asked_once(said: str) -> None:
    body = b'{"StatusCode":500,"Error":"%s"}' % said.replace('"', r"\"").encode()
    async with scripted(rows(1), Answer(500, body), retry_budget=900) as (client, script):
        await page_of(client)
        with pytest.raises(RequestError) as raised:
            await page_of(client)
    assert raised.value.problem == said
    assert len(script.asked) == 2


@in_jumping_time
async def test_500_of_a_list_that_cannot_be_counted_is_for_aptrust_to_mend() -> None:
    error = await error_of(
        Answer(500, b'{"StatusCode":500,"Error":"pg: multiple rows in result set"}'), retry_budget=900
    )
    assert isinstance(error, ProtocolError)
    assert "APTrust" in error.mend
    assert now() < 1


PASSING = {
    "pool timeout": Answer(500, POOL_TIMEOUT),
    "terminated": Answer(500, b'{"StatusCode":500,"Error":"FATAL #57P01 terminating connection"}'),
    "500 without a body": Answer(500),
    "502": web_page(502),
    "503": web_page(503),
    "504": web_page(504),
    **{str(status): web_page(status, cf_ray="8f-IAD") for status in (*range(520, 528), 530)},
    "429": web_page(429, cf_ray="8f-IAD"),
    "429 in JSON": Answer(429, b'{"error":"slow down"}'),
    "408": Answer(408),
    "cut short": Answer(body=rows(1, 2).body[:-9]),
    "nothing at all": Answer(),
    "timeout": TimeoutError(),
    "no byte": aiohttp.SocketTimeoutError(),
    "no connection": aiohttp.ConnectionTimeoutError(),
    "disconnected": aiohttp.ServerDisconnectedError(),
    "reset": ConnectionResetError(104, "Connection reset by peer"),
    "reset, in aiohttp's words": aiohttp.ClientOSError(104, "Connection reset by peer"),
    "payload": aiohttp.ClientPayloadError("Response payload is not completed"),
    "refused": aiohttp.ClientConnectorError(CONNECTION, ConnectionRefusedError(111, "Connection refused")),
    "name server away": unknown_host(socket.EAI_AGAIN),
}


@pytest.mark.parametrize("step", PASSING.values(), ids=PASSING.keys())
@in_jumping_time
async def test_what_passes_is_asked_again_until_patience_ends(step: Answer | Exception) -> None:
    async with scripted(step, step, rows(1), retry_budget=60) as (client, script):
        assert (await page_of(client)).first_id == 1
        assert len(script.asked) == 3
        assert client.traffic.retries == 2
    async with scripted(step, retry_budget=60) as (client, script):
        begun = now()
        with pytest.raises(TransientError) as raised:
            await page_of(client)
        assert now() - begun == pytest.approx(60, abs=0.1)
        assert client.traffic.retries == len(script.asked) - 1 > 5
    assert raised.value.place.startswith("https://repo.example.org/member-api/v3/objects?")


@pytest.mark.parametrize(
    ("step", "fact"),
    [
        (aiohttp.ConnectionTimeoutError(), "no connection in 15 s"),
        (aiohttp.SocketTimeoutError(), "no byte for 120 s"),
        (TimeoutError(), "no whole answer in 600 s"),
        (aiohttp.ClientOSError(104, "Connection reset by peer"), "Connection reset by peer"),
        (PASSING["refused"], "Connection refused"),
        (Answer(500, POOL_TIMEOUT), "pg: connection pool timeout"),
        (web_page(521, cf_ray="8f-IAD"), "521 (cf-ray 8f-IAD)"),
    ],
)
@in_jumping_time
async def test_trouble_says_what_it_was(step: Answer | Exception, fact: str) -> None:
    assert fact in (await error_of(step)).problem


@pytest.mark.parametrize(
    "answer", [web_page(200), web_page(200, cf_ray="8f-IAD"), CHALLENGE, Answer(body=b"[1]"), Answer(body=b"{}")]
)
@in_jumping_time
async def test_foreign_answers_after_the_registrys_own_pass(answer: Answer) -> None:
    assert isinstance(await error_of(rows(1), answer), TransientError)


# Credentials of the server, and its name


@pytest.mark.parametrize("before", [(), (rows(1),)])
@in_jumping_time
async def test_a_certificate_that_is_not_valid_is_never_asked_again(before: tuple[Answer, ...]) -> None:
    error = await error_of(*before, certificate_error(), retry_budget=900)
    assert isinstance(error, ProtocolError)
    assert "has expired" in error.problem
    assert now() < 1


@in_jumping_time
async def test_no_tls_is_a_wrong_address_at_first_and_trouble_later() -> None:
    step = aiohttp.ClientConnectorSSLError(CONNECTION, ssl.SSLError(1, "wrong version number"))
    error = await error_of(step, retry_budget=900)
    assert isinstance(error, ProtocolError)
    assert "wrong version number" in error.problem
    assert isinstance(await error_of(rows(1), step), TransientError)


@in_jumping_time
async def test_an_unknown_host_is_a_wrong_address_at_first_and_trouble_later() -> None:
    error = await error_of(unknown_host(), retry_budget=900)
    assert isinstance(error, ProtocolError)
    assert "registry_url" in error.mend
    assert isinstance(await error_of(rows(1), unknown_host()), TransientError)


# CloudFlare


@pytest.mark.parametrize("status", [403, 503])
@in_jumping_time
async def test_a_browser_check_at_first_is_a_refusal(status: int) -> None:
    error = await error_of(web_page(status, cf_mitigated="challenge", cf_ray="8f-IAD"), retry_budget=900)
    assert isinstance(error, BlockedError)
    assert error.request_id == "8f-IAD"
    assert "8f-IAD" in error.problem
    assert "user_agent" in error.mend
    assert now() < 1


@in_jumping_time
async def test_a_browser_check_later_passes() -> None:
    async with scripted(rows(1), CHALLENGE, rows(2), retry_budget=60) as (client, _):
        await page_of(client)
        assert (await page_of(client)).first_id == 2


@in_jumping_time
async def test_a_page_that_refuses_is_no_matter_of_credentials() -> None:
    assert isinstance(await error_of(web_page(403, cf_ray="8f-IAD"), retry_budget=900), BlockedError)


# Redirects and maintenance

UNDER_MAINTENANCE = {
    "relative": MAINTENANCE,
    "same host": redirect("https://repo.example.org/maintenance?format=json"),
    "same host in capitals": redirect("https://REPO.example.org/maintenance"),
    "plain": Answer(503, MAINTENANCE_BODY),
}


@pytest.mark.parametrize("answer", UNDER_MAINTENANCE.values(), ids=UNDER_MAINTENANCE.keys())
@in_jumping_time
async def test_maintenance_has_a_patience_of_its_own(answer: Answer) -> None:
    async with scripted(*[answer] * 60, rows(1), retry_budget=0, maintenance_patience=7200) as (client, script):
        assert (await page_of(client)).first_id == 1
        assert client.traffic.retries == 60
        assert now() > 1500
        assert {asked.url.partition("?")[0] for asked in script.asked} == {
            "https://repo.example.org/member-api/v3/objects"
        }
    async with scripted(answer, retry_budget=900, maintenance_patience=300) as (client, _):
        begun = now()
        with pytest.raises(MaintenanceError):
            await page_of(client)
        assert now() - begun == pytest.approx(300, abs=0.1)


@pytest.mark.parametrize(
    ("location", "named"),
    [
        ("https://evil.example.com/maintenance?format=json", "https://evil.example.com/maintenance"),
        ("//evil.example.com/maintenance", "evil.example.com"),
        ("https://repo.example.org.evil.example.com/maintenance", "evil.example.com"),
        ("https://user:word@evil.example.com/", "https://evil.example.com/"),
        ("/member-api/v3/objects/", "/member-api/v3/objects/"),
        ("/maintenance-of-your-key", "/maintenance-of-your-key"),
        ("", ""),
        ("http://[half", ""),
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@in_jumping_time
async def test_no_other_redirect_is_followed(status: int, location: str, named: str) -> None:
    async with scripted(Answer(status, b"", {"Location": location}), maintenance_patience=900) as (client, script):
        with pytest.raises(ProtocolError) as raised:
            await page_of(client)
    assert named in raised.value.problem
    assert "word" not in str(raised.value)
    assert len(script.asked) == 1
    assert script.asked[0].options["allow_redirects"] is False


@in_jumping_time
async def test_while_one_waits_for_maintenance_to_end_nobody_else_asks() -> None:
    async with scripted(MAINTENANCE, MAINTENANCE, rows(1), maintenance_patience=600, concurrency=1) as (client, script):
        first = asyncio.create_task(page_of(client))
        await asyncio.sleep(0.1)
        assert client.throttle.paused_for() > 0
        await asyncio.gather(first, *(page_of(client) for _ in range(5)))
        # Each worker asks once a pause, not as often as it likes.
        assert len(script.asked) == 2 + 6


# Retry-After


def http_date(*when: int) -> str:
    return format_datetime(datetime(*when, tzinfo=UTC), usegmt=True)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("120", 120), (" 7 ", 7), (http_date(2026, 11, 23, 2, 2, 0), 120)],
)
@pytest.mark.parametrize("status", [429, 503])
@in_jumping_time
async def test_retry_after_holds_everyone(status: int, value: str, seconds: float) -> None:
    too_many = Answer(status, b"", {"Retry-After": value}, "text/html")
    async with scripted(too_many, rows(1), retry_budget=900, concurrency=4) as (client, script):
        first = asyncio.create_task(page_of(client))
        await asyncio.sleep(1)
        assert client.throttle.paused_for() == pytest.approx(seconds - 1, abs=0.1)
        await asyncio.gather(first, *(page_of(client) for _ in range(7)))
        assert len(script.asked) == 9
        assert min(asked.at for asked in script.asked[1:]) == pytest.approx(seconds, abs=0.1)


@in_jumping_time
async def test_retry_after_of_maintenance_is_kept_too() -> None:
    answer = redirect("/maintenance?format=json", **{"Retry-After": "1200"})
    async with scripted(answer, rows(1), retry_budget=10, maintenance_patience=3600) as (client, script):
        await page_of(client)
        assert script.asked[1].at == pytest.approx(1200, abs=0.1)


@in_jumping_time
async def test_a_retry_after_beyond_patience_is_given_up_at_once_by_everybody() -> None:
    async with scripted(Answer(429, b"", {"Retry-After": "86400"}), rows(1), retry_budget=900) as (client, script):
        with pytest.raises(TransientError) as raised:
            await page_of(client)
        assert raised.value.retry_after == 86400
        assert "86400 s" in raised.value.mend
        with pytest.raises(TransientError):
            await page_of(client)
        assert not await client.probe()
        assert len(script.asked) == 1
        assert now() < 1


@pytest.mark.parametrize("value", ["0", "soon", "", "-5", http_date(2020, 1, 1), "9" * 400])
@in_jumping_time
async def test_a_retry_after_that_says_nothing_leaves_our_own_waits(value: str) -> None:
    async with scripted(Answer(429, b"", {"Retry-After": value}), retry_budget=60) as (client, script):
        with pytest.raises(TransientError):
            await page_of(client)
        assert len(script.asked) < 15


def test_an_http_date_goes_by_the_servers_clock() -> None:
    assert _retry_after(http_date(2026, 11, 23, 2, 0, 30), DATE) == 30
    assert _retry_after(http_date(2020, 1, 1, 0, 0, 30), http_date(2020, 1, 1)) == 30
    assert _retry_after(http_date(2020, 1, 1), "") == 0


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_header_is_a_delay_or_none(value: str, date: str) -> None:
    seconds = _retry_after(value, date)
    assert seconds is None or seconds >= 0


# How gently


@pytest.mark.parametrize(
    ("step", "halved"),
    [
        (Answer(429), True),
        (Answer(503), True),
        (Answer(500, POOL_TIMEOUT), True),
        (TimeoutError(), True),
        (aiohttp.ServerDisconnectedError(), True),
        (web_page(524), True),
        (Answer(body=b'{"count":'), False),
        (MAINTENANCE, False),
        (Answer(404, b'{"error":"no"}'), False),
        (rows(2, 1), False),
    ],
)
@in_jumping_time
async def test_overload_halves_concurrency(step: Answer | Exception, halved: bool) -> None:
    async with scripted(step, concurrency=8) as (client, _):
        with pytest.raises(RegistryError):
            await page_of(client)
        assert client.throttle.concurrency == (4 if halved else 8)
        assert client.throttle.in_flight == 0


@in_jumping_time
async def test_retries_are_held_to_the_rate_too() -> None:
    async with scripted(Answer(500, POOL_TIMEOUT), rate=1.0, concurrency=50, retry_budget=40) as (client, script):
        await asyncio.gather(*(page_of(client) for _ in range(20)), return_exceptions=True)
        moments = [asked.at for asked in script.asked]
    assert len(moments) > 25
    assert all(b - a >= 1 for a, b in pairwise(moments))


@in_jumping_time
async def test_a_cancelled_request_gives_its_slot_back() -> None:
    async with scripted(Answer(500, POOL_TIMEOUT), retry_budget=900, concurrency=1) as (client, _):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(20):
                await page_of(client)
        assert client.throttle.in_flight == 0


# The probe


@in_jumping_time
async def test_probe_is_one_attempt_and_none_while_paused() -> None:
    async with scripted(Answer(500, POOL_TIMEOUT), Answer(body=b"{}"), rows(1), retry_budget=900) as (client, script):
        assert await client.probe() is False
        assert await client.probe() is False
        assert await client.probe() is True
        client.throttle.pause(10)
        assert await client.probe() is False
        assert len(script.asked) == 3


@in_jumping_time
async def test_outside_its_async_with_the_client_says_so() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await page_of(client_for())
