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
from worldmodels.perturbation.screen_checkpoint import HEADS, LESSONS, MODEL, PERTURBATIONS
from worldmodels.perturbation.screen_ensemble_tables import NETS, TREES
from worldmodels.perturbation.screen_fitted import Fitted
from worldmodels.perturbation.screen_nets import Net

PLAIN = GeneResolver.as_they_are()
PERTURBED = tiny_screen.PERTURBATIONS
Arrays = dict[str, np.ndarray]


@pytest.mark.parametrize("within_line", [False, True], ids=["cross-line", "within-line"])
def test_what_is_read_is_what_was_written(tmp_path: Path, within_line: bool) -> None:
    made = tiny_screen.fitted(within_line=within_line)
    read = screen_checkpoint.read(tiny_screen.write(tmp_path / "m", made))
    for name in ("lines", "perturbations", "readouts", "families", "lesson", "shares", "metrics"):
        assert getattr(read, name) == getattr(made, name), name
    np.testing.assert_array_equal(read.featured, made.featured)
    for column in ("line", "perturbation", "readout", "de", "up"):
        np.testing.assert_array_equal(getattr(read.rows, column), getattr(made.rows, column))
    for name, block in made.blocks.items():
        np.testing.assert_array_equal(read.blocks[name], block, strict=True)
    for one, other in zip(read.lessons, made.lessons, strict=True):
        assert one.lines == other.lines
        for family, table in other.inverse.items():
            np.testing.assert_array_equal(one.inverse[family], table, strict=True)
    for name, relation in made.relations.items():
        again = read.relations[name]
        np.testing.assert_array_equal(read.p0[name], made.p0[name], strict=True)
        assert (again.group, again.heads) == (relation.group, relation.heads)
        for ours, theirs in zip(again.ensembles, relation.ensembles, strict=True):
            for part in dataclasses.fields(theirs.trees):
                a, b = (getattr(of.trees, part.name) for of in (ours, theirs))
                np.testing.assert_array_equal(a, b, strict=True)
            for net, like in zip(ours.nets, theirs.nets, strict=True):
                tables = zip(_tables(net), _tables(like), strict=True)
                assert all(np.array_equal(a, b) for a, b in tables)


def _tables(net: Net) -> list[np.ndarray]:
    return [net.shift, net.scale, *(table for layer in net.layers for table in layer)]


def test_tables_are_mapped(tmp_path: Path) -> None:
    read = screen_checkpoint.read(tiny_screen.write(tmp_path / "m"))
    for table in (read.lessons[0].inverse["all"], read.blocks["network"]):
        assert not table.flags.writeable
        base: Any = table
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


FILES = (MODEL, LESSONS, NETS, TREES, training_rows.KEYS)


def _rewritten(
    made: Checkpoint,
    folder: Path,
    *,
    arrays: Callable[[dict[str, Arrays]], None] | None = None,
    heads: Callable[[Any], None] | None = None,
    texts: dict[str, str] | None = None,
) -> Checkpoint:
    """The folder once more, some of it changed, digests and all: no accident but a wrong writer."""
    tensors = {name: made.arrays(name) for name in FILES}
    stated = json.loads(made.text(HEADS))
    if arrays:
        arrays(tensors)
    if heads:
        heads(stated)
    names = (PERTURBATIONS, training_rows.GENES, training_rows.CONTEXTS)
    files = {name: made.text(name) for name in names}
    return checkpoints.write(
        folder,
        made.manifest,
        tensors=tensors,
        texts={**files, HEADS: json.dumps(stated), **(texts or {})},
    )


Change = Callable[[dict[str, Arrays]], None]


def _put(file: str, name: str, change: Callable[[np.ndarray], np.ndarray]) -> Change:
    def put(tensors: dict[str, Arrays]) -> None:
        tensors[file][name] = change(tensors[file][name])

    return put


def _value(file: str, name: str, value: float) -> Change:
    def put(tensors: dict[str, Arrays]) -> None:
        tensors[file][name][(0,) * tensors[file][name].ndim] = value

    return put


