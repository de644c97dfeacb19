"""HTTP/1.1 with a short cut: hot routes are answered without a task for each request.

uvicorn makes a task, an event and two writes of every request. A request that never waits (its
models compute in the loop, there is no Redis to ask and no work to carry out) needs none of that:
a ``POST`` to a hot route with a plain body is handed to the gathering, and its answer written at
once. One whose body says that it may wait is given to uvicorn whole, as if it had just arrived.
Everything else, and everything that is unusual about a request (chunked or huge bodies, Expect,
pipelining behind another route, a client that does not read), takes uvicorn's own way from the
start. See benchmarks/notes.md for what it gains.
"""

from __future__ import annotations

from http import HTTPStatus
from time import perf_counter
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.front.gathering import Gathering
from service.front.hot import Reply
from service.telemetry.correlation import REQUEST_ID, TRACEPARENT, id_of, parent_of
from service.telemetry.reporting import SILENT, Reporting

_HEAD: Final = {
    status.value: (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
        "content-length: "
    ).encode()
    for status in HTTPStatus
}
_CLOSE: Final = b"connection: close\r\n"
_LAST_WORD_S: Final = 0.5
"""How long a server that drains waits for what an idle connection may have sent."""


class HotProtocol(HttpToolsProtocol):
    """uvicorn's protocol with the short cut.

    Args:
        gathering: what answers.
        reports: where requests are told of; one that is traced goes uvicorn's way.
        arguments: what uvicorn passes on.
    """

    def __init__(
        self, *arguments: Any, gathering: Gathering, reports: Reporting = SILENT, **named: Any
    ):
        super().__init__(*arguments, **named)
        self._reports = reports
        self._request_id: bytes | None = None
        self._parent: bytes | None = None
        self._asked = ""
        self._began = 0.0
        self._gathering = gathering
        self._hot = gathering.hot
        self._submitted = False
        self._route: str | None = None
        self._body: list[bytes] = []
        self._last = False

    def on_headers_complete(self) -> None:
        """Decide, once the headers are known, which way the request takes."""
        if self._submitted:  # pipelined: answers go out in the order of the requests
            self._gathering.flush()
        route = self.url.decode("latin-1")
        if route in self._hot and self._is_plain() and not self._is_traced():
            self._route = self._asked = route
            self._began = perf_counter()
            self._body.clear()
        else:
            super().on_headers_complete()
            if self._last:
                self.cycle.keep_alive = False

    def _is_plain(self) -> bool:
        """A POST that can be answered at once, with a body of a known and allowed length."""
        pipeline = self._hot.pipeline
        if self.parser.get_method() != b"POST" or self.flow.write_paused:
            return False
        if self.cycle is not None and not self.cycle.response_complete:
            return False
        if self.expect_100_continue or self.parser.get_http_version() != "1.1":
            return False
        length = self._request_id = self._parent = None
        for name, value in self.headers:
            if name == b"content-length":
                length = int(value)
            elif name == REQUEST_ID:
                self._request_id = value
            elif name == TRACEPARENT:
                self._parent = value
            elif name in (b"content-encoding", b"transfer-encoding", b"upgrade"):
                return False
        return length is not None and length <= pipeline.limits.max_body_bytes

    def _is_traced(self) -> bool:
        """Decide it once: chance would decide otherwise the next time."""
        if self._reports.tracing is None:
            return False
        traced: bool = self._reports.wants(parent_of(self._parent))
        self.scope["state"]["traced"] = traced
        return traced

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        if self._route is None:
            super().on_body(body)
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """Hand the request over."""
        route = self._route
        if route is None:
            super().on_message_complete()
            return
        self._route = None
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        if self._hot.waits(body):
            self._pass_on(body)
            return
        last = self._last or not self.parser.should_keep_alive()
        self._submitted = True
        self._gathering.submit(self, route, body, last)

    def _pass_on(self, body: bytes) -> None:
        """Let uvicorn do it, with a task that can wait and a client that can go away meanwhile."""
        super().on_headers_complete()
        self.cycle.keep_alive = self.cycle.keep_alive and not self._last
        super().on_body(body)
        super().on_message_complete()

    def answer(self, reply: Reply, last: bool) -> None:
        """Write the answer, unless the client has gone meanwhile."""
        self._submitted = False
        if self.transport.is_closing():
            return
        last = last or self._last
        request_id = id_of(self._request_id)
        parts = [
            _HEAD[reply.status],
            b"%d\r\nx-request-id: %s\r\n" % (len(reply.payload), request_id),
        ]
        if reply.retry_after is not None:
            parts.append(b"retry-after: %d\r\n" % reply.retry_after)
        if last:
            parts.append(_CLOSE)
        parts += (b"\r\n", reply.payload)
        self.transport.write(b"".join(parts))
        access = self._reports.access
        if reply.status >= 400 or access.everything:
            parent, seconds = parent_of(self._parent), perf_counter() - self._began
            trace_id = parent.trace_id if parent else ""
            access.http("POST", self._asked, reply.status, seconds, request_id, trace_id)
        if last:
            self.transport.close()
        self.on_response_complete()

    @property
    def unanswered(self) -> bool:
        """A request has begun to arrive and has no answer yet."""
        return self._route is not None or self._submitted

    def send_400_response(self, msg: str) -> None:
        """End the connection over bytes that are no HTTP, behind what was asked before them.

        Requests that came whole have their answers first, so that none is taken for the other.
        """
        if self._submitted:
            self._gathering.flush()
        newest = self.pipeline[0][0] if self.pipeline else self.cycle
        if newest is None or newest.response_complete or newest.more_body:
            super().send_400_response(msg)
        else:
            newest.keep_alive = False

    def shutdown(self) -> None:
        """Drain: what has begun to arrive, or is on its way, is answered; then the connection ends.

        One that is idle is kept for a moment: its client may have sent a request already.
        """
        self._last = True
        if self._idle:
            self.loop.call_later(_LAST_WORD_S, self._leave)
        elif self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False

    def _leave(self) -> None:
        if self._idle:
            self.transport.close()

    @property
    def _idle(self) -> bool:
        return not self.unanswered and (self.cycle is None or self.cycle.response_complete)
