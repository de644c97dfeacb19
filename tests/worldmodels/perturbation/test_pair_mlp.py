from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tiny_models
from screens import gene_table, screen, vectors
from worldmodels import checkpoints, registry
from worldmodels.core import ModelFault, Queries, Status, quantise
from worldmodels.genes import GeneResolver
from worldmodels.perturbation import pair_mlp, pair_mlp_factoring, pair_mlp_training, tables
from worldmodels.perturbation.pair_mlp import PairMLP
from worldmodels.perturbation.pair_mlp_training import Epoch, Fitted, Pairs, Settings

QUICK = Settings(epochs=30, hidden=16, batch_size=64, learning_rate=0.01, dropout=0.0)
PLAIN = GeneResolver.as_they_are()


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return tiny_models.fit_pair_mlp(tmp_path_factory.mktemp("screen"), QUICK)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PairMLP:
    made = tiny_models.pair_mlp(tmp_path_factory.mktemp("model"), settings=QUICK)
    return PairMLP(made, PLAIN, name="tiny")


def _ask(subjects: list[str], objects: list[str], context: str = "k562") -> Queries:
    return Queries("perturbation.de", subjects, objects, [context] * len(subjects))


def test_it_learns_and_says_how_well(tmp_path: Path) -> None:
    settings = dataclasses.replace(QUICK, epochs=12, batch_size=256)
    figures = tiny_models.fit_pair_mlp(tmp_path, settings, genes=150).figures
    assert figures["per_gene_auroc"] > 0.75, "the screen has a signal to find"
    assert figures["ece"] < figures["ece_before"]
    assert figures["brier"] < figures["brier_before"]


def test_folds_hold_perturbations_apart(fitted: Fitted) -> None:
    trained = set(fitted.pairs.a[fitted.train].tolist())
    assert trained
    assert not trained & set(fitted.pairs.a[~fitted.train].tolist())


def test_served_equals_the_plain_torch_network(tmp_path: Path, fitted: Fitted) -> None:
    import torch

    table = tables.read(screen(tmp_path))
    manifest = _describe(fitted)
    made = pair_mlp_factoring.save(tmp_path / "m", fitted, vectors(), table, PLAIN, manifest)
    served = PairMLP(made, PLAIN, name="m")
    net = torch.nn.Sequential(torch.nn.Linear(12, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
    with torch.inference_mode():
        net[0].weight.copy_(torch.from_numpy(np.vstack([fitted.network.wa, fitted.network.wb]).T))
        net[0].bias.copy_(torch.from_numpy(fitted.network.b1))
        net[2].weight.copy_(torch.from_numpy(fitted.network.w2[None]))
        net[2].bias.fill_(fitted.network.b2)
        e = torch.from_numpy(vectors().vectors)
        a, b = np.nonzero(~np.eye(60, dtype=bool))
        raw = torch.sigmoid(net(torch.cat([e[a], e[b]], dim=1))[:, 0].double()).numpy()
    found = served.predict(_ask([f"G{i}" for i in a], [f"G{i}" for i in b]))
    assert found.raw is not None
    np.testing.assert_allclose(found.raw, raw, atol=1e-6)
    np.testing.assert_allclose(found.p, fitted.calibrator.apply(raw), atol=1e-6)


def _describe(fitted: Fitted, any_cell_line: bool = False) -> checkpoints.Manifest:
    return pair_mlp_factoring.describe(
        fitted,
        QUICK,
        name="m",
        version="1",
        relation="perturbation.de",
        training="generated",
        licence="CC0-1.0",
        any_cell_line=any_cell_line,
    )


def test_a_row_is_the_same_to_the_last_bit_in_every_batch() -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "h1": rng.normal(size=(500, 64)).astype(np.float32),
        "h2": rng.normal(size=(500, 64)).astype(np.float32),
        "w": rng.normal(size=64).astype(np.float32),
        "bias": np.zeros(1, np.float32),
    }
    logits = pair_mlp._on_cpu(arrays)
    a, b = rng.integers(0, 500, (2, 5000)).astype(np.int32)
    whole = logits(a, b)
    for size in range(1, 301):
        np.testing.assert_array_equal(logits(a[:size], b[:size]), whole[:size])
    for row in range(0, 5000, 97):
        assert logits(a[row : row + 1], b[row : row + 1])[0] == whole[row]


@pytest.mark.parametrize("hidden", [1, 3, 7, 64, 100])
def test_the_device_path_gives_the_same_figures(hidden: int) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "h1": rng.normal(size=(50, hidden)).astype(np.float32),
        "h2": rng.normal(size=(50, hidden)).astype(np.float32),
        "w": rng.normal(size=hidden).astype(np.float32) / hidden,
        "bias": np.array([0.5], np.float32),
    }
    a, b = rng.integers(-2, 50, (2, 400)).astype(np.int32)
    on_torch, on_numpy = pair_mlp._on_device(arrays, "cpu"), pair_mlp._on_cpu(arrays)
    np.testing.assert_allclose(on_torch(a, b), on_numpy(a, b), atol=1e-6)
    alone = np.concatenate([on_torch(a[i : i + 1], b[i : i + 1]) for i in range(len(a))])
    np.testing.assert_array_equal(quantise(alone), quantise(on_torch(a, b)))


