"""``RewardClient``: rewards for completions over HTTP or gRPC, blocking.

    with RewardClient("http://localhost:8080", profile="rbio-mlp") as client:
        rewards = client.rewards([{"completion": "…", "task": {…}}, …])

Order and length are kept whatever happens: items are cut into chunks, chunks travel at the same
time, a chunk that fails is tried again alone. Safe for use from many threads; usable after a fork
(over HTTP; gRPC itself does not survive one that happens while it is in use).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from types import TracebackType
from typing import Any, Final

from softverifier.errors import SoftVerifierError
from softverifier.exchange import (
    Channel,
    Chunk,
    ListAsk,
    ProbeAsk,
    chunks,
    converse,
    patiently,
    predicted,
    scored,
    whole,
)
from softverifier.items import ItemLike
from softverifier.options import Options
from softverifier.patience import Fault
from softverifier.rewards import Prediction, Reward
from softverifier.sessions import Session, checked_columns

ROWS_PER_PREDICT: Final = 65_536
Run = Callable[[Chunk, Callable[[float], object]], list[Reward]]


class RewardClient:
    """A soft-verifier server, asked and waited for.

    Args:
        url: ``http(s)://host:port`` or ``grpc(s)://host:port``.
        profile: the recipe, ``"rbio-mlp"``, or ``"rbio-mlp@sha256:…"`` to pin it.
        timeout: seconds that one try of one request may take.
        deadline: seconds that one call may take, retries included; the server is told, and stops
            working when it passes. None: as long as the retries last.
        retries: further tries of a request that failed with 408, 429, 5xx or on the way.
        item_retries: how often items with a passing error are asked again; 0: never.
        max_items_per_request: where a long list is cut.
        max_bytes_per_request: the same by size.
        concurrency: chunks under way at a time.
        headers: sent with every request (gRPC: as metadata).
        api_key: sent as a bearer token; ``scheme://KEY@host:port`` says the same.
        ca_file: PEM file of the authority to trust, for https and grpcs.
        cert_file: PEM file of our own certificate, for servers that ask for one.
        key_file: PEM file of its private key.
        verify: False trusts any server (https only): for trials.
        run: name of the training run, for the server's metrics and audit.
        split: ``train``, ``test`` …, likewise.

    Raises:
        UsageError: an argument that cannot work.
    """

    def __init__(
        self,
        url: str,
        *,
        profile: str | None = None,
        timeout: float = 30.0,
        deadline: float | None = None,
        retries: int = 8,
        item_retries: int = 2,
        max_items_per_request: int = 256,
        max_bytes_per_request: int = 3 << 20,
        concurrency: int = 4,
        headers: Mapping[str, str] | None = None,
        api_key: str | None = None,
        ca_file: str | None = None,
        cert_file: str | None = None,
        key_file: str | None = None,
        verify: bool = True,
        run: str | None = None,
        split: str | None = None,
    ) -> None:
        options = Options(
            url=url,
            profile=profile,
            timeout=timeout,
            deadline=deadline,
            retries=retries,
            item_retries=item_retries,
            max_items_per_request=max_items_per_request,
            max_bytes_per_request=max_bytes_per_request,
            concurrency=concurrency,
            headers=dict(headers or {}),
            api_key=api_key,
            ca_file=ca_file,
            cert_file=cert_file,
            key_file=key_file,
            verify=verify,
            run=run,
            split=split,
        )
        self._session: Session[Channel] = Session(options, _connect)

    def score(
        self,
        items: Iterable[ItemLike],
        profile: str | None = None,
        context: Mapping[str, Any] | None = None,
        deadline: float | None = None,
    ) -> list[Reward]:
        """Score completions.

        Args:
            items: dicts as in ``POST /v1/score``, or ``Item``; any iterable, read as it is sent.
            profile: instead of the client's.
            context: ``run``, ``step``, ``split``; never decides a reward.
            deadline: seconds, instead of the client's.

        Returns:
            One ``Reward`` for each item, in their order.

        Raises:
            RequestRejected: the server refuses the request as it is.
            ServerUnavailable: no answer after every retry; ``partial`` holds what was done.
            DeadlineExceeded: the deadline passed; likewise.
            UsageError: wrong arguments, or a closed client.
        """
        session = self._session
        channel = session.channel()
        recipe, about = session.profile(profile), session.options.context(context)
        until = session.deadline(deadline)

        def run(chunk: Chunk, pause: Callable[[float], object]) -> list[Reward]:
            options = session.options
            steps = scored(chunk, recipe, about, session.patience(until), options.item_retries)
            return converse(steps, channel, pause)

        limits = session.options.max_items_per_request, session.options.max_bytes_per_request
        return _spread(run, chunks(items, channel.encode, *limits), session.options.concurrency)

    def rewards(
        self,
        items: Iterable[ItemLike],
        profile: str | None = None,
        context: Mapping[str, Any] | None = None,
        deadline: float | None = None,
    ) -> list[float | None]:
        """Only the numbers of ``score``; None where there is none. Same arguments and errors."""
        return [reward.reward for reward in self.score(items, profile, context, deadline)]

    def predict(
        self,
        model: str,
        relation: str,
        subjects: Iterable[str],
        objects: Iterable[str],
        context: str | Iterable[str] = "",
        deadline: float | None = None,
    ) -> Prediction:
        """Ask a world model directly, columns in, columns out.

        Args:
            model: a name that ``models()`` lists.
            relation: e.g. ``perturbation.de``.
            subjects: gene names; for perturbations the perturbed gene.
            objects: as many gene names; for perturbations the readout.
            context: cell line or tissue, one for all rows or one a row.
            deadline: seconds, instead of the client's.

        Raises:
            RequestRejected: e.g. unknown model (the message lists the nearest).
            ServerUnavailable: no answer, or the model changed between two parts of the columns.
            DeadlineExceeded: the deadline passed.
            UsageError: columns of unequal length, or a closed client.
        """
        left, right, contexts = checked_columns(subjects, objects, context)
        until = self._session.deadline(deadline)
        channel = self._session.channel()
        parts = []
        for start in range(0, max(1, len(left)), ROWS_PER_PREDICT):
            rows = slice(start, start + ROWS_PER_PREDICT)
            there = contexts if isinstance(contexts, str) else contexts[rows]
            patience = self._session.patience(until)
            steps = predicted(model, relation, left[rows], right[rows], there, patience)
            parts.append(converse(steps, channel, time.sleep))
        return whole(parts)

    def models(self) -> list[dict[str, Any]]:
        """The served world models, as ``GET /v1/models`` lists them."""
        return self._listed("models")

    def profiles(self) -> list[dict[str, Any]]:
        """The profiles, as ``GET /v1/profiles`` lists them; over HTTP only."""
        return self._listed("profiles")

    def _listed(self, what: Any) -> list[dict[str, Any]]:
        patience = self._session.patience(self._session.deadline(None))
        steps = patiently(lambda timeout: ListAsk(what, timeout), patience)
        found: list[dict[str, Any]] = converse(steps, self._session.channel(), time.sleep)
        return found

    def health(self) -> bool:
        """Is the server alive? Asked once, no retries, no exception for "no"."""
        return self._probe(ProbeAsk("healthz", self._session.options.timeout))

    def ready(self) -> bool:
        """Are its models warm? Asked once, no retries, no exception for "no"."""
        return self._probe(ProbeAsk("readyz", self._session.options.timeout))

    def _probe(self, ask: ProbeAsk) -> bool:
        try:
            return bool(self._session.channel().perform(ask))
        except Fault:
            return False

    def close(self) -> None:
        """Let go of every connection; twice is fine."""
        channel = self._session.taken()
        if channel is not None:
            channel.close()

    def __enter__(self) -> RewardClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Options travel between processes, connections do not."""
        return _made, (self._session.options,)


