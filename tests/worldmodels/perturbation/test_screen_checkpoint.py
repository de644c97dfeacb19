"""The folder of a screen model: what is written is what is read, and what is damaged is refused."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny_screen
from worldmodels import checkpoints, training_rows
from worldmodels.checkpoints import Checkpoint
from worldmodels.core import ModelFault
from worldmodels.genes import GeneResolver
from worldmodels.perturbation import screen_checkpoint
from worldmodels.perturbation.screen import Screen
from worldmodels.perturbation.screen_checkpoint import FACTORS, HEADS, PERTURBATIONS, READOUTS
from worldmodels.perturbation.screen_factors import Fitted

PLAIN = GeneResolver.as_they_are()
Arrays = dict[str, np.ndarray]


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    made = tiny_screen.fitted()
    read = screen_checkpoint.read(tiny_screen.write(tmp_path / "m"))
    assert (read.lines, read.perturbations, read.readouts) == (
        made.lines,
        made.perturbations,
        made.readouts,
    )
    np.testing.assert_array_equal(read.featured, made.featured)
    assert dict(read.metrics) == dict(made.metrics)
    for name, relation in made.relations.items():
        again = read.relations[name]
        np.testing.assert_array_equal(read.p0[name], made.p0[name], strict=True)
        assert list(again.families) == list(relation.families)
        for family, factors in relation.families.items():
            np.testing.assert_array_equal(again.families[family].subjects, factors.subjects)
            np.testing.assert_array_equal(again.families[family].objects, factors.objects)
        for one, other in zip(again.heads, relation.heads, strict=True):
            assert (one.curve, one.intercept, one.fitted) == (
                other.curve,
                other.intercept,
                other.fitted,
            )
            for column in ("weights", "slopes", "intercepts"):
                np.testing.assert_array_equal(getattr(one, column), getattr(other, column))


def test_factors_are_mapped_and_small(tmp_path: Path) -> None:
    made = tiny_screen.write(tmp_path / "m")
    read = screen_checkpoint.read(made)
    factors = read.relations["perturbation.de"].families["family0"].subjects
    assert factors.dtype == np.float16
    assert not factors.flags.writeable
    base: Any = factors
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)


def test_the_same_model_has_the_same_digest(tmp_path: Path) -> None:
    one, other = (tiny_screen.write(tmp_path / name) for name in "ab")
    assert one.digest == other.digest
    assert tiny_screen.write(tmp_path / "c", tiny_screen.fitted(seed=1)).digest != one.digest


def test_the_training_rows_are_kept(tmp_path: Path) -> None:
    made = tiny_screen.write(tmp_path / "m")
    known = screen_checkpoint.trained_rows(made.path)
    rows = tiny_screen.rows()
    names = [
        [rows.lines[i] for i in rows.line],
        [rows.genes[i] for i in rows.perturbation],
        [rows.genes[i] for i in rows.readout],
    ]
    assert known.overlap(*names).all()
    told = known.overlap(*names, relation="perturbation.dir")
    np.testing.assert_array_equal(told, rows.up >= 0)
    assert not known.overlap(["jurkat"] * len(rows), *names[1:]).any()
    assert known.perturbations("k562") == {f"P{i}" for i in range(10)}
    checkpoints.write(
        tmp_path / "none", dataclasses.replace(made.manifest, files={}), texts={"a.txt": ""}
    )
    with pytest.raises(ModelFault, match="does not say what it was trained on"):
        screen_checkpoint.trained_rows(tmp_path / "none")


def test_figures_that_are_not_defined_are_left_out(tmp_path: Path) -> None:
    made = dataclasses.replace(tiny_screen.fitted(), metrics={"de.k562.mcc": float("nan")})
    assert tiny_screen.write(tmp_path / "m", made).manifest.metrics == {}


def _rewritten(
    made: Checkpoint,
    folder: Path,
    *,
    arrays: Callable[[Arrays], None] | None = None,
    heads: Callable[[Any], None] | None = None,
    texts: dict[str, str] | None = None,
) -> Checkpoint:
    """The folder once more, some of it changed, digests and all: no accident but a wrong writer."""
    factors, stated = made.arrays(FACTORS), json.loads(made.text(HEADS))
    if arrays:
        arrays(factors)
    if heads:
        heads(stated)
    files = {name: made.text(name) for name in (PERTURBATIONS, READOUTS)}
    return checkpoints.write(
        folder,
        made.manifest,
        tensors={FACTORS: factors, training_rows.KEYS: made.arrays(training_rows.KEYS)},
        texts={**files, HEADS: json.dumps(stated), **(texts or {})},
    )


def _put(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Arrays], None]:
    def put(arrays: Arrays) -> None:
        arrays[name] = change(arrays[name])

    return put


def _value(name: str, value: float) -> Callable[[Arrays], None]:
    def put(arrays: Arrays) -> None:
        arrays[name][(0,) * arrays[name].ndim] = value

    return put


SUBJECTS, OBJECTS = "perturbation.de.family0.subjects", "perturbation.de.family0.objects"
DAMAGED: dict[str, tuple[Callable[[Arrays], None], str]] = {
    "nothing": (lambda a: a.pop(SUBJECTS), f"'{SUBJECTS}' should be float16, found nothing"),
    "single": (_put(SUBJECTS, lambda x: x.astype("f4")), "should be float16, found float32"),
    "flat": (_put(SUBJECTS, lambda x: x[0]), "float16 in three dimensions"),
    "rows": (_put(SUBJECTS, lambda x: x[:, 1:]), r"shape \(1, 29, 2\) do not fit \(30, 41\)"),
    "width": (_put(OBJECTS, lambda x: x[..., 1:]), "do not fit"),
    "no width": (
        lambda a: a.update({SUBJECTS: a[SUBJECTS][..., :0], OBJECTS: a[OBJECTS][..., :0]}),
        "do not fit",
    ),
    "lines": (_put(OBJECTS, lambda x: x[:2]), "do not fit"),
    "NaN": (_value(OBJECTS, np.nan), "perturbation.de.family0: a factor is not finite"),
    "infinity": (_value(SUBJECTS, np.inf), "a factor is not finite"),
    "p0 NaN": (_value("perturbation.dir.p0", np.nan), r"p0 of perturbation\.dir is no table"),
    "p0 above 1": (_value("perturbation.de.p0", 1.5), r"no table of \(3, 41\) probabilities"),
    "p0 shape": (_put("perturbation.de.p0", lambda x: x[:2]), "no table of"),
    "featured type": (_put("featured", lambda x: x.astype("u1")), "should be bool, found uint8"),
    "featured shape": (_put("featured", lambda x: x[:, 1:]), "featured does not say"),
    "nothing featured": (_put("featured", np.zeros_like), "featured does not say"),
}


@pytest.mark.parametrize(("change", "says"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_arrays_are_refused(
    tmp_path: Path, change: Callable[[Arrays], None], says: str
) -> None:
    made = _rewritten(tiny_screen.write(tmp_path / "m"), tmp_path / "n", arrays=change)
    with pytest.raises(ModelFault, match=says):
        Screen(made, PLAIN, name="m")


DE = "perturbation.de"
HEADS_DAMAGED: dict[str, tuple[Callable[[Any], None], str]] = {
    "a line without a head": (lambda h: h[DE]["lines"].pop(), "2 heads for 3 lines"),
    "no family": (lambda h: h[DE]["families"].clear(), r"3 heads for 3 lines|not one weight"),
    "another family": (lambda h: h[DE]["families"].append("more"), "more.subjects.*found nothing"),
    "fewer weights": (lambda h: h[DE]["lines"][0]["weights"].pop(), "not one weight for each"),
    "an unknown relation": (lambda h: h.update({"gene.x": h.pop(DE)}), "its relations are"),
    "a relation less": (lambda h: h.pop(DE), r"its relations are \['perturbation\.dir'\]"),
    "no relation": (lambda h: h.clear(), "its relations are"),
    "an unknown curve": (
        lambda h: h[DE]["lines"][1].update(curve={"kind": "spline"}),
        "calibration kind is 'spline'",
    ),
    "a falling curve": (
        lambda h: h[DE]["lines"][1].update(curve={"kind": "isotonic", "x": [0, 1], "y": [1, 0]}),
        "rising",
    ),
    "text for a number": (lambda h: h[DE]["lines"][0].update(intercept="0"), "not as it should be"),
    "NaN": (lambda h: h[DE]["lines"][0].update(intercept=float("nan")), "not as it should be"),
    "a key too many": (lambda h: h[DE]["lines"][0].update(more=1), "unknown field"),
    "a key too few": (lambda h: h[DE]["lines"][0].pop("slopes"), "missing required field"),
}


@pytest.mark.parametrize(("change", "says"), HEADS_DAMAGED.values(), ids=HEADS_DAMAGED)
def test_damaged_heads_are_refused(
    tmp_path: Path, change: Callable[[Any], None], says: str
) -> None:
    made = _rewritten(tiny_screen.write(tmp_path / "m"), tmp_path / "n", heads=change)
    with pytest.raises(ModelFault, match=says):
        Screen(made, PLAIN, name="m")


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        pytest.param({READOUTS: '["R0"]'}, "do not fit", id="fewer"),
        pytest.param({READOUTS: '["R0", "R0"]'}, "one is there twice", id="twice"),
        pytest.param({PERTURBATIONS: "[]"}, "expected a list of names", id="none"),
        pytest.param({HEADS: "[" * 100_000}, "not as it should be", id="deep"),
        pytest.param({HEADS: "\0"}, "not as it should be", id="binary"),
    ],
)
def test_damaged_names_are_refused(tmp_path: Path, texts: dict[str, str], says: str) -> None:
    made = _rewritten(tiny_screen.write(tmp_path / "m"), tmp_path / "n", texts=texts)
    with pytest.raises(ModelFault, match=says):
        Screen(made, PLAIN, name="m")


@pytest.mark.parametrize("file", [FACTORS, HEADS, PERTURBATIONS, training_rows.KEYS])
def test_an_altered_file_is_refused(tmp_path: Path, file: str) -> None:
    made = tiny_screen.write(tmp_path / "m")
    data = bytearray((made.path / file).read_bytes())
    data[-1] ^= 1
    (made.path / file).write_bytes(data)
    with pytest.raises(ModelFault, match=f"{file}: truncated or altered"):
        checkpoints.read(made.path)


def _fitted(**change: object) -> Fitted:
    return dataclasses.replace(tiny_screen.fitted(), **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "says"),
    [
        pytest.param(_fitted(lines=("k562", "hepg2")), "rows of .* cannot be", id="other-lines"),
        pytest.param(_fitted(lines=()), "no cell line", id="no-line"),
        pytest.param(_fitted(relations={}), "relations are", id="no-relation"),
        pytest.param(_fitted(readouts=()), "readouts are none", id="no-readout"),
        pytest.param(_fitted(p0={}), r"p0 of perturbation\.de is no table", id="no-p0"),
        pytest.param(
            _fitted(featured=np.tile(np.arange(30) >= 10, (3, 1))),
            "no training perturbation of hepg2 has a feature",
            id="no-feature",
        ),
    ],
)
def test_what_does_not_fit_is_not_written(tmp_path: Path, model: Fitted, says: str) -> None:
    with pytest.raises(ModelFault, match=says):
        tiny_screen.write(tmp_path / "m", model)
    assert not (tmp_path / "m").exists()