@pytest.mark.parametrize("device", ["cuda:97", "abacus"])
def test_a_device_that_is_not_there(device: str) -> None:
    arrays = {name: np.zeros((1, 1), np.float32) for name in ("h1", "h2", "w", "bias")}
    with pytest.raises(ModelFault, match=f"device '{device}' cannot be used"):
        pair_mlp._on_device(arrays, device)


def test_p0_is_the_mean_over_training_perturbations(tmp_path: Path, fitted: Fitted) -> None:
    table = tables.read(screen(tmp_path))
    made = pair_mlp_factoring.save(
        tmp_path / "m", fitted, vectors(), table, PLAIN, _describe(fitted)
    )
    served = PairMLP(made, PLAIN, name="m")
    trained = [f"G{i}" for i in np.unique(fitted.pairs.a[fitted.train])]
    readout = np.setdiff1d(fitted.pairs.a, fitted.pairs.a[fitted.train])[0]
    found = served.predict(_ask(trained, [f"G{readout}"] * len(trained)))
    assert found.p0 is not None
    assert len(set(found.p0.tolist())) == 1
    assert found.p0[0] == pytest.approx(found.p.mean(), abs=2e-6)


@pytest.mark.parametrize(
    ("subject", "object_", "context", "status"),
    [
        pytest.param("G1", "G2", "K-562", Status.OK, id="known"),
        pytest.param("G1", "G2", "hepg2", Status.OK, id="other-line"),
        pytest.param("G1", "NOPE", "k562", Status.UNKNOWN_GENE, id="unknown-readout"),
        pytest.param("G1+G2", "G3", "k562", Status.UNKNOWN_GENE, id="combination"),
        pytest.param("G1", "G2", "jurkat", Status.OUT_OF_DISTRIBUTION, id="unseen-line"),
        pytest.param("G1", "G2", "", Status.OUT_OF_DISTRIBUTION, id="no-line"),
        pytest.param("NOPE", "G2", "jurkat", Status.OUT_OF_DISTRIBUTION, id="line-before-gene"),
        pytest.param("G1", "G1", "k562", Status.OUT_OF_DISTRIBUTION, id="its-own-target"),
        pytest.param("G1", " G1 ", "k562", Status.OUT_OF_DISTRIBUTION, id="its-own-with-blanks"),
        pytest.param("NOPE", "NOPE", "k562", Status.UNKNOWN_GENE, id="unknown-with-itself"),
    ],
)
def test_statuses(model: PairMLP, subject: str, object_: str, context: str, status: Status) -> None:
    found = model.predict(Queries("perturbation.de", [subject], [object_], [context]))
    assert found.status.tolist() == [status]
    for column in (found.p, found.p0, found.raw):
        assert column is not None
        assert np.isfinite(column[0]) == (status == Status.OK)


def test_any_cell_line(tmp_path: Path) -> None:
    made = tiny_models.pair_mlp(tmp_path, ("K562",), any_line=True)
    served = PairMLP(made, PLAIN, name="tiny")
    assert served.spec.contexts == ()
    found = served.predict(Queries("perturbation.de", ["G1"] * 3, ["G2"] * 3, ["", "x", "k562"]))
    assert len(set(found.p.tolist())) == 1
    assert not found.status.any()


