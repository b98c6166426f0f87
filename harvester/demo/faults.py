"""Everything that goes wrong between a client and the Registry, on order.

Hides the shape of each failure's answer: the Registry's own JSON, CloudFlare's HTML, a proxy's, or none at all.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

FaultKind = Literal[
    "status",
    "challenge",
    "reset",
    "reset_body",
    "truncated",
    "invalid_json",
    "stall",
    "unauthorized",
    "maintenance",
    "slow",
    "redirect",
    "html",
    "no_results",
]
KINDS: tuple[FaultKind, ...] = get_args(FaultKind)

OUTAGE_401 = b'{"Error":"API credentials are missing or invalid.","StatusCode":401}'
JSON_TYPE = "application/json; charset=utf-8"
HTML_TYPE = "text/html; charset=UTF-8"


@dataclass(frozen=True)
class Fault:
    """One failure on order.

    It concerns member API requests whose path and query contain `path`; the first `after` of them are spared, then
    `times` are hit (None: for ever), each with probability `rate`. `status`: the code of kinds `status` and
    `challenge`. `retry_after`: sent as it stands, seconds or an HTTP date. `seconds`: how long `slow` delays, `stall`
    is silent and `maintenance` lasts (0: maintenance lasts `times` requests). `location`: where `redirect` leads.
    `body` replaces the answer's usual text.
    """

    kind: FaultKind
    path: str = ""
    after: int = 0
    times: int | None = 1
    rate: float = 1.0
    status: int = 0
    retry_after: str | None = None
    seconds: float = 0.0
    location: str = "http://elsewhere.invalid/member-api/v3/objects"
    body: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no such fault: {self.kind}")

    @classmethod
    def mixed(cls, rate: float, *, seconds: float = 0.02, without: Collection[str] = ()) -> list[Fault]:
        """Faults of all kinds but those in `without`, for ever, hitting about `rate` of the requests together.

        The first few requests are spared what a client must take for a refusal when it has not succeeded yet.
        """
        orders = [
            cls("status", status=500),
            cls("status", status=502),
            cls("status", status=524),
            cls("status", status=429, retry_after="0"),
            cls("status", status=429),
            *(cls(kind, seconds=seconds) for kind in KINDS if kind != "status"),
        ]
        orders = [order for order in orders if order.kind not in without]
        return [
            replace(order, times=None, rate=rate / len(orders), after=5 if order.kind == "unauthorized" else 0)
            for order in orders
        ]


@dataclass(frozen=True)
class FaultAnswer:
    """A whole answer that stands in for the Registry's."""

    status: int
    body: bytes
    content_type: str = JSON_TYPE
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class _Order:
    fault: Fault
    seen: int = 0
    fired: int = 0

    @property
    def exhausted(self) -> bool:
        return self.fault.times is not None and self.fired >= self.fault.times


class Faults:
    """The faults on order, and the one source of chance that decides between them."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._orders: list[_Order] = []
        self._maintenance_until = -math.inf

    def add(self, fault: Fault) -> None:
        """Order a fault."""
        self._orders.append(_Order(fault))

    def clear(self) -> None:
        """Cancel all; maintenance ends."""
        self._orders.clear()
        self._maintenance_until = -math.inf

    def strike(self, path_qs: str, now: float) -> Fault | None:
        """The fault that hits this request, if any."""
        if now < self._maintenance_until:
            return Fault("maintenance")
        for order in self._orders:
            if order.fault.path not in path_qs:
                continue
            order.seen += 1
            if order.seen <= order.fault.after or order.exhausted:
                continue
            if order.fault.rate < 1.0 and self._random.random() >= order.fault.rate:
                continue
            order.fired += 1
            if order.fault.kind == "maintenance":
                self._maintenance_until = now + order.fault.seconds
            return order.fault
        return None

    def maintenance_is_on(self, now: float) -> bool:
        """What the maintenance page goes by."""
        if now < self._maintenance_until:
            return True
        return any(
            order.fault.kind == "maintenance" and order.fault.seconds == 0 and order.fired and not order.exhausted
            for order in self._orders
        )


def answer(fault: Fault) -> FaultAnswer | None:
    """The answer of a fault that has one of its own; None for those that spoil the real answer."""
    if fault.kind == "status":
        return _status(fault)
    if fault.kind == "challenge":
        headers = {"cf-ray": "8c1f2e3d4b5a6978-IAD", "cf-mitigated": "challenge", "Server": "cloudflare"}
        page = fault.body or "<!DOCTYPE html><html><head><title>Just a moment...</title></head><body></body></html>"
        return FaultAnswer(fault.status or 403, page.encode(), HTML_TYPE, headers)
    if fault.kind == "unauthorized":
        return FaultAnswer(401, OUTAGE_401)
    if fault.kind == "maintenance":
        return FaultAnswer(302, b"", HTML_TYPE, {"Location": "/maintenance?format=json"})
    if fault.kind == "redirect":
        return FaultAnswer(fault.status or 302, b"", HTML_TYPE, {"Location": fault.location})
    if fault.kind == "html":
        page = fault.body or "<!DOCTYPE html><html><body><h1>Welcome to the hotel Wi-Fi</h1></body></html>"
        return FaultAnswer(200, page.encode(), HTML_TYPE)
    if fault.kind == "no_results":
        return FaultAnswer(200, (fault.body or '{"message":"APTrust Registry is up."}').encode())
    return None


def _status(fault: Fault) -> FaultAnswer:
    status = fault.status or 500
    headers = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
    if fault.body is not None:
        kind = HTML_TYPE if fault.body.lstrip().startswith("<") else JSON_TYPE
        return FaultAnswer(status, fault.body.encode(), kind, headers)
    if status == 500:
        return FaultAnswer(500, b'{"StatusCode":500,"Error":"pg: connection pool timeout"}', headers=headers)
    if status == 401:
        return FaultAnswer(401, OUTAGE_401, headers=headers)
    if 520 <= status <= 527 or status == 429:
        headers |= {"cf-ray": "8c1f2e3d4b5a6978-IAD", "Server": "cloudflare"}
    page = f"<html><head><title>{status}</title></head><body><center><h1>{status}</h1></center></body></html>"
    return FaultAnswer(status, page.encode(), HTML_TYPE, headers)
