"""What a world model of biology is: columns in, columns out, and a specification.

A world model answers queries of one *relation* between two biological entities in a context (a
cell line, a tissue): "does a knockdown of AARS1 change CALR in K562?". It knows nothing of text,
HTTP or rewards. Limits: pairwise relations only (a vector relation such as
``perturbation.response`` is asked readout by readout), and one relation per call.
"""

from __future__ import annotations

import bisect
import enum
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.uint8]

DECIMALS: Final = 6
"""Every figure that leaves a model is rounded to this many decimals, so that a score is the same
to the last bit whatever it was batched with."""

RELATIONS: Final[Mapping[str, str]] = {
    "perturbation.de": "does perturbing the subject change expression of the object?",
    "perturbation.dir": "given a change, does expression of the object go up?",
    "gene.coexpression": "are subject and object expressed together?",
    "gene.interaction": "do subject and object interact?",
    "gene.similarity": "are subject and object functionally similar?",
    "graph.edge": "does the typed edge subject -> object hold?",
}
"""The pairwise relations and the question whose "yes" has probability p."""


class Status(enum.IntEnum):
    """What became of one query. Those of ``ANSWERED`` carry a probability, no other does."""

    OK = 0
    UNKNOWN_GENE = 1
    """A gene is in no vocabulary of the model (or of the gene table)."""
    AMBIGUOUS_GENE = 2
    """A name stands for several genes; the service never guesses."""
    UNMEASURED = 3
    """A measured table holds no row for this pair in this context."""
    OUT_OF_DISTRIBUTION = 4
    """The context, or the perturbation, is one that the model was not built for."""
    LOW_CONFIDENCE = 5
    """The model declines: its probability is inside the dead zone."""
    MODEL_ERROR = 6
    """The model failed. Given by the service, never by a model itself."""
    POOLED = 7
    """Answered by a model pooled over cell lines, since this line is none of its contexts; carries
    a probability."""


ANSWERED: Final = frozenset({Status.OK, Status.POOLED})
"""The statuses that carry a probability."""


def answered(status: Codes) -> NDArray[np.bool_]:
    """Which rows carry a probability. Shape (n,), of ``Status`` codes of shape (n,)."""
    return np.asarray((status == Status.OK) | (status == Status.POOLED))


