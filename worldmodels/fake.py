"""The deterministic world model of tests and demos: probabilities from a hash, no biology.

Public, so that a client, a profile or a deployment can be tried without data or weights. Its p
depends on relation, current symbols and canonical context alone. Options make it misbehave on
purpose, one way each, so that what guards against bad models can be tested. Limits: the figures
mean nothing.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Mapping
from typing import Final

import numpy as np

from worldmodels.core import (
    ANSWERED,
    RELATIONS,
    ModelFault,
    ModelSpec,
    Queries,
    Status,
    Verdicts,
    canonical_context,
    quantise,
)
from worldmodels.genes import GeneResolver
from worldmodels.registry import Source

OPTIONS: Final[Mapping[str, str]] = {
    "delay_ms": "sleep so long in every batch",
    "hang": "a gene that makes predict never return",
    "kill": "a gene that kills the process",
    "most_rows": "more rows at once raise MemoryError",
    "poison": "a gene that makes predict raise",
    "nan": "a gene that gets p NaN with status OK",
    "short": "a gene that makes the answer one row short",
    "unknown": "genes with this prefix are UNKNOWN_GENE",
    "relations": "comma-separated; all of them if not given",
    "contexts": "comma-separated cell lines; any if not given",
    "pools": "true: other cell lines than contexts are POOLED",
    "local": "false: claim to do network I/O",
    "version": "what to call this version",
}
_SCALE: Final = float(2**64)


class FakeModel:
    """Answers every pair with figures drawn from a hash of the question."""

    def __init__(self, source: Source, genes: GeneResolver) -> None:
        """Read the options.

        Raises:
            ModelFault: an unknown option, relation, or a value of the wrong kind.
        """
        options = dict(source.options)
        for key in options:
            if key not in OPTIONS:
                near = difflib.get_close_matches(key, OPTIONS, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else "."
                raise ModelFault(
                    f"model {source.name!r}: the fake has no option {key!r}{hint} "
                    f"Known: {', '.join(OPTIONS)}"
                )
        self._genes = genes
        self._delay_s = _milliseconds(source.name, options.get("delay_ms", "0")) / 1000
        self._poison, self._nan, self._short = (
            genes.canonical(options[key]) if options.get(key) else None
            for key in ("poison", "nan", "short")
        )
        self._hang = genes.canonical(options["hang"]) if options.get("hang") else None
        self._kill = genes.canonical(options["kill"]) if options.get("kill") else None
        self._most_rows = _rows(source.name, options.get("most_rows"))
        self._unknown = options.get("unknown") or None
        self.spec = _spec(source, options, genes)

    def predict(self, queries: Queries) -> Verdicts:
        """Answer by hash. Beyond that it raises, lies or shortens only as its options ask."""
        self.spec.check_relation(queries.relation)
        if self._delay_s:
            time.sleep(self._delay_s)
        if self._most_rows is not None and len(queries) > self._most_rows:
            raise MemoryError(f"the fake model has room for {self._most_rows} rows")
        figures = np.full((4, len(queries)), np.nan)
        status = np.zeros(len(queries), np.uint8)
        short = 0
        for row, (subject, object_, context) in enumerate(
            zip(queries.subjects, queries.objects, queries.contexts, strict=True)
        ):
            names, status[row] = self._resolve(subject, object_, context)
            if self._poison in names:
                raise RuntimeError(f"the fake model was asked for its poison {self._poison!r}")
            if self._hang in names:
                threading.Event().wait()
            if self._kill in names:
                os.kill(os.getpid(), signal.SIGKILL)
            short |= self._short in names
            if status[row] in ANSWERED and self._nan not in names:
                where = canonical_context(context) if self.spec.contexts or context else ""
                figures[:, row] = _draw(queries.relation, *names, where)
        p, p0, uncertainty, raw = quantise(figures[:, : len(queries) - short])
        return Verdicts(p, status[: len(p)], p0=p0, uncertainty=uncertainty, raw=raw)

    def examples(self, n: int) -> Queries:
        """Made-up genes ``GENE0``, ``GENE1``…, or real symbols where a gene table is in use."""
        known = self._genes.symbols(n + 1) or [f"GENE{i}" for i in range(n + 1)]
        names = [known[i % len(known)] for i in range(n + 1)]
        context = self.spec.contexts[0] if self.spec.contexts else ""
        return Queries(self.spec.relations[0], names[:n], names[1:], [context] * n)

    def _resolve(self, subject: str, object_: str, context: str) -> tuple[tuple[str, str], Status]:
        (a, of_a), (b, of_b) = self._genes.resolve(subject), self._genes.resolve(object_)
        known = not self.spec.contexts or canonical_context(context) in self.spec.contexts
        if not known and not self.spec.pools:
            return (a, b), Status.OUT_OF_DISTRIBUTION
        if self._unknown and (a.startswith(self._unknown) or b.startswith(self._unknown)):
            return (a, b), Status.UNKNOWN_GENE
        return (a, b), max(of_a, of_b) or (Status.OK if known else Status.POOLED)


def _draw(relation: str, subject: str, object_: str, context: str) -> tuple[float, ...]:
    """p, p0, uncertainty (in [0, 0.5]) and raw; p0 is blind to the subject."""
    p, uncertainty, raw = _hash(relation, subject, object_, context)
    return p, _hash(relation, object_, context)[0], uncertainty / 2, raw


def _hash(*parts: str) -> tuple[float, float, float]:
    data = json.dumps(parts).encode()  # escapes: parts cannot run together, surrogates are no harm
    digest = hashlib.blake2b(data, digest_size=24).digest()
    a, b, c = (int.from_bytes(digest[i : i + 8], "little") / _SCALE for i in (0, 8, 16))
    return a, b, c


def _milliseconds(name: str, value: str) -> float:
    try:
        delay = float(value)
    except ValueError:
        delay = -1.0
    if not 0 <= delay < float("inf"):
        raise ModelFault(f"model {name!r}: delay_ms is {value!r}, expected milliseconds >= 0")
    return delay


def _rows(name: str, value: str | None) -> int | None:
    if value is None:
        return None
    if not value.isdecimal() or int(value) < 1:
        raise ModelFault(f"model {name!r}: most_rows is {value!r}, expected a number of rows >= 1")
    return int(value)


def _spec(source: Source, options: Mapping[str, str], genes: GeneResolver) -> ModelSpec:
    relations = tuple(
        part.strip() for part in options.get("relations", ",".join(RELATIONS)).split(",")
    )
    for relation in relations:
        if relation not in RELATIONS:
            raise ModelFault(
                f"model {source.name!r}: unknown relation {relation!r}; "
                f"known: {', '.join(sorted(RELATIONS))}"
            )
    contexts = (canonical_context(part) for part in options.get("contexts", "").split(","))
    digest = hashlib.sha256(json.dumps(sorted(options.items())).encode()).hexdigest()
    return ModelSpec(
        name=source.name,
        family="fake",
        version=options.get("version", "1"),
        digest=f"sha256:{digest}",
        relations=relations,
        contexts=tuple(dict.fromkeys(filter(None, contexts))),
        pools=options.get("pools", "false").lower() == "true",
        vocabulary=genes.size,
        licence="Apache-2.0",
        training="none: figures are drawn from a hash of the question",
        genes=genes.label,
        local=options.get("local", "true").lower() != "false",
    )


def load(source: Source, genes: GeneResolver) -> FakeModel:
    """Make one from its options; it has no folder."""
    return FakeModel(source, genes)