def test_outdated_spellings_work_without_a_gene_table(tmp_path: Path) -> None:
    genes = GeneResolver.from_files([gene_table(tmp_path)])
    text = screen(tmp_path)[0].read_text().replace("G0,", "AARS,").replace("G1,", "calr,")
    (tmp_path / "K562-de.csv").write_text(text)
    names = ["AARS1", "CALR", *vectors().names[2:]]
    renamed = dataclasses.replace(vectors(), names=names)
    table = tables.read([tmp_path / "K562-de.csv"])
    pairs, lost = pair_mlp_training.match(table, renamed, genes)
    assert not lost
    done = pair_mlp_training.fit(pairs, renamed.vectors, Settings(epochs=1))
    made = pair_mlp_factoring.save(tmp_path / "m", done, renamed, table, genes, _describe(done))
    served = PairMLP(made, PLAIN, name="m")
    found = served.predict(_ask(["AARS", "AARS1", "CMT2N"], ["calr", "CALR", "CALR"]))
    assert found.p[0] == found.p[1]
    assert found.status.tolist() == [Status.OK, Status.OK, Status.UNKNOWN_GENE]
    assert served.spec.vocabulary == 60
    itself = served.predict(_ask(["AARS", "calr"], ["AARS1", "CALR"]))
    assert itself.status.tolist() == [Status.OUT_OF_DISTRIBUTION] * 2
    assert not served.predict(served.examples(500)).status.any()
    resolved = PairMLP(made, genes, name="m").predict(_ask(["CMT2N"], ["CALR"]))
    assert resolved.p[0] == found.p[0]


def test_lines_that_differ_over_a_pair_teach_together(tmp_path: Path) -> None:
    first, second = screen(tmp_path, ("K562", "RPE1"))
    text = first.read_text()
    second.write_text(text.replace("G0,G2,0", "G0,G2,1").replace("G0,G2,1", "G0,G2,0"))
    first.write_text(text.replace("G0,G2,0", "G0,G2,1"))
    pairs, _ = pair_mlp_training.match(
        tables.read([first, second], any_cell_line=True), vectors(), PLAIN
    )
    assert len(np.unique(pairs.readouts())) == 2 * len(np.unique(pairs.b))
    done = pair_mlp_training.fit(pairs, vectors().vectors, Settings(epochs=1))
    assert _describe(done, any_cell_line=True).contexts == ()
    assert _describe(done).contexts == ("k562", "rpe1")


def test_training_is_deterministic_and_seeds_differ(tmp_path: Path) -> None:
    def weights(seed: int) -> np.ndarray:
        settings = Settings(epochs=2, seed=seed)
        return tiny_models.fit_pair_mlp(tmp_path, settings).network.wa

    np.testing.assert_array_equal(weights(1), weights(1))
    assert (weights(1) != weights(2)).any()


def test_training_leaves_torch_as_it_was(tmp_path: Path) -> None:
    import torch

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    tiny_models.fit_pair_mlp(tmp_path, Settings(epochs=1))
    assert torch.equal(torch.rand(3), expected)


def test_patience_ends_training_and_epochs_are_told(tmp_path: Path) -> None:
    table = tables.read(screen(tmp_path))
    pairs, _ = pair_mlp_training.match(table, vectors(), PLAIN)
    told: list[Epoch] = []
    settings = Settings(epochs=200, patience=2, learning_rate=0.05)
    pair_mlp_training.fit(pairs, vectors().vectors, settings, told.append)
    assert 3 <= len(told) < 200
    best = min(range(len(told)), key=lambda i: told[i].held_out_loss)
    assert len(told) - 1 - best == 2


@pytest.mark.parametrize(
    ("balanced", "low", "high"), [(True, 0.3, 0.7), (False, 0.05, 0.35)], ids=["weighed", "natural"]
)
def test_balance_moves_the_raw_score(
    tmp_path: Path, balanced: bool, low: float, high: float
) -> None:
    settings = dataclasses.replace(QUICK, balanced=balanced, epochs=8, calibration="none")
    done = tiny_models.fit_pair_mlp(tmp_path, settings)
    scores = done.network.logits(vectors().vectors, done.pairs.a, done.pairs.b)
    assert low < float(np.mean(1 / (1 + np.exp(-scores)))) < high


