"""The tests of a screen: equal to scanpy's and scipy's, and right about what was planted."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from perturb_seq_simulator import CONTROL, Simulated, simulate
from worldmodels.core import ModelFault
from worldmodels.expression.annotated import opened
from worldmodels.perturbation import differential, differential_table, perturb_seq, tables
from worldmodels.perturbation.differential import Effects, benjamini_hochberg, rank_sum, two_sided
from worldmodels.perturbation.perturb_seq import Choice

SMALL = {"genes": 40, "perturbed": 8, "cells": 20, "controls": 60}


def effects_of(data: object, **choice: object) -> Effects:
    with opened(data) as annotated:  # type: ignore[arg-type]
        (screen,) = perturb_seq.screens(annotated, Choice(**choice))  # type: ignore[arg-type]
        return differential.effects(screen)


@pytest.fixture(scope="module")
def small() -> Simulated:
    return simulate(**SMALL)


@pytest.fixture(scope="module")
def screen() -> Simulated:
    return simulate()


VALUES = {
    "continuous": lambda rng, n: rng.gamma(1, 1, n).astype(np.float32) + 0.1,
    "many-ties": lambda rng, n: rng.integers(0, 4, n).astype(np.float32),
    "all-zero": lambda rng, n: np.zeros(n, np.float32),
    "all-equal": lambda rng, n: np.full(n, 2.5, np.float32),
    "zeros-and-large": lambda rng, n: (rng.random(n) < 0.3) * np.float32(1e9) * rng.random(n),
    "tiny": lambda rng, n: (rng.integers(0, 3, n) * 1e-40).astype(np.float32),
}


@pytest.mark.parametrize("draw", VALUES.values(), ids=VALUES)
def test_rank_sums_are_scipys(draw: object) -> None:
    rng = np.random.default_rng(3)
    sizes = np.array([37, 12, 1, 50])
    group = rng.permutation(np.repeat(np.arange(4, dtype=np.int32), sizes))
    values = np.asarray(draw(rng, len(group)), np.float32)  # type: ignore[operator]
    some = values > 0
    p = two_sided(rank_sum(values[some], group[some], sizes))
    for number in (1, 2, 3):
        mine, control = (values[group == of].astype(np.float64) for of in (number, 0))
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            told = stats.mannwhitneyu(mine, control, use_continuity=False, method="asymptotic")
        expected = 1.0 if np.isnan(told.pvalue) else told.pvalue
        assert p[number - 1] == pytest.approx(expected, abs=1e-12, rel=1e-9)


def test_whole_tables_are_scanpys(small: Simulated) -> None:
    import scanpy as sc

    data = small.annotated()
    found = effects_of(data)
    data.obs["perturbation"] = data.obs["perturbation"].astype("category")
    data.X = data.X.astype(np.float64)  # in single precision equal shares do not always tie
    sc.pp.normalize_total(data, target_sum=1e4)
    sc.pp.log1p(data)
    data.X = data.X.astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sc.tl.rank_genes_groups(
            data, "perturbation", reference=CONTROL, method="wilcoxon", tie_correct=True
        )
    place = {name: i for i, name in enumerate(found.readouts)}
    for row, name in enumerate(found.perturbations):
        table = sc.get.rank_genes_groups_df(data, name)
        at = [place[gene] for gene in table["names"]]
        np.testing.assert_allclose(found.p[row, at], table["pvals"], rtol=1e-9, atol=1e-300)
        np.testing.assert_allclose(found.q[row, at], table["pvals_adj"], rtol=1e-9, atol=1e-300)
        np.testing.assert_allclose(found.effect[row, at], table["logfoldchanges"], rtol=2e-4)
        assert (found.up[row, at] == (table["scores"] > 0)).all()


def test_false_discoveries_are_controlled_as_scipy_does() -> None:
    rng = np.random.default_rng(0)
    p = rng.random((5, 40)) ** 3
    p[1, :10] = p[1, 10]
    p[2] = 1.0
    for row, expected in zip(benjamini_hochberg(p), p, strict=True):
        np.testing.assert_allclose(row, stats.false_discovery_control(expected), rtol=1e-12)


@pytest.mark.parametrize("form", ["csr", "csc", "dense"])
@pytest.mark.parametrize("place", ["memory", "file", "backed"])
def test_every_form_and_place_of_a_matrix_tells_the_same(
    small: Simulated, tmp_path: Path, form: str, place: str
) -> None:
    import anndata

    data = small.annotated(form)
    expected = effects_of(small.annotated())
    path = small.file(tmp_path / "s.h5ad", form)
    if place == "memory":
        found = effects_of(data)
    elif place == "file":
        found = effects_of(path)
    else:
        backed = anndata.read_h5ad(path, backed="r")
        found = effects_of(backed)
        backed.file.close()
    for name in ("delta", "effect", "p", "q", "up", "cells"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)
    assert found.perturbations == expected.perturbations


@pytest.mark.parametrize("form", ["csr", "csc"])
def test_genes_in_many_chunks_are_the_same(
    small: Simulated, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small.file(tmp_path / "s.h5ad", form)
    whole = effects_of(path)
    monkeypatch.setattr("worldmodels.perturbation.perturb_seq_values.MOST_ENTRIES", 500)
    monkeypatch.setattr("worldmodels.expression.matrices.BLOCK", 700)
    with opened(path) as annotated:
        (one,) = perturb_seq.screens(annotated, Choice())
        assert len(list(one.chunks())) > 5
    np.testing.assert_array_equal(effects_of(path).p, whole.p)


def _against_the_truth(simulated: Simulated, alpha: float) -> tuple[float, float]:
    found = effects_of(simulated.annotated())
    rows = [simulated.perturbations.index(name) for name in found.perturbations]
    columns = [simulated.genes.index(name) for name in found.readouts]
    planted = simulated.planted[np.ix_(rows, columns)] != 0
    said = found.changed(alpha)
    power = (said & planted).sum() / planted.sum()
    false = (said & ~planted).sum() / max(said.sum(), 1)
    return float(power), float(false)


def test_planted_effects_are_found_and_little_else(screen: Simulated) -> None:
    power, false = _against_the_truth(screen, 0.05)
    assert power > 0.8
    assert false < 0.06
    power, false = _against_the_truth(screen, 0.001)
    assert power > 0.6
    assert false < 0.004


def test_where_nothing_was_planted_nearly_nothing_is_found() -> None:
    nothing = simulate(perturbed=30, strength=0.0, seed=2)
    found = effects_of(nothing.annotated())
    itself = np.array(found.perturbations)[:, None] == np.array(found.readouts)
    sink = np.array(found.readouts) == "SINK"  # gains what the knocked-down gene loses
    assert (found.changed(0.05) & ~itself & ~sink).mean() < 0.002
    assert found.changed(0.05)[itself].mean() > 0.8
    kept = found.p[~(itself | sink)]
    assert kept.min() > 0
    assert np.mean(kept < 0.05) == pytest.approx(0.05, abs=0.01), "p is uniform"


def test_fold_changes_are_those_planted(screen: Simulated) -> None:
    found = effects_of(screen.annotated())
    rows = [screen.perturbations.index(name) for name in found.perturbations]
    columns = [screen.genes.index(name) for name in found.readouts]
    planted = screen.planted[np.ix_(rows, columns)]
    assert np.corrcoef(found.effect.ravel(), planted.ravel())[0, 1] > 0.85
    up = found.up[(planted > 0) & found.changed(0.05)]
    assert up.mean() > 0.97


def test_a_table_of_changes_and_one_of_directions(small: Simulated, tmp_path: Path) -> None:
    found = effects_of(small.annotated())
    how = {"alpha": 0.05, "least": 0.0, "source": "s.h5ad"}
    de = differential_table.table([found], relation="perturbation.de", **how)  # type: ignore[arg-type]
    assert len(de) == found.p.size
    assert de.labels.sum() == found.changed(0.05).sum()
    up = differential_table.table([found], relation="perturbation.dir", **how)  # type: ignore[arg-type]
    assert len(up) == found.changed(0.05).sum()
    assert up.effects is not None
    np.testing.assert_array_equal(up.labels == 1, up.effects > 0)
    strict = differential_table.table(
        [found], relation="perturbation.de", alpha=0.05, least=1.5, source=""
    )
    assert 0 < strict.labels.sum() < de.labels.sum()
    for suffix in differential_table.SUFFIXES:
        path = tmp_path / f"k562-de{suffix}"
        differential_table.write(path, de)
        again = tables.read([path])
        assert again.perturbations == de.perturbations
        assert again.contexts == de.contexts
        np.testing.assert_array_equal(again.labels, de.labels)


def test_no_change_at_all_has_no_direction(small: Simulated) -> None:
    found = effects_of(small.annotated())
    with pytest.raises(ModelFault, match="no readout changes at q < 1e-300"):
        differential_table.table(
            [found], relation="perturbation.dir", alpha=1e-300, least=0, source="s.h5ad"
        )


@pytest.mark.parametrize(
    ("name", "says"),
    [
        pytest.param("t.xlsx", "unknown format", id="format"),
        pytest.param("nowhere/t.csv", "there is no folder", id="folder"),
    ],
)
def test_where_a_table_cannot_go_is_said_before(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(ModelFault, match=says):
        differential_table.refuse_path(tmp_path / name)
