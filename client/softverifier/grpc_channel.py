"""gRPC ways to a server, blocking and asyncio, over one channel and one stream of scores.

Both use grpc's threads and futures, so that an asyncio client works from any event loop, one
after the other. Needs the extra: ``pip install 'softverifier[grpc]'``.

Limits: profiles are listed over HTTP only; a connection is made again at most every 2 s.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from softverifier.errors import UsageError
from softverifier.exchange import Ask, PredictAsk, ProbeAsk, ScoreAsk
from softverifier.items import ItemLike, without_lone_surrogates
from softverifier.options import Options
from softverifier.patience import Fault
from softverifier.rewards import Malformed
from softverifier.waiting import within

try:
    import grpc

    from softverifier import wire
    from softverifier._pb import rewards_pb2 as pb
    from softverifier._pb import worldmodels_pb2 as models_pb
    from softverifier.grpc_faults import fault_of_error
    from softverifier.stream import ScoreStream, StreamOver
except ModuleNotFoundError as error:
    raise UsageError(
        f"grpc:// needs {error.name!r}, which is not installed; pip install 'softverifier[grpc]'"
    ) from error

SETTINGS: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
)
SERVING: Final = b"\x08\x01"
"""``grpc.health.v1.HealthCheckResponse`` with status SERVING; its request is empty bytes."""


class GrpcChannel:
    """Blocking; safe for use from many threads."""

    def __init__(self, options: Options) -> None:
        self._channel = _open(options)
        self._metadata = tuple((key.lower(), value) for key, value in options.sent_headers.items())
        self._lock = threading.Lock()
        self._stream: ScoreStream | None = None
        self._score = self._channel.stream_stream(
            "/softverifier.v1.Rewards/ScoreStream",
            request_serializer=pb.ScoreRequest.SerializeToString,
            response_deserializer=pb.ScoreResponse.FromString,
        )
        self._predict = self._channel.unary_unary(
            "/softverifier.v1.WorldModels/Predict",
            request_serializer=models_pb.PredictRequest.SerializeToString,
            response_deserializer=models_pb.PredictResponse.FromString,
        )
        self._list = self._channel.unary_unary(
            "/softverifier.v1.WorldModels/ListModels",
            request_serializer=models_pb.ListModelsRequest.SerializeToString,
            response_deserializer=models_pb.ListModelsResponse.FromString,
        )
        self._check: Callable[..., Any] = self._channel.unary_unary("/grpc.health.v1.Health/Check")

    def encode(self, item: ItemLike) -> tuple[pb.Item, int]:
        """The item as protobuf, and its size."""
        made = wire.item_of(item)
        return made, made.ByteSize()

    def perform(self, ask: Ask) -> Any:
        """Send and wait.

        Raises:
            Fault: no success.
        """
        future = self.submit(ask)
        try:
            return self.reply(ask, future.result(ask.timeout))
        except concurrent.futures.TimeoutError as error:
            raise self.given_up(ask, future) from error

    def submit(self, ask: Ask) -> Future[Any]:
        """Send; the future holds the raw response or a ``Fault``."""
        if isinstance(ask, ScoreAsk):
            return self._submit_score(ask)
        if isinstance(ask, PredictAsk):
            request = wire.predict_request(
                ask.model, ask.relation, ask.subjects, ask.objects, ask.context
            )
            request.deadline_ms = ask.deadline_ms or 0
            return self._submit_unary(self._predict, request, ask.timeout)
        if isinstance(ask, ProbeAsk):
            return self._submit_unary(self._check, b"", ask.timeout)
        if ask.what == "profiles":
            raise UsageError("profiles are listed over HTTP only: use an http:// client for it")
        return self._submit_unary(self._list, models_pb.ListModelsRequest(), ask.timeout)

    def _submit_score(self, ask: ScoreAsk) -> Future[Any]:
        request = pb.ScoreRequest(
            profile=without_lone_surrogates(ask.profile),
            items=ask.payloads,
            context=wire.context_of(ask.context),
            deadline_ms=ask.deadline_ms or 0,
        )
        with self._lock:
            if self._stream is not None:
                try:
                    return self._stream.submit(request)
                except StreamOver:
                    pass
            self._stream = ScoreStream(
                lambda requests: self._score(requests, metadata=self._metadata)
            )
            try:
                return self._stream.submit(request)
            except StreamOver as error:
                # Nobody listens: the stream ended while it was being opened.
                raise self._stream.ending() from error

    def _submit_unary(
        self, call: Callable[..., Any], request: object, timeout: float
    ) -> Future[Any]:
        future: Future[Any] = Future()
        pending = call.future(  # type: ignore[attr-defined]
            request, timeout=timeout, metadata=self._metadata
        )

        def settle(done: Any) -> None:
            try:
                error = done.exception()
                if error is None:
                    future.set_result(done.result())
                else:
                    future.set_exception(fault_of_error(error))
            except (InvalidStateError, grpc.FutureCancelledError):
                pass  # given up a moment ago

        pending.add_done_callback(settle)
        future.add_done_callback(lambda done: pending.cancel() if done.cancelled() else None)
        return future

    def reply(self, ask: Ask, response: Any) -> Any:
        """What a raw response says.

        Raises:
            Fault: not what the interface promises.
        """
        try:
            if isinstance(ask, ScoreAsk):
                if len(response.results) != len(ask.payloads):
                    raise Malformed(
                        f"{len(response.results)} results for {len(ask.payloads)} items"
                    )
                return [wire.reward_of(result) for result in response.results]
            if isinstance(ask, PredictAsk):
                return wire.prediction_of(response, len(ask.subjects))
        except Malformed as error:
            raise Fault(
                f"an answer that is not as the interface says: {error}", retryable=True
            ) from error
        if isinstance(ask, ProbeAsk):
            return ask.what == "healthz" or response == SERVING
        return [wire.model_of(model) for model in response.models]

    def given_up(self, ask: Ask, future: Future[Any]) -> Fault:
        """Stop waiting for an answer that does not come."""
        stream = self._stream
        if isinstance(ask, ScoreAsk) and stream is not None:
            # The server answers in order: what is behind the stuck request is stuck as well.
            stream.retire()
        future.cancel()
        return Fault(f"no answer within {ask.timeout:.1f} s", retryable=True)

    def close(self) -> None:
        """End the stream and the connection."""
        with self._lock:
            stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
        self._channel.close()


class AsyncGrpcChannel:
    """The same for asyncio."""

    def __init__(self, options: Options) -> None:
        self._blocking = GrpcChannel(options)
        self.encode = self._blocking.encode

    async def perform(self, ask: Ask) -> Any:
        """Send and wait.

        Raises:
            Fault: no success.
        """
        future = self._blocking.submit(ask)
        try:
            response = await within(asyncio.wrap_future(future), ask.timeout)
        except TimeoutError as error:
            raise self._blocking.given_up(ask, future) from error
        return self._blocking.reply(ask, response)

    async def close(self) -> None:
        """End the stream and the connection."""
        self._blocking.close()


def _open(options: Options) -> grpc.Channel:
    parts = urlsplit(options.url)
    settings = list(SETTINGS)
    if parts.scheme == "grpc":
        return grpc.insecure_channel(parts.netloc, options=settings)
    roots, key, chain = map(_bytes, (options.ca_file, options.key_file, options.cert_file))
    credentials = grpc.ssl_channel_credentials(roots, key, chain)
    return grpc.secure_channel(parts.netloc, credentials, options=settings)


def _bytes(file: str | None) -> bytes | None:
    try:
        return None if file is None else Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"certificate file {file} cannot be read: {error.strerror}") from error