DE = "perturbation.de"
DAMAGED: dict[str, tuple[Change, str]] = {
    "no inverse": (lambda t: t[LESSONS].pop("0.all"), "'0.all' should be float32, found nothing"),
    "half": (_put(LESSONS, "0.all", lambda x: x.astype("f2")), "be float32, found float16"),
    "inverse shape": (_put(LESSONS, "0.all", lambda x: x[1:]), "finite table of 20 × 20 points"),
    "inverse NaN": (_value(LESSONS, "0.network", np.nan), "no finite table of 20 × 20 points"),
    "features less": (_put(MODEL, "features.network", lambda x: x[1:]), "do not fit"),
    "features NaN": (_value(MODEL, "features.network", np.nan), "features network do not fit"),
    "no summary": (lambda t: t[MODEL].pop("features.summary"), "features are missing"),
    "a block less": (lambda t: t[MODEL].pop("features.pathways"), "family all names features"),
    "labels less": (_put(MODEL, f"labels.{DE}", lambda x: x[1:]), "labels are not those of"),
    "rows less": (_put(training_rows.KEYS, "keys_de", lambda x: x[1:]), "labels are not those"),
    "other rows": (_put(training_rows.KEYS, "keys_dir", lambda x: x + 1), "labels are not those"),
    "rows of more genes": (_put(training_rows.KEYS, "keys_de", lambda x: x * 9), "labels|genes"),
    "net": (lambda t: t[NETS].pop(f"{DE}.0.1.bias1"), "bias1' should be float32, found nothing"),
    "layer": (_put(NETS, f"{DE}.0.1.bias1", lambda x: x[1:]), "layers of a net do not fit"),
    "weight": (_value(NETS, f"{DE}.1.0.weights0", np.inf), "not one finite output"),
    "no trees": (lambda t: t[TREES].pop(f"{DE}.1.leaf"), "leaf' should be float32, found nothing"),
    "trees of doubles": (_put(TREES, f"{DE}.0.leaf", lambda x: x.astype("f8")), "found float64"),
    "leaves less": (_put(TREES, f"{DE}.0.leaf", lambda x: x[:, 1:]), "trees are not complete"),
    "no leaves": (_put(TREES, f"{DE}.0.leaf", lambda x: x[:, :0]), "trees are not complete"),
    "leaves in a line": (_put(TREES, f"{DE}.0.leaf", np.ravel), "trees are not complete"),
    "nodes less": (_put(TREES, f"{DE}.0.threshold", lambda x: x[1:]), "do not fit their leaves"),
    "an input too far": (_value(TREES, f"{DE}.0.feature", 999), "an input that is not there"),
    "an input before the first": (_value(TREES, f"{DE}.0.feature", -1), "input that is not there"),
    "leaf NaN": (_value(TREES, f"{DE}.0.leaf", np.nan), "trees are not finite"),
    "base infinite": (_value(TREES, f"{DE}.0.base", np.inf), "trees are not finite"),
    "threshold NaN": (_value(TREES, f"{DE}.0.threshold", np.nan), "trees are not finite"),
    "p0 NaN": (_value(MODEL, "p0.perturbation.dir", np.nan), r"p0 of perturbation\.dir is no"),
    "p0 above 1": (_value(MODEL, f"p0.{DE}", 1.5), r"no table of \(3, 41\) probabilities"),
    "p0 shape": (_put(MODEL, f"p0.{DE}", lambda x: x[:2]), "no table of"),
    "featured type": (_put(MODEL, "featured", lambda x: x.astype("u1")), "bool, found uint8"),
    "featured shape": (_put(MODEL, "featured", lambda x: x[:, 1:]), "featured does not say"),
    "nothing featured": (_put(MODEL, "featured", np.zeros_like), "featured does not say"),
}


