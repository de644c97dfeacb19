"""Another server as a world model: its ``WorldModels.Predict``, asked as if it were here.

Names travel dictionary-encoded, rows in chunks. The remote model's digest goes into this one's, so
that a cached verdict never outlives the model that gave it; a model that is replaced behind our
back is noticed by the digest in every response and refused until this server is restarted. The
figures pass through unchanged. Whatever goes wrong on the way is a ``ModelFault`` and never a
number. The trace that a question belongs to (``trace_context``) goes on there.

A process of the same server (``Known``) is asked over a Unix socket; there the model is not another
one but the same elsewhere: it keeps its own specification and digest, which every question pins. If
it goes away before it answers, that is a ``ModelLost``, which knows how to wait for its successor.

Limits: one remote model per source; no retries here (callers of the service retry); a certificate
is read once. Options: ``url`` (grpc://host:port, grpcs://host:port or unix:PATH), ``model`` (its
name there; by default the name here), ``timeout_s`` (10), and those of ``remote_access``.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from worldmodels import remote_access, remote_channel, trace_context
from worldmodels.core import (
    Floats,
    ModelFault,
    ModelLost,
    ModelSpec,
    Queries,
    Status,
    Verdicts,
    answered,
)
from worldmodels.genes import GeneResolver
from worldmodels.registry import Source

if TYPE_CHECKING:
    import grpc

    from softverifier._pb import worldmodels_pb2 as pb

ROWS_PER_REQUEST: Final = 65_536
SHOWN: Final = 8
GONE: Final = "UNAVAILABLE"
ON_THE_WAY: Final = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "UNKNOWN"})
PAUSE_S: Final = 1.0
"""After a failure on the way, so long no further request is tried: a caller that halves a failing
batch to find the culprit must not wait for a timeout each time."""
HOST_PAUSE_S: Final = 0.05
"""The same for a process of this server, which is started again at once where it ends."""
WELL_KNOWN: Final = (
    "AARS1", "ACTB", "ATP5F1B", "B2M", "CALR", "CDK1", "EEF2", "EIF3A", "GAPDH", "HSPA5",
    "HSPA8", "MYC", "NCL", "NPM1", "PCNA", "POLR2A", "PSMA1", "RPL3", "RPL13", "RPS3", "RPS6",
    "SF3B1", "TP53", "TUBA1B",
)  # fmt: skip
"""Human genes that are expressed in most cells; the other server does not list its vocabulary."""
_KNOWN_STATUS: Final = max(Status)


class Known(NamedTuple):
    """What a process of the same server told of a model that it holds."""

    spec: ModelSpec
    examples: Queries
    """At least one row."""


class RemoteModel:
    """A model on another server; ``predict`` does network I/O (``spec.local`` is False)."""

    def __init__(self, source: Source, known: Known | None = None) -> None:
        """Connect, and ask what the model is unless that is known.

        Raises:
            ModelFault: wrong options, no server there, or no such model on it.
        """
        options = remote_channel.checked(source)
        self._name = source.name
        self._options = options
        self._url = options["url"]
        self._model = options.get("model", source.name)
        self._timeout_s = remote_channel.seconds(source.name, options.get("timeout_s", "10"))
        self._channel = remote_channel.opened(source.name, options)
        self._process = os.getpid()
        self._failure: tuple[float, str] = (float("-inf"), "")
        self._found_again = False
        self._predict, self._list = remote_channel.calls(self._channel)
        self._known = known
        if known is not None:
            self._digest = known.spec.digest
            self._model = f"{known.spec.name}@{self._digest}"
            self.spec = dataclasses.replace(known.spec, local=False)
        else:
            remote = self._described()
            self._digest = remote.digest
            self.spec = _spec(source.name, self._url, remote)

    def predict(self, queries: Queries) -> Verdicts:
        """Ask the other server.

        Raises:
            ModelFault: it does not answer, refuses, answers something else than was asked, or
                serves another model by now. ModelLost: it is a process of this server, and died.
        """
        if os.getpid() != self._process:
            raise ModelFault(
                f"{self._where()}: this process was forked after the connection was made, which "
                "gRPC does not survive; load the model in the process that asks it"
            )
        parts = [
            self._part(queries, slice(start, start + ROWS_PER_REQUEST))
            for start in range(0, len(queries), ROWS_PER_REQUEST)
        ]
        if not parts:
            return Verdicts(np.empty(0), np.empty(0, np.uint8))
        return Verdicts(
            p=np.concatenate([part.p for part in parts]),
            status=np.concatenate([part.status for part in parts]),
            p0=_joined([part.p0 for part in parts]),
            uncertainty=_joined([part.uncertainty for part in parts]),
            raw=_joined([part.raw for part in parts]),
        )

    def examples(self, n: int) -> Queries:
        """Pairs of well-known genes that the other server answers; all of them if it answers none.

        Raises:
            ModelFault: as ``predict``.
        """
        if self._known is not None:
            there = self._known.examples
            return there.take([i % len(there) for i in range(n)])
        relation = self.spec.relations[0]
        context = self.spec.contexts[0] if self.spec.contexts else ""
        pairs = [(a, b) for a in WELL_KNOWN for b in WELL_KNOWN if a != b]
        subjects, objects = zip(*pairs, strict=True)
        asked = Queries(relation, subjects, objects, [context] * len(pairs))
        known = np.flatnonzero(answered(self.predict(asked).status)).tolist()
        rows = known or list(range(len(pairs)))
        return asked.take([rows[i % len(rows)] for i in range(n)])

    def close(self) -> None:
        """Let go of the connection; twice is fine."""
        self._channel.close()

    def _part(self, queries: Queries, rows: slice) -> Verdicts:
        request = _request(self._model, queries, rows)
        request.deadline_ms = max(1, int(self._timeout_s * 950))
        response = self._asked(self._predict, request)
        if response.digest != self._digest:
            raise ModelFault(
                f"{self._where()} is {response.digest} now and was {self._digest} when this server "
                "started; restart this server to take it on"
            )
        if response.genes != self.spec.genes:
            raise ModelFault(
                f"{self._where()} resolves genes by {response.genes!r} now and did by "
                f"{self.spec.genes!r} when this server started; restart this server to take it on"
            )
        return self._verdicts(response, len(request.subjects))

    def _verdicts(self, response: pb.PredictResponse, rows: int) -> Verdicts:
        p = np.asarray(response.p, np.float64)
        status = np.frombuffer(response.status, np.uint8).copy()
        if len(p) != rows or len(status) != rows:
            raise ModelFault(
                f"{self._where()} answered {len(p)} figures and {len(status)} statuses for "
                f"{rows} queries; it is not a server of this version"
            )
        if (status > _KNOWN_STATUS).any():
            raise ModelFault(f"{self._where()} answered a status that this version does not know")
        ok = answered(status)
        if not (np.isfinite(p) == ok).all() or ((p[ok] < 0) | (p[ok] > 1)).any():
            raise ModelFault(f"{self._where()} answered a p that is no probability")
        return Verdicts(
            p,
            status,
            p0=self._column("p0", response.p0, rows),
            uncertainty=self._column("uncertainty", response.uncertainty, rows),
            raw=self._column("raw", response.raw, rows),
        )

    def _column(self, name: str, values: Sequence[float], rows: int) -> Floats | None:
        if not values:
            return None
        if len(values) != rows:
            raise ModelFault(f"{self._where()} answered {len(values)} of {name} for {rows} queries")
        return np.asarray(values, np.float64)

    def _described(self) -> pb.Model:
        from softverifier._pb import worldmodels_pb2 as pb

        models: list[pb.Model] = list(self._asked(self._list, pb.ListModelsRequest()).models)
        for model in models:
            if model.name == self._model:
                return model
        names = sorted(model.name for model in models)
        near = difflib.get_close_matches(self._model, names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        self.close()
        raise ModelFault(
            f"model {self._name!r}: {self._url} serves no model {self._model!r}{hint} "
            f"It serves {', '.join(names[:SHOWN]) or 'none'}{more}"
        )

    def _asked(self, call: Callable[..., Any], request: object) -> Any:
        import grpc

        moment, said = self._failure
        if time.monotonic() < moment + (PAUSE_S if self._known is None else HOST_PAUSE_S):
            raise ModelFault(said)
        try:
            access = remote_access.metadata(self._name, self._options)
            sent = [*access, *trace_context.CARRIED.get()]
            # A connection that was seen again may be the dead one, not yet known to be dead.
            patient, self._found_again = self._found_again, False
            return call(
                request, timeout=self._timeout_s, metadata=sent, wait_for_ready=patient or None
            )
        except grpc.RpcError as error:
            code, details = _told(error)
            said = f"{self._where()} does not answer: {code}: {details}"
            if code == GONE and self._known is not None:
                raise ModelLost(said, self._back) from error
            if code in ON_THE_WAY:
                said += ". Is that server up, and is timeout_s long enough?"
                self._failure = (time.monotonic(), said)
            raise ModelFault(said) from error
        except ValueError as error:  # grpc's way to say that the channel is closed
            raise ModelFault(f"{self._where()}: {error}") from error

    def _back(self, seconds: float) -> bool:
        import grpc

        ready = grpc.channel_ready_future(self._channel)
        try:
            ready.result(timeout=seconds)
        except grpc.FutureTimeoutError:
            return False
        finally:
            ready.cancel()
        self._found_again = True
        return True

    def _where(self) -> str:
        return f"model {self._name!r} ({self._model!r} at {self._url})"


def _told(error: grpc.RpcError) -> tuple[str, str]:
    import grpc

    if isinstance(error, grpc.Call):
        return error.code().name, error.details() or "no details"
    return "UNKNOWN", str(error)


def _request(model: str, queries: Queries, rows: slice) -> pb.PredictRequest:
    """The rows with every distinct name spelt once, and one context where all rows share it."""
    from softverifier._pb import worldmodels_pb2 as pb

    places: dict[str, int] = {}
    subjects = [places.setdefault(name, len(places)) for name in queries.subjects[rows]]
    objects = [places.setdefault(name, len(places)) for name in queries.objects[rows]]
    contexts = [_clean(context) for context in queries.contexts[rows]]
    request = pb.PredictRequest(
        model=model,
        relation=queries.relation,
        names=[_clean(name) for name in places],
        subjects=subjects,
        objects=objects,
    )
    if len(set(contexts)) == 1:
        request.context = contexts[0]
    else:
        request.contexts.extend(contexts)
    return request


def _clean(text: str) -> str:
    """Protobuf carries no lone surrogates."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _joined(columns: Sequence[Floats | None]) -> Floats | None:
    present = [column for column in columns if column is not None]
    return np.concatenate(present) if len(present) == len(columns) else None


def _spec(name: str, url: str, remote: pb.Model) -> ModelSpec:
    digest = hashlib.sha256(f"remote\n{remote.digest}".encode()).hexdigest()
    return ModelSpec(
        name=name,
        family="remote",
        version=remote.version,
        digest=f"sha256:{digest}",
        relations=tuple(remote.relations),
        contexts=tuple(remote.contexts),
        pools=remote.pools,
        vocabulary=remote.vocabulary,
        licence=remote.licence,
        training=f"{remote.training} (served by {url} as {remote.name!r}, {remote.family})",
        calibration=remote.calibration,
        genes=remote.genes,
        local=False,
        card=remote.card or None,
        metrics=dict(remote.metrics),
    )


def load(source: Source, genes: GeneResolver) -> RemoteModel:
    """Connect to the server that ``source.options`` name; names resolve there, not here.

    Raises:
        ModelFault: wrong options, no server there, or no such model on it.
    """
    return RemoteModel(source)