def _pairs(perturbations: int, labels: list[int]) -> Pairs:
    a = np.repeat(np.arange(perturbations), len(labels))
    b = np.tile(np.arange(len(labels)), perturbations)
    rows = np.tile(np.array(labels, np.uint8), perturbations)
    return Pairs(a, b, rows, ["k562"] * len(a))


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        pytest.param(_pairs(5, [0, 1]), "5 perturbations with vectors are too few", id="few"),
        pytest.param(_pairs(30, [1, 1]), "training rows have one label", id="one-class"),
    ],
)
def test_tables_that_cannot_teach(pairs: Pairs, says: str) -> None:
    with pytest.raises(ModelFault, match=says):
        pair_mlp_training.fit(pairs, vectors().vectors, Settings())


def test_no_name_in_common(tmp_path: Path) -> None:
    table = tables.read(screen(tmp_path))
    others = dataclasses.replace(vectors(), names=[f"ENSG{i}" for i in range(60)])
    with pytest.raises(ModelFault, match="none of the 1770 rows"):
        pair_mlp_training.match(table, others, PLAIN)


ARRAYS = {
    "h1": np.zeros((2, 3), np.float32),
    "h2": np.zeros((2, 3), np.float32),
    "w": np.zeros(3, np.float32),
    "bias": np.zeros(1, np.float32),
    "p0": np.zeros((1, 2)),
    "rows": np.arange(2, dtype=np.int32),
}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param({"w": np.zeros(4, np.float32)}, r"'w' should have shape \(3,\)", id="shape"),
        pytest.param({"h1": np.zeros((2, 3))}, "'h1' should be float32, found float64", id="type"),
        pytest.param({"h2": np.full((2, 3), np.nan, np.float32)}, "'h2' holds NaN", id="nan"),
        pytest.param({"p0": np.zeros((2, 2))}, "'p0' should have shape", id="contexts"),
        pytest.param({"rows": np.array([0, 2], np.int32)}, "beyond the 2 genes", id="rows"),
        pytest.param({"rows": np.array([0, -1], np.int32)}, "beyond the 2 genes", id="negative"),
        pytest.param({"rows": np.zeros(2, np.int32)}, "fewer than two genes", id="one-gene"),
        pytest.param({"w": None}, "'w' should be float32, found nothing", id="missing"),
    ],
)
def test_checkpoints_that_do_not_fit_are_refused(
    tmp_path: Path, change: dict[str, np.ndarray | None], says: str
) -> None:
    arrays = {name: a for name, a in {**ARRAYS, **change}.items() if a is not None}
    manifest = checkpoints.Manifest(
        name="m", family="pair-mlp", version="1", relations=("perturbation.de",)
    )
    made = checkpoints.write(
        tmp_path / "m",
        manifest,
        tensors={"weights.safetensors": arrays},
        texts={"vocabulary.json": '["A", "B"]'},
    )
    with pytest.raises(ModelFault, match=says):
        PairMLP(made, PLAIN, name="m")


def test_serving_imports_no_torch_and_no_pandas(tmp_path: Path) -> None:
    made = tiny_models.pair_mlp(tmp_path)
    code = (
        "import sys\n"
        "from worldmodels import registry\n"
        "from worldmodels.genes import GeneResolver\n"
        f"m = registry.open_folder({str(made.path)!r}, genes=GeneResolver.as_they_are())\n"
        "assert not m.predict(m.examples(300)).status.any()\n"
        "assert not {'torch', 'pandas', 'sklearn', 'scipy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_folder_is_opened_by_its_own_word(tmp_path: Path) -> None:
    made = tiny_models.pair_mlp(tmp_path)
    opened = registry.open_folder(made.path, genes=PLAIN)
    assert (opened.spec.name, opened.spec.family) == ("tiny", "pair-mlp")
    assert opened.spec.digest == made.digest
    assert registry.open_folder(made.path, genes=PLAIN, name="mine").spec.name == "mine"
    with pytest.raises(ModelFault, match="needs path"):
        registry.load(registry.Source(family="pair-mlp", name="x"), PLAIN)
