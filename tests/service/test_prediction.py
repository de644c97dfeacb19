"""A predict response is to the byte what msgspec, or protobuf, writes of the same columns."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from service.front.prediction import pack_predict, write_predict, write_predicts
from service.front.wire import PredictResponse
from softverifier._pb import worldmodels_pb2 as pb
from worldmodels.core import DECIMALS, ModelSpec, Status, Verdicts

SPEC = ModelSpec(
    name="scrn-ü", family="f", version='1"', digest="sha256:0", relations=("perturbation.de",)
)
NAN = np.nan


def ok(n: int) -> np.ndarray:
    return np.zeros(n, np.uint8)


def by_lists(verdicts: Verdicts, rows: slice) -> bytes:
    """The same through lists of Python's floats."""

    def column(values: np.ndarray | None) -> list[float | None] | None:
        return None if values is None else values.tolist()[rows]

    return msgspec.json.encode(
        PredictResponse(
            column(verdicts.p) or [],
            column(verdicts.p0),
            column(verdicts.uncertainty),
            column(verdicts.raw),
            [Status(code).name for code in verdicts.status.tolist()][rows],
            SPEC.name,
            SPEC.version,
            SPEC.digest,
        )
    )


HALVES = np.array([0.5, 0.25, 0.1])
ANSWERS = {
    "p alone": Verdicts(HALVES, ok(3)),
    "every column": Verdicts(HALVES, ok(3), HALVES / 2, HALVES / 4, HALVES / 8),
    "no row": Verdicts(np.empty(0), ok(0), np.empty(0)),
    "both ends": Verdicts(np.array([0.0, 1.0, 1e-6]), ok(3), raw=np.array([-0.0, 1.0, 1 - 1e-6])),
    "nothing known": Verdicts(np.full(2, NAN), np.array([1, 6], np.uint8), np.full(2, NAN)),
    "one of each status": Verdicts(np.full(8, NAN), np.arange(8, dtype=np.uint8)),
    "a baseline that lacks a row": Verdicts(HALVES, ok(3), np.array([0.2, NAN, 0.1])),
    "single precision": Verdicts(HALVES.astype("f4"), ok(3), np.array([0.1, 0.2, 0.3], "f4")),
    "whole numbers": Verdicts(np.array([0, 1, 1]), ok(3)),
    "every other row": Verdicts(np.linspace(0, 1, 6)[::2], ok(3)),
    "the other byte order": Verdicts(HALVES.astype(">f8"), ok(3)),
    "many digits": Verdicts(10.0 ** np.linspace(-20, 0, 500), ok(500), np.linspace(0, 1, 500)),
}


@pytest.mark.parametrize("verdicts", ANSWERS.values(), ids=ANSWERS.keys())
def test_as_through_lists(verdicts: Verdicts) -> None:
    assert write_predict(SPEC, verdicts) == by_lists(verdicts, slice(None))


@pytest.mark.parametrize("verdicts", ANSWERS.values(), ids=ANSWERS.keys())
def test_packed_as_protobuf_packs_it(verdicts: Verdicts) -> None:
    found = pack_predict(SPEC, verdicts)
    message = pb.PredictResponse(
        p=verdicts.p.tolist(),
        status=verdicts.status.tobytes(),
        p0=None if verdicts.p0 is None else verdicts.p0.tolist(),
        uncertainty=None if verdicts.uncertainty is None else verdicts.uncertainty.tolist(),
        raw=None if verdicts.raw is None else verdicts.raw.tolist(),
        model=SPEC.name,
        version=SPEC.version,
        digest=SPEC.digest,
        genes=SPEC.genes,
    )
    assert found == message.SerializeToString()


@pytest.mark.parametrize("sizes", [[3], [1, 2], [0, 3, 0], [1, 1, 1]], ids=str)
def test_answered_as_one(sizes: list[int]) -> None:
    verdicts = ANSWERS["every column"]
    ends = np.cumsum(sizes).tolist()
    wanted = [by_lists(verdicts, slice(end - n, end)) for n, end in zip(sizes, ends, strict=True)]
    assert write_predicts(SPEC, verdicts, sizes) == wanted


def test_every_figure_that_leaves_a_model() -> None:
    steps = 10**DECIMALS
    every = Verdicts((np.arange(steps + 1) / steps).round(DECIMALS), ok(steps + 1))
    assert write_predict(SPEC, every) == by_lists(every, slice(None))