@dataclass(frozen=True, slots=True)
class Queries:
    """A batch of queries of one relation, in columns of equal length.

    Attributes:
        relation: one of ``RELATIONS``.
        subjects: gene names as the caller wrote them; for perturbations the perturbed gene, a
            combination as ``"A+B"``.
        objects: gene names; for perturbations the readout.
        contexts: cell line or tissue as the caller wrote it, ``""`` where none was given.
    """

    relation: str
    subjects: Sequence[str]
    objects: Sequence[str]
    contexts: Sequence[str]

    def __post_init__(self) -> None:
        if not len(self.subjects) == len(self.objects) == len(self.contexts):
            raise ValueError(
                f"columns differ in length: {len(self.subjects)} subjects, "
                f"{len(self.objects)} objects, {len(self.contexts)} contexts"
            )

    def __len__(self) -> int:
        return len(self.subjects)

    def take(self, rows: Sequence[int]) -> Queries:
        """The given rows, in that order."""
        return Queries(
            self.relation,
            [self.subjects[i] for i in rows],
            [self.objects[i] for i in rows],
            [self.contexts[i] for i in rows],
        )


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The answers to a ``Queries``, same order and length.

    Attributes:
        p: calibrated probability of "yes", in [0, 1], rounded to ``DECIMALS``; finite exactly
            where ``status`` is one of ``ANSWERED`` and NaN elsewhere, so that a reader who forgets
            the status column cannot take "don't know" for a score.
        status: ``Status`` codes.
        p0: what a guess that is blind to the subject would say (the mean of p over subjects for
            the same object, context and relation); None for a model that has none.
        uncertainty: standard deviation of p, in [0, 0.5]; None for a model that states none.
        raw: the family's own score before calibration, in [0, 1]; None where there is none.
    """

    p: Floats
    status: Codes
    p0: Floats | None = None
    uncertainty: Floats | None = None
    raw: Floats | None = None

    def __len__(self) -> int:
        return len(self.p)


@dataclass(frozen=True, slots=True)
class Reliable:
    """Which questions of one relation in one context a card proves reliable, at one coverage.

    A question is answered if its lift ℓ = logit p − logit p0 is at most ``below`` or at least
    ``above`` for its p0. The two differ, so that what is answered is in balance: the mean of p over
    the answered questions of a band of p0 is that of p0, and a guess that is blind to the
    perturbation earns nothing by what is left out.

    Attributes:
        coverage: share of the card's questions that are answered, in (0, 1].
        edges: ascending values of p0 that separate the bands; n of them.
        below: the greatest negative lift that is answered, for each of the n + 1 bands.
        above: the least positive lift that is answered, for each band.
    """

    coverage: float
    edges: tuple[float, ...]
    below: tuple[float, ...]
    above: tuple[float, ...]

    def answers(self, lift: float, p0: float) -> bool:
        """Whether a question of this lift is answered."""
        band = bisect.bisect_right(self.edges, p0)
        return lift <= self.below[band] or lift >= self.above[band]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """What a model declares of itself; served at ``/v1/models``."""

    name: str
    family: str
    version: str
    digest: str
    """``sha256:…`` over everything that decides an answer."""
    relations: tuple[str, ...]
    contexts: tuple[str, ...] = ()
    """Canonical contexts the model was built for; empty: the model does not look at the context."""
    pools: bool = False
    """Whether contexts that are none of ``contexts``, ``""`` included, are answered with
    ``Status.POOLED``; otherwise they are OUT_OF_DISTRIBUTION."""
    vocabulary: int = 0
    """Number of genes (or other entities) the model knows."""
    licence: str = "unknown"
    training: str = "unknown"
    """What the model was built from."""
    calibration: str = "none"
    genes: str = "symbols as they are"
    """Which gene table resolves names."""
    device: str = "cpu"
    """Where it computes: ``cpu``, or a GPU as ``cuda:0``."""
    local: bool = True
    """False: ``predict`` does network I/O, so it is never run in the event loop."""
    steady: bool = True
    """False: a first question may cost far more than the examples do, since it is remembered; such
    a model is never run in the event loop either."""
    card: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Held-out figures that were computed when the model was built."""
    reliability: Mapping[str, Mapping[str, tuple[Reliable, ...]]] = field(default_factory=dict)
    """By relation and canonical context what the model's card proves reliable, at each coverage;
    empty for a model without a card that counts as evidence."""

    def check_relation(self, relation: str) -> None:
        """Refuse a question that the model was not built for, rather than answer another one.

        Raises:
            ModelFault: the relation is none of ``relations``.
        """
        if relation not in self.relations:
            raise ModelFault(f"{self.name} answers {', '.join(self.relations)}, not {relation!r}")


@runtime_checkable
class WorldModel(Protocol):
    """The one contract of every model.

    ``predict`` is deterministic, answers the same alone or in any batch, answers an empty batch,
    does no I/O (unless ``spec.local`` is False), and never raises for a bad query: that gets a
    status. It is called from one thread at a time.
    """

    @property
    def spec(self) -> ModelSpec:
        """What the model is."""
        ...

    def predict(self, queries: Queries) -> Verdicts:
        """Answer a batch of queries of one relation that ``spec.relations`` lists.

        Raises:
            ModelFault: the relation is another.
        """
        ...

    def examples(self, n: int) -> Queries:
        """``n`` queries that it can answer, always the same: for warm-up, cost and demos."""
        ...


class ModelFault(Exception):
    """A world model cannot be built, loaded or asked; the message says what to do about it."""


class ModelLost(ModelFault):
    """The process of this server that computes went away before it answered; others take its place.

    Args:
        said: what happened.
        back: waits so many seconds at most; whether it, or its successor, can be asked again.
    """

    def __init__(self, said: str, back: Callable[[float], bool]):
        super().__init__(said)
        self.back = back


def quantise(values: NDArray[np.floating]) -> Floats:
    """Round to ``DECIMALS`` as float64, so that a figure prints and travels the same everywhere."""
    return np.asarray(np.asarray(values, dtype=np.float64).round(DECIMALS))


_NOT_ALPHANUMERIC = re.compile(r"[^0-9a-z]+")


@functools.lru_cache(maxsize=4096)
def canonical_context(name: str) -> str:
    """One spelling per cell line: ``"Hep G2"``, ``"HepG2"`` and ``"hep-g2"`` are ``"hepg2"``."""
    return _NOT_ALPHANUMERIC.sub("", name.lower())
