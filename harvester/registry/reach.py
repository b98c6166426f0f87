"""How far one gets towards a server without asking it anything: its name, a connection, its certificate.

Hides sockets. The API key is not sent, and no request is made.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from harvester.errors import ProtocolError, RegistryError, TransientError

PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Certificate:
    """Whom a valid certificate is from, and when it ends."""

    issuer: str
    ends: datetime


class Reach:
    """A connection to the server of a URL, made step by step; `close` it."""

    def __init__(self, url: str, timeout: float) -> None:
        parts = urlsplit(url)
        self.host = parts.hostname or ""
        self.port = parts.port or PORTS[parts.scheme]
        self.encrypted = parts.scheme == "https"
        self._url = url
        self._timeout = timeout
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self) -> tuple[str, float]:
        """The address that answers, and the seconds it took. Raises ProtocolError for a name that nobody has."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout):
                _, self._writer = await asyncio.open_connection(self.host, self.port)
        except socket.gaierror as error:
            if error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)):
                raise ProtocolError("no host of this name is known", place=self._url) from None
            raise TransientError(f"the host name cannot be resolved ({error.strerror})", place=self._url) from None
        except TimeoutError:
            raise TransientError(f"no connection in {self._timeout:g} s", place=self._url) from None
        except OSError as error:
            reason = error.strerror or str(error)
            raise TransientError(f"cannot connect to port {self.port} ({reason})", place=self._url) from None
        return self._writer.get_extra_info("peername")[0], time.monotonic() - started

    async def encrypt(self) -> Certificate:
        """The server's certificate. Raises ProtocolError if it is not valid, or the server has none."""
        assert self._writer is not None
        try:
            async with asyncio.timeout(self._timeout):
                await self._writer.start_tls(ssl.create_default_context(), server_hostname=self.host)
        except ssl.SSLCertVerificationError as error:
            problem = f"the server's certificate is not valid ({error.verify_message})"
            raise ProtocolError(problem, place=self._url, mend=_mend(error)) from None
        except (OSError, TimeoutError) as error:
            raise self._without_tls(error) from None
        found = self._writer.get_extra_info("peercert")
        issuer = {name: value for part in found.get("issuer", ()) for name, value in part}
        ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(found["notAfter"]), UTC)
        return Certificate(issuer.get("organizationName") or issuer.get("commonName") or "nobody named", ends)

    def _without_tls(self, error: Exception) -> RegistryError:
        if isinstance(error, ssl.SSLError):
            problem = f"port {self.port} does not speak TLS ({error.reason or error})"
            return ProtocolError(problem, place=self._url, mend="check registry_url")
        what = f"in {self._timeout:g} s" if isinstance(error, TimeoutError) else f"({error or 'it hung up'})"
        return TransientError(f"no TLS connection {what}", place=self._url)

    async def close(self) -> None:
        """Hang up."""
        if self._writer is not None:
            self._writer.close()
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(1.0):  # a server that is slow to say goodbye
                    await self._writer.wait_closed()


def _mend(error: ssl.SSLCertVerificationError) -> str:
    message = error.verify_message
    if "self-signed" in message or "self signed" in message or "local issuer" in message:
        return "a proxy may be in between: SSL_CERT_FILE names the certificates that this machine is to trust"
    if "expired" in message or "not yet valid" in message:
        return "check this machine's clock; if it is right, tell APTrust"
    return "check registry_url"


__all__ = ["Certificate", "Reach"]
