"""A server that answers as a test says: what the demo Registry cannot be, such as a proxy or one with TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

import orjson

CERTIFICATE = Path(__file__).parent / "localhost.pem"
"""For localhost and 127.0.0.1, signed by itself, with its key; good for nothing else."""

Reply = Callable[[str], tuple[int, dict[str, str], bytes]]


@dataclass
class Server:
    """Where it is, and the paths it was asked for."""

    url: str
    asked: list[str] = field(default_factory=list)


def page(*rows: dict[str, Any], count: int | None = None) -> bytes:
    """A list as the Registry answers it."""
    number = len(rows) if count is None else count
    return orjson.dumps({"count": number, "next": "", "previous": "", "results": rows or None})


@asynccontextmanager
async def answering(reply: Reply, *, tls: bool = False) -> AsyncIterator[Server]:
    """A server on a free port."""
    server = Server("")
    open_ones: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ones.add(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split()[1].decode()
                server.asked.append(path)
                status, headers, body = reply(path)
                own = {"Date": formatdate(usegmt=True), "Content-Length": str(len(body)), **headers}
                lines = [f"HTTP/1.1 {status} x", *(f"{name}: {value}" for name, value in own.items()), "", ""]
                writer.write("\r\n".join(lines).encode() + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
    listening = await asyncio.start_server(serve, "0.0.0.0", 0, ssl=context)
    port = listening.sockets[0].getsockname()[1]
    server.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    try:
        yield server
    finally:
        listening.close()
        for writer in open_ones:
            writer.close()
            with suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()