@pytest.mark.parametrize(("change", "says"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_arrays_are_refused(tmp_path: Path, change: Change, says: str) -> None:
    made = _rewritten(tiny_screen.write(tmp_path / "m"), tmp_path / "n", arrays=change)
    with pytest.raises(ModelFault, match=says):
        Screen(made, PLAIN, name="m")


def _of(heads: Any) -> Any:
    return heads["relations"][DE]


HEADS_DAMAGED: dict[str, tuple[Callable[[Any], None], str]] = {
    "a line without a head": (lambda h: _of(h)["lines"].pop(), "2 heads for 3 lines"),
    "a line without nets": (lambda h: _of(h)["group"].pop(), "3 heads for 3 lines"),
    "nets that are not there": (lambda h: _of(h).update(group=[0, 0, 2]), "nets that are not"),
    "more nets": (lambda h: _of(h).update(nets=[4, 3]), "found nothing"),
    "no nets": (lambda h: _of(h).update(nets=[0, 3]), "nets of a group are none"),
    "more layers": (lambda h: _of(h).update(layers=4), "weights3' should be"),
    "fewer layers": (lambda h: _of(h).update(layers=2), "not one finite output"),
    "no family": (lambda h: h["families"].clear(), "features are missing"),
    "another family": (lambda h: h["families"].update(x=["network"]), "0.x.*found nothing"),
    "an empty family": (lambda h: h["families"].update(all=[]), "family all names features"),
    "a lesson that is not there": (lambda h: h.update(lesson=[0, 1, 0]), "a lesson that is not"),
    "a lesson less": (lambda h: h["lesson"].pop(), "lessons or shares are not those of 3"),
    "a lesson of fewer lines": (lambda h: h.update(lessons=[[0]]), "table of 10 × 10 points"),
    "a share less": (lambda h: h["shares"].pop(), "lessons or shares are not those of 3"),
    "a relation less": (
        lambda h: h["relations"].pop(DE),
        r"its relations are \['perturbation\.dir'\]",
    ),
    "an unknown curve": (
        lambda h: _of(h)["lines"][1].update(curve={"kind": "spline"}),
        "calibration kind is 'spline'",
    ),
    "a falling curve": (
        lambda h: _of(h)["lines"][1].update(curve={"kind": "isotonic", "x": [0, 1], "y": [1, 0]}),
        "rising",
    ),
    "text for a number": (lambda h: h.update(shares=["0"]), "not as it should be"),
    "NaN": (lambda h: h.update(shares=[float("nan")]), "not as it should be"),
    "a key too many": (lambda h: _of(h)["lines"][0].update(more=1), "unknown field"),
    "a key too few": (lambda h: _of(h)["lines"][0].pop("curve"), "missing required field"),
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
        pytest.param({PERTURBATIONS: '["P0"]'}, "is none of its perturbations", id="fewer"),
        pytest.param({PERTURBATIONS: '["P0", "P0"]'}, "is there twice", id="twice"),
        pytest.param({PERTURBATIONS: "[]"}, "expected a list of names", id="none"),
        pytest.param({training_rows.GENES: '["P0"]'}, "labels|genes that it", id="genes"),
        pytest.param({training_rows.CONTEXTS: '["hepg2", "x"]'}, "its rows are of", id="lines"),
        pytest.param({HEADS: "[" * 100_000}, "not as it should be", id="deep"),
        pytest.param({HEADS: "\0"}, "not as it should be", id="binary"),
    ],
)
def test_damaged_names_are_refused(tmp_path: Path, texts: dict[str, str], says: str) -> None:
    made = _rewritten(tiny_screen.write(tmp_path / "m"), tmp_path / "n", texts=texts)
    with pytest.raises(ModelFault, match=says):
        Screen(made, PLAIN, name="m")


@pytest.mark.parametrize("file", [MODEL, LESSONS, NETS, HEADS, PERTURBATIONS, training_rows.KEYS])
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
        pytest.param(_fitted(rows=tiny_screen.rows().take([])), "from no rows", id="no-row"),
        pytest.param(_fitted(relations={}), "relations are", id="no-relation"),
        pytest.param(_fitted(p0={}), r"p0 of perturbation\.de is no table", id="no-p0"),
        pytest.param(
            _fitted(
                featured=np.tile(
                    [p not in tiny_screen.TRAINED for p in tiny_screen.PERTURBATIONS], (3, 1)
                )
            ),
            "no training perturbation of hepg2 has a feature",
            id="no-feature",
        ),
    ],
)
def test_what_does_not_fit_is_not_written(tmp_path: Path, model: Fitted, says: str) -> None:
    with pytest.raises(ModelFault, match=says):
        tiny_screen.write(tmp_path / "m", model)
    assert not (tmp_path / "m").exists()
