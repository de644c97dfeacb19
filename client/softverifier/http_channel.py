"""HTTP ways to a server, blocking and asyncio, over httpx.

Connections are kept and reused. ``timeout`` bounds connecting, sending and the first byte each,
and the body as a whole. httpx is imported when the first client connects.

Limits: HTTP/1.1; a server that drips its response headers byte by byte is not bounded by the
total.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, Final

from softverifier.errors import UsageError
from softverifier.exchange import Ask
from softverifier.http_messages import message_of, reply_of
from softverifier.items import ItemLike, encoded
from softverifier.loops import PerLoop
from softverifier.options import Options
from softverifier.patience import Fault
from softverifier.waiting import within

if TYPE_CHECKING:
    import ssl

    import httpx

MOST_CONNECTIONS: Final = 64


def encode(item: ItemLike) -> tuple[bytes, int]:
    """The item as JSON, and its size."""
    body = encoded(item)
    return body, len(body)


class HttpChannel:
    """Blocking; safe for use from many threads."""

    def __init__(self, options: Options) -> None:
        import httpx

        self._httpx = httpx
        self._client = httpx.Client(**_settings(options))

    encode = staticmethod(encode)

    def perform(self, ask: Ask) -> Any:
        """Send and wait.

        Raises:
            Fault: no success.
        """
        message = message_of(ask)
        end = time.monotonic() + ask.timeout
        try:
            with self._client.stream(
                message.method, message.path, content=message.body, timeout=ask.timeout
            ) as response:
                parts = []
                for part in response.iter_bytes():
                    parts.append(part)
                    if time.monotonic() > end:
                        raise Fault(f"no answer within {ask.timeout:.1f} s", retryable=True)
                return reply_of(ask, response.status_code, response.headers, b"".join(parts))
        except self._httpx.RequestError as error:
            raise _fault(error, ask.timeout) from error

    def close(self) -> None:
        """Close every connection."""
        self._client.close()


class AsyncHttpChannel:
    """asyncio; one pool of connections for each event loop, since sockets belong to a loop."""

    def __init__(self, options: Options) -> None:
        import httpx

        self._httpx = httpx
        self._pools = PerLoop(lambda: _Pool(httpx.AsyncClient(**_settings(options))))

    encode = staticmethod(encode)

    async def perform(self, ask: Ask) -> Any:
        """Send and wait.

        Raises:
            Fault: no success.
        """
        message = message_of(ask)
        client = await self._pools.here().opened()
        sending = client.request(
            message.method, message.path, content=message.body, timeout=ask.timeout
        )
        try:
            response = await within(sending, ask.timeout)
        except TimeoutError as error:
            raise Fault(f"no answer within {ask.timeout:.1f} s", retryable=True) from error
        except self._httpx.RequestError as error:
            raise _fault(error, ask.timeout) from error
        return reply_of(ask, response.status_code, response.headers, response.content)

    async def close(self) -> None:
        """Close the connections of the running loop; other loops close theirs when they end."""
        pool = self._pools.taken()
        if pool is not None:
            await pool.close()


class _Pool:
    """Connections of one loop, closed by ``close`` or when ``asyncio.run`` ends the loop."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._keeper = self._kept()
        self._begun = False

    async def opened(self) -> httpx.AsyncClient:
        if not self._begun:
            self._begun = True
            await self._keeper.__anext__()
        return self._client

    async def _kept(self) -> AsyncGenerator[None, None]:
        # A loop that ends closes the asynchronous generators that were begun in it: the one moment
        # when connections that nobody closed still can be.
        try:
            yield
        finally:
            await self._client.aclose()

    async def close(self) -> None:
        await self._keeper.aclose()
        await self._client.aclose()


def _settings(options: Options) -> dict[str, Any]:
    import httpx

    settings: dict[str, Any] = {
        "base_url": options.url,
        "headers": {"content-type": "application/json", **options.sent_headers},
        "limits": httpx.Limits(
            max_connections=MOST_CONNECTIONS, max_keepalive_connections=MOST_CONNECTIONS
        ),
    }
    if options.url.startswith("http://"):
        # Nothing to verify (redirects are not followed), and reading the certificates would take
        # some 20 ms in every event loop of a trainer that makes one for each step.
        settings["verify"] = False
    else:
        settings["verify"] = _context(options)
    return settings


def _context(options: Options) -> ssl.SSLContext:
    """What we trust, and what we show.

    Raises:
        UsageError: a file cannot be read, or is not what it should be.
    """
    import ssl

    import httpx

    try:
        if options.ca_file is not None:
            context = ssl.create_default_context(cafile=options.ca_file)
        else:
            context = httpx.create_ssl_context()
        if options.cert_file is not None:
            context.load_cert_chain(options.cert_file, options.key_file)
    except OSError as error:
        files = (options.ca_file, options.cert_file, options.key_file)
        named = ", ".join(file for file in files if file)
        raise UsageError(f"certificate files ({named}) cannot be used: {error}") from error
    if not options.verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _fault(error: httpx.RequestError, timeout: float) -> Fault:
    import httpx

    if isinstance(error, httpx.TimeoutException):
        return Fault(f"no answer within {timeout:.1f} s", retryable=True)
    return Fault(
        f"{type(error).__name__}: {error}" if str(error) else type(error).__name__, retryable=True
    )
