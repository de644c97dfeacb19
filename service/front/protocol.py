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

from hmac import compare_digest
from http import HTTPStatus
from time import perf_counter
from typing import Any, Final

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.errors import ServiceError
from service.front.doors import Doors
from service.front.entry import MOST_HEADERS
from service.front.gathering import Gathering
from service.front.hot import Reply
from service.front.wire import ErrorBody, ErrorResponse
from service.security.gate import ANYONE, Gate, scope_of_route
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
LINGER_S: Final = 1.0
_SHOWN: Final = 200
"""Of a target without end, so many bytes are told."""
_LAST_WORD_S: Final = 0.5
"""How long a server that drains waits for what an idle connection may have sent."""


class HotProtocol(HttpToolsProtocol):
    """uvicorn's protocol with the short cut.

    Args:
        gathering: what answers.
        gate: who may ask.
        doors: how many may connect, and how long they may take.
        reports: where requests are told of; one that is traced goes uvicorn's way.
        arguments: what uvicorn passes on.
    """

    def __init__(
        self,
        *arguments: Any,
        gathering: Gathering,
        gate: Gate,
        doors: Doors,
        reports: Reporting = SILENT,
        **named: Any,
    ):
        super().__init__(*arguments, **named)
        self._reports = reports
        self._request_id: bytes | None = None
        self._parent: bytes | None = None
        self._named = ""
        self._began = 0.0
        self._gathering = gathering
        self._hot = gathering.hot
        self._submitted = False
        self._route: str | None = None
        self._body: list[bytes] = []
        self._last = False
        self._gate = gate
        self._doors = doors
        self._caller = ANYONE
        self._certified = False
        self._shown = b""
        """What ``_caller`` has shown."""
        self._admitted: tuple[bytes, int] | None = None
        """For which route, to which keys."""
        self._refused = False
        self.address = ""
        self.head: int | None = 0
        """Bytes of headers that have come so far; None: none are waited for."""
        self._long = False
        """So many that the headers among them may be too long."""
        self.since: float | None = None
        """When what the client owes us began, headers or body; None: it owes nothing."""

    def connection_made(self, transport: Any) -> None:
        """Let the connection in if there is room."""
        super().connection_made(transport)
        self.since = self.loop.time()
        self.address = self.client[0] if self.client else ""
        if turned_away := self._doors.enter(self):
            self.refuse(503, *turned_away)
        elif (shown := transport.get_extra_info("ssl_object")) is not None:
            self._certified = bool(shown.getpeercert())
            self.app_state = {**self.app_state, "certified": self._certified}

    def connection_lost(self, exc: Exception | None) -> None:
        """Make room."""
        self._doors.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, unless nothing is wanted of this connection any more."""
        if self._refused:
            return
        most = self._doors.max_header_bytes
        if self.head is not None:
            self.head += len(data)
        self._long = len(data) > most or (self.head is not None and self.head > most)
        super().data_received(data)
        if self.head is not None and self.head > most:
            self.refuse(431, "headers", self._doors.too_long)

    def refuse(self, status: int, cause: str, message: str) -> None:
        """End the connection of a client that does not do its part, and say why.

        It is cut off a moment later: closing at once would throw the answer away with what the
        client is still sending. What was asked before is answered first, and then nothing more, so
        that none is taken for the other.
        """
        if self.pipeline and self.head is None:
            self.since = self.loop.time()  # nothing is read while what came before is worked on
            return
        self._hot.pipeline.metrics.refused(cause)
        self._refused = True
        self.since = None
        if self._submitted:
            self._gathering.flush()
        if self._submitted or (self.head is not None and self._working):
            self._last = True
            if self._working:
                self.cycle.keep_alive = False
            return
        begun = self.head is None and self._route is None
        if begun and self.cycle is not None and self.cycle.response_complete:
            self.transport.close()  # it has its answer and goes on sending what nobody wanted
            return
        payload = msgspec.json.encode(ErrorResponse(ErrorBody("refused", message)))
        after = b"retry-after: 1\r\n" if status == HTTPStatus.SERVICE_UNAVAILABLE else b""
        head = b"%s%d\r\n%s" % (_HEAD[status], len(payload), after)
        self.transport.write(head + _CLOSE + b"\r\n" + payload)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.transport.abort)

    def on_message_begin(self) -> None:
        """A request begins to arrive."""
        super().on_message_begin()
        self.head = 0
        self.since = self.loop.time()

    def on_headers_complete(self) -> None:
        """Decide, once the headers are known, which way the request takes."""
        self.head = None
        if self._submitted:  # pipelined: answers go out in the order of the requests
            self._gathering.flush()
        route = self.url.decode("latin-1")
        if self._long and self._too_long():
            self.url = self.url[:_SHOWN]  # what is said of it, where there may be no end
            self.scope["state"]["too_long"] = self._doors.too_long
            super().on_headers_complete()
        elif route in self._hot and self._is_plain() and not self._is_traced():
            self._route = self._named = route
            self._began = perf_counter()
            self._body.clear()
        else:
            super().on_headers_complete()
            if self._last:
                self.cycle.keep_alive = False

    def _too_long(self) -> bool:
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        return size > self._doors.max_header_bytes

    def _is_plain(self) -> bool:
        """A POST that can be answered at once, with a body of a known and allowed length.

        Of a caller who may; one who may not is told so on uvicorn's way.
        """
        pipeline = self._hot.pipeline
        if self.parser.get_method() != b"POST" or self.flow.write_paused:
            return False
        if self._working:
            return False
        if self.expect_100_continue or self.parser.get_http_version() != "1.1":
            return False
        length, authorization = None, None
        self._request_id = self._parent = None
        for name, value in self.headers:
            if name == b"content-length":
                length = int(value)
            elif name == b"authorization":
                authorization = value
            elif name == REQUEST_ID:
                self._request_id = value
            elif name == TRACEPARENT:
                self._parent = value
            elif name in (b"content-encoding", b"transfer-encoding", b"upgrade"):
                return False
        if length is None or length > pipeline.limits.max_body_bytes:
            return False
        if len(self.headers) > MOST_HEADERS:
            return False
        return not self._gate.bars or self._admits(authorization)

    def _admits(self, authorization: bytes | None) -> bool:
        """Ask the gate, but not twice for what this very connection has shown before."""
        shown, asked = authorization or b"", (self.url, self._gate.generation)
        # In constant time: a proxy may put several clients on one connection.
        known = asked == self._admitted and compare_digest(shown, self._shown)
        if known and not self._caller.expired:
            return True
        scope = scope_of_route("POST", self.url.decode("latin-1"))
        try:
            self._caller = self._gate.admit(scope, authorization, None, certified=self._certified)
        except ServiceError:
            return False
        self._shown, self._admitted = shown, asked
        return True

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
        self.since = None
        route = self._route
        if route is None:
            super().on_message_complete()
            return
        self._route = None
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        if self._hot.waits(body, self._caller, route):
            self._pass_on(body)
            return
        last = self._last or not self.parser.should_keep_alive()
        self._submitted = True
        self._gathering.submit(self, route, body, last, self._caller)

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
            access.http("POST", self._named, reply.status, seconds, request_id, trace_id)
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
        elif self._working:
            self.cycle.keep_alive = False

    def _leave(self) -> None:
        if self._idle:
            self.transport.close()

    @property
    def _idle(self) -> bool:
        return not self.unanswered and not self._working

    @property
    def _working(self) -> bool:
        """The newest request on uvicorn's way has no answer yet."""
        return self.cycle is not None and not self.cycle.response_complete