def _made(options: Options) -> RewardClient:
    client = RewardClient(options.url)
    client._session = Session(options, _connect)
    return client


def _connect(options: Options) -> Channel:
    if options.remote_procedure:
        from softverifier.grpc_channel import GrpcChannel

        return GrpcChannel(options)
    from softverifier.http_channel import HttpChannel

    return HttpChannel(options)


class _Halted(SoftVerifierError):
    """Another chunk failed for good: this one need not be tried again."""


def _spread(run: Run, parts: Iterable[Chunk], concurrency: int) -> list[Reward]:
    """Run every chunk, several at a time, and join the outcomes in order.

    A call of one chunk, the common one, costs no thread. The window is twice as wide as the pool,
    so that a slow chunk at its head does not idle the rest, and bounded, so that a long generator
    is not read into memory.
    """
    parts = iter(parts)
    head = list(islice(parts, 2))
    if len(head) < 2 or concurrency == 1:
        return _one_by_one(run, chain(head, parts))
    halt = threading.Event()

    def pause(seconds: float) -> None:
        if halt.wait(seconds):
            raise _Halted("another part of the same call failed")

    done: list[Reward] = []
    window: deque[Future[list[Reward]]] = deque()
    with ThreadPoolExecutor(concurrency, thread_name_prefix="softverifier") as pool:
        try:
            for part in chain(head, parts):
                if len(window) == 2 * concurrency:
                    done += window.popleft().result()
                window.append(pool.submit(run, part, pause))
            while window:
                done += window.popleft().result()
        except SoftVerifierError as error:
            error.partial = done
            raise
        finally:
            halt.set()
            for waiting in window:
                waiting.cancel()
    return done


def _one_by_one(run: Run, parts: Iterable[Chunk]) -> list[Reward]:
    done: list[Reward] = []
    try:
        for part in parts:
            done += run(part, time.sleep)
    except SoftVerifierError as error:
        error.partial = done
        raise
    return done
