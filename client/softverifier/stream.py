"""One bidirectional gRPC stream: many requests in flight, each answer finds its request by id.

Requests come from any thread and are answered through futures. When the stream ends, for whatever
reason, everything still waiting gets a ``Fault`` that may be tried again; a new stream is for the
channel to open. Limits: a request that was given up is still worked on by the server, its answer
is dropped.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from queue import SimpleQueue
from typing import Protocol

import grpc

from softverifier._pb import rewards_pb2 as pb
from softverifier.grpc_faults import fault_of_code, fault_of_error
from softverifier.patience import Fault


class Call(Protocol):
    """What grpc gives for an open stream."""

    def __iter__(self) -> Iterator[pb.ScoreResponse]:
        """The answers."""
        ...

    def cancel(self) -> bool:
        """End it."""
        ...


OpenCall = Callable[[Iterator[pb.ScoreRequest]], Call]


class StreamOver(Exception):
    """The stream ended before this request was put on it; open another."""


class ScoreStream:
    """``Rewards.ScoreStream`` as a function from requests to futures."""

    def __init__(self, open_call: OpenCall) -> None:
        self._requests: SimpleQueue[pb.ScoreRequest | None] = SimpleQueue()
        self._waiting: dict[str, Future[pb.ScoreResponse]] = {}
        self._lock = threading.Lock()
        self._over: Fault | None = None
        self._retired = False
        self._count = 0
        self._call = open_call(iter(self._requests.get, None))
        threading.Thread(target=self._read, name="softverifier-stream", daemon=True).start()

    def submit(self, request: pb.ScoreRequest) -> Future[pb.ScoreResponse]:
        """Send; the future holds the answer or a ``Fault``.

        Raises:
            StreamOver: nothing was sent.
        """
        future: Future[pb.ScoreResponse] = Future()
        with self._lock:
            if self._over is not None or self._retired:
                raise StreamOver
            self._count += 1
            request.request_id = str(self._count)
            self._waiting[request.request_id] = future
            self._requests.put(request)
        future.add_done_callback(lambda _, key=request.request_id: self._forget(key))  # type: ignore[misc]
        return future

    def ending(self) -> Fault:
        """Why the stream is over."""
        return _copy(self._over or Fault("the stream is over", retryable=True, code="UNAVAILABLE"))

    def retire(self) -> None:
        """Take no more requests, and end once those in flight are done: it answers too slowly."""
        with self._lock:
            self._retired = True
            idle = not self._waiting
        if idle:
            self.close()

    def close(self) -> None:
        """End the stream; what still waits gets a fault."""
        self._end(Fault("the client was closed", retryable=False, code="CLOSED"))
        self._call.cancel()

    def _forget(self, key: str) -> None:
        with self._lock:
            self._waiting.pop(key, None)
            done = self._retired and not self._waiting and self._over is None
        if done:
            self.close()

    def _read(self) -> None:
        fault = Fault("the stream's reader failed", retryable=True, code="INTERNAL")
        try:
            for response in self._call:
                self._settle(response)
            fault = Fault("the server ended the stream", retryable=True, code="UNAVAILABLE")
        except grpc.RpcError as error:
            fault = fault_of_error(error)
        finally:
            # Whatever ended this thread, nobody may wait for it any longer.
            self._end(fault)

    def _settle(self, response: pb.ScoreResponse) -> None:
        with self._lock:
            future = self._waiting.get(response.request_id)
        if future is None:
            return
        try:
            if response.HasField("error"):
                future.set_exception(fault_of_code(response.error.code, response.error.message))
            else:
                future.set_result(response)
        except InvalidStateError:
            pass  # given up a moment ago

    def _end(self, fault: Fault) -> None:
        with self._lock:
            if self._over is not None:
                return
            self._over = fault
            waiting = list(self._waiting.values())
        self._requests.put(None)
        for future in waiting:
            with contextlib.suppress(InvalidStateError):
                future.set_exception(_copy(fault))


def _copy(fault: Fault) -> Fault:
    """Each waiter gets its own: an exception that is raised twice mixes its tracebacks."""
    return Fault(fault.message, retryable=fault.retryable, status=fault.status, code=fault.code)
