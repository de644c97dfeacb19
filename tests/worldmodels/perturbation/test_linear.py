"""The linear model: its formula, what it learns of a simulated screen, and what it will not say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tiny_models
from perturb_seq_simulator import Simulated, simulate
from worldmodels import checkpoints, metrics, registry, training_rows
from worldmodels.checkpoints import Checkpoint
from worldmodels.core import ModelFault, Queries, Status, WorldModel
from worldmodels.embeddings import Embeddings
from worldmodels.expression.annotated import opened
from worldmodels.gene_tables import GeneRecord
from worldmodels.genes import GeneResolver
from worldmodels.perturbation import differential, linear_folder, linear_training, perturb_seq
from worldmodels.perturbation.differential import Effects
from worldmodels.perturbation.linear import FACTORS
from worldmodels.perturbation.linear_solution import solve
from worldmodels.perturbation.linear_training import DE, DIR, Fitted, Settings

PLAIN = GeneResolver.as_they_are()


def effects_of(simulated: Simulated, labels: list[str] | None = None) -> Effects:
    data = simulated.annotated(**({"perturbation": labels} if labels else {}))
    with opened(data) as annotated:
        (screen,) = perturb_seq.screens(annotated, perturb_seq.Choice())
        return differential.effects(screen)


def fitted(found: Effects, vectors: Embeddings | None = None, seed: int = 0) -> Fitted:
    settings = Settings(seed=seed)
    return linear_training.fit(linear_training.pose(found, vectors, PLAIN, settings), settings)


def saved(folder: Path, made: Fitted) -> Checkpoint:
    return linear_folder.save(
        folder, made, Settings(), name="m", version="1", line="k562", training="t", licence="CC0"
    )


@pytest.fixture(scope="module")
def simulated() -> Simulated:
    return simulate()


@pytest.fixture(scope="module")
def found(simulated: Simulated) -> Effects:
    return effects_of(simulated)


@pytest.fixture(scope="module")
def made(found: Effects) -> Fitted:
    return fitted(found)


@pytest.fixture(scope="module")
def model(made: Fitted, tmp_path_factory: pytest.TempPathFactory) -> WorldModel:
    folder = saved(tmp_path_factory.mktemp("linear") / "m", made).path
    return registry.open_folder(folder, genes=PLAIN)


def test_the_solution_is_the_papers_formula() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=(12, 30))
    parts = [np.array([i]) for i in range(12)]
    found = solve(y, parts, None, components=4, ridge=0.1)
    b = y.mean(axis=0)
    u, s, _ = np.linalg.svd((y - b).T, full_matrices=False)
    g = u[:, :4] * s[:4]
    p = g[:12]
    inner = np.linalg.inv(g.T @ g + 0.1 * np.eye(4)) @ g.T @ (y - b).T @ p
    w = inner @ np.linalg.inv(p.T @ p + 0.1 * np.eye(4))
    expected = (g @ w @ p.T).T + b
    np.testing.assert_allclose(found.changes(parts), expected, atol=1e-10)
    np.testing.assert_allclose(found.spread, y.std(axis=0, ddof=1))
    both = found.changes([np.array([3, 5])])[0]
    np.testing.assert_allclose(both, (g @ w @ (p[3] + p[5])) + b, atol=1e-10)


def test_planted_effects_of_unseen_perturbations_are_predicted(made: Fitted) -> None:
    told = made.metrics
    assert told["per_gene_auroc"] > 0.65
    assert told["dir_per_gene_auroc"] > 0.8
    assert told["delta_pearson"] > told["delta_pearson_of_mean"] + 0.05
    assert told["delta_rmse"] < told["delta_rmse_of_mean"]
    assert told["ece"] < told["ece_before"]
    assert told["ece"] < 0.08
    assert not made.notes


def test_the_truth_agrees_with_the_figures(simulated: Simulated, found: Effects) -> None:
    """Perturbations that the model never saw, judged by what was planted, not by any test."""
    rng = np.random.default_rng(5)
    hidden = rng.permutation(len(found.perturbations))[:12]
    kept = np.setdiff1d(np.arange(len(found.perturbations)), hidden)
    part = Effects(
        found.line,
        [found.perturbations[i] for i in kept],
        found.readouts,
        *(found.cells[kept], found.controls),
        *(array[kept] for array in (found.delta, found.effect, found.p, found.q, found.up)),
    )
    solution = fitted(part).solutions[0]
    rows = [found.readouts.index(found.perturbations[i]) for i in hidden]
    change = solution.changes([np.array([row]) for row in rows]) / solution.spread
    columns = [simulated.genes.index(name) for name in found.readouts]
    planted = simulated.planted[[simulated.genes.index(found.perturbations[i]) for i in hidden]]
    planted = planted[:, columns]
    judged = np.ones_like(planted, bool)
    judged[np.arange(12), rows] = False
    at, readouts = np.nonzero(judged)
    truth = planted[judged] != 0
    assert metrics.per_gene_auroc(readouts, truth, np.abs(change[judged])) > 0.65
    shuffled = np.abs(change[rng.permutation(12)])[judged]
    assert metrics.per_gene_auroc(readouts, truth, shuffled) < 0.62
    strong = truth & (np.abs(planted[judged]) > 0.5)
    assert metrics.auroc(planted[judged][strong] > 0, change[judged][strong]) > 0.9
    assert len(at) == judged.sum()


def test_where_the_mean_does_as_well_it_says_so(found: Effects) -> None:
    rng = np.random.default_rng(0)
    problem = linear_training.pose(found, None, PLAIN, Settings())
    shared = problem.y.mean(axis=0)
    problem.y[:] = shared + rng.normal(size=problem.y.shape) * shared.std()  # no perturbation's own
    made = linear_training.fit(problem, Settings())
    assert made.metrics["delta_pearson"] < made.metrics["delta_pearson_of_mean"]
    assert any("mean of the training perturbations predicts" in note for note in made.notes)


def test_verdicts(model: WorldModel, made: Fitted) -> None:
    assert model.spec.contexts == ("k562",)
    assert model.spec.relations == (DE, DIR)
    asked = Queries(DE, ["G1", "G200", "G1"], ["G5", "G5", "SINK"], ["K562"] * 3)
    for relation in (DE, DIR):
        told = model.predict(Queries(relation, asked.subjects, asked.objects, asked.contexts))
        assert told.status.tolist() == [Status.OK] * 3
        assert told.uncertainty is not None
        assert (told.uncertainty > 0).all()
        assert told.p0 is not None
        row = made.problem.readouts.index("G5")
        assert told.p0[0] == made.p0[relation][row]


def test_p0_is_the_mean_of_p_over_perturbations(model: WorldModel, made: Fitted) -> None:
    perturbed = [name for name in made.problem.perturbations if name != "G100"]
    n = len(perturbed)
    for relation in (DE, DIR):
        told = model.predict(Queries(relation, perturbed, ["G100"] * n, ["k562"] * n))
        assert told.p0 is not None
        assert told.p0[0] == pytest.approx(float(told.p.mean()), abs=2e-4)  # factors: 4 bytes


@pytest.mark.parametrize(
    ("subject", "readout", "context", "status"),
    [
        pytest.param("G1", "G1", "k562", Status.OUT_OF_DISTRIBUTION, id="itself"),
        pytest.param("G1", "G2", "rpe1", Status.OUT_OF_DISTRIBUTION, id="another-line"),
        pytest.param("G1+G2", "G3", "k562", Status.OUT_OF_DISTRIBUTION, id="no-combination-seen"),
        pytest.param("TP53", "G3", "k562", Status.UNKNOWN_GENE, id="unknown-perturbation"),
        pytest.param("G3", "TP53", "k562", Status.UNKNOWN_GENE, id="unknown-readout"),
    ],
)
def test_what_it_does_not_answer(
    model: WorldModel, subject: str, readout: str, context: str, status: Status
) -> None:
    told = model.predict(Queries(DE, [subject], [readout], [context]))
    assert told.status.tolist() == [status]
    assert np.isnan(told.p).all()


def test_a_gene_of_the_table_without_embedding_is_out_of_distribution(
    made: Fitted, tmp_path: Path
) -> None:
    genes = GeneResolver([[GeneRecord("TP53"), GeneRecord("G1"), GeneRecord("G2")]], "table")
    model = registry.open_folder(saved(tmp_path / "m", made).path, genes=genes)
    asked = Queries(DE, ["TP53", "NOSUCH"], ["G2", "G2"], ["k562"] * 2)
    assert model.predict(asked).status.tolist() == [
        Status.OUT_OF_DISTRIBUTION,
        Status.UNKNOWN_GENE,
    ]


def test_combinations_are_sums_where_the_screen_held_some(
    simulated: Simulated, tmp_path: Path
) -> None:
    pairs = {"G0": "G0+G1", "G2": "G3+G2"}
    labels = [pairs.get(name, name) for name in simulated.labels]
    made = fitted(effects_of(simulated, labels))
    assert {"G0+G1", "G2+G3"} <= set(made.problem.perturbations)
    model = registry.open_folder(saved(tmp_path / "m", made).path, genes=PLAIN)
    asked = Queries(DE, ["G9+G8", "G8+G9", "G8+NOPE", "G8+G7"], ["G7"] * 4, ["k562"] * 4)
    told = model.predict(asked)
    assert told.status.tolist() == [
        Status.OK,
        Status.OK,
        Status.UNKNOWN_GENE,
        Status.OUT_OF_DISTRIBUTION,
    ]
    assert told.p[0] == told.p[1]
    solution, readouts = made.solutions[0], made.problem.readouts
    at = readouts.index("G7")
    parts = np.array([readouts.index("G8"), readouts.index("G9")])
    change = solution.changes([parts])[0][at : at + 1]
    raw = linear_training.scores(DE, change, solution.spread[at : at + 1])
    assert told.p[0] == pytest.approx(float(made.curves[DE].apply(raw)[0]), abs=1e-4)


def test_vectors_embed_genes_that_were_not_measured(
    simulated: Simulated, found: Effects, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(6, 8))
    names = [name for name in simulated.genes[:-1] if name != "G0"] + ["FAR"]
    module = [*(simulated.module[int(name[1:])] for name in names[:-1]), 2]
    table = (centres[module] + rng.normal(size=(len(names), 8)) * 0.3).astype(np.float32)
    made = fitted(found, Embeddings(names, table, "modules"))
    assert made.problem.dropped == ["G0"]
    assert made.metrics["per_gene_auroc"] > 0.7, "vectors that tell the module tell the effect"
    model = registry.open_folder(saved(tmp_path / "m", made).path, genes=PLAIN)
    asked = Queries(DE, ["FAR", "G0", "G5"], ["G9", "G9", "FAR"], ["k562"] * 3)
    assert model.predict(asked).status.tolist() == [
        Status.OK,
        Status.OUT_OF_DISTRIBUTION,
        Status.UNMEASURED,
    ]


def test_the_training_rows_are_kept(made: Fitted, tmp_path: Path) -> None:
    rows = training_rows.read(saved(tmp_path / "m", made))
    assert rows is not None
    asked = (["k562", "k562", "rpe1"], ["G1", "G100", "G1"], ["G5", "G5", "G5"])
    assert rows.overlap(*asked).tolist() == [True, False, False]


def test_the_same_seed_gives_the_same_bytes(found: Effects, tmp_path: Path) -> None:
    digests = [saved(tmp_path / str(i), fitted(found)).digest for i in range(2)]
    assert digests[0] == digests[1]


def test_too_few_perturbations_are_refused() -> None:
    few = effects_of(simulate(genes=40, perturbed=6, cells=15, controls=40))
    with pytest.raises(
        ModelFault, match=r"^6 perturbations are too few to hold some out: .*10; give a screen"
    ):
        fitted(few)


def test_a_screen_without_changes_is_refused() -> None:
    silent = effects_of(simulate(strength=0.0, seed=4))
    with pytest.raises(ModelFault, match=r"\d of 11,520 pairs .* change .*too few of either kind"):
        fitted(silent)


def test_a_screen_that_only_goes_down_has_no_direction(found: Effects) -> None:
    settings = Settings()
    problem = linear_training.pose(found, None, PLAIN, settings)
    problem.up[:] = False
    made = linear_training.fit(problem, settings)
    assert list(made.curves) == [DE]
    assert any("perturbation.dir is not answered" in note for note in made.notes)


def test_readouts_of_one_gene_are_refused(found: Effects) -> None:
    genes = GeneResolver([[GeneRecord("G1", previous=("G2",))]], "table")
    with pytest.raises(ModelFault, match=r"1 genes are read out under several spellings \(G1\)"):
        linear_training.pose(found, None, genes, Settings())


def _damage(array: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:  # type: ignore[type-arg]
    def damage(folder: Path) -> None:
        old = checkpoints.read(folder)
        arrays = old.arrays(FACTORS)
        arrays[array] = change(arrays[array])
        texts = {name: old.text(name) for name in old.manifest.files if name.endswith(".json")}
        tensors = {FACTORS: arrays, training_rows.KEYS: old.arrays(training_rows.KEYS)}
        checkpoints.write(folder, old.manifest, tensors=tensors, texts=texts, force=True)

    return damage


def _curves(text: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        old = checkpoints.read(folder)
        texts = {name: old.text(name) for name in old.manifest.files if name.endswith(".json")}
        tensors = {FACTORS: old.arrays(FACTORS)}
        checkpoints.write(
            folder, old.manifest, tensors=tensors, texts=texts | {"curves.json": text}, force=True
        )

    return damage


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        pytest.param(_damage("objects", lambda a: a[:, :-1]), "do not fit together", id="short"),
        pytest.param(_damage("subjects", lambda a: a[0]), "do not fit together", id="flat"),
        pytest.param(_damage("subject", lambda a: a + 1000), "do not fit together", id="beyond"),
        pytest.param(_damage("spreads", lambda a: a * 0), "has no spread", id="no-spread"),
        pytest.param(_damage("offsets", lambda a: a * np.nan), "holds NaN", id="nan"),
        pytest.param(_damage("offsets", lambda a: a.astype("f8")), "no array 'offsets'", id="type"),
        pytest.param(_curves("{"), "holds no curve", id="curves-not-json"),
        pytest.param(_curves(json.dumps({DE: {}})), "holds no curve", id="curve-missing"),
        pytest.param(_curves("[]"), "holds no curve", id="curves-a-list"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_damaged_folder_is_refused(
    tmp_path: Path, damage: Callable[[Path], None], says: str
) -> None:
    folder = tiny_models.linear(tmp_path).path
    damage(folder)
    with pytest.raises(ModelFault, match=says):
        registry.open_folder(folder, genes=PLAIN)
