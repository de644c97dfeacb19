"""Figures of cards against brute force, and against models whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from told import Told, planted, table
from worldmodels.cards import evaluation, record
from worldmodels.cards.columns import questions
from worldmodels.cards.evaluation import Settings
from worldmodels.core import ModelFault

QUICK = Settings(permutations=3, resamples=20)
NAN = float("nan")


def _brute_force(labels: np.ndarray, scores: np.ndarray, readouts: list[str]) -> float:
    areas = []
    for readout in sorted(set(readouts)):
        mine = np.array([one == readout for one in readouts])
        ones, zeros = scores[mine & (labels == 1)], scores[mine & (labels == 0)]
        if len(ones) and len(zeros):
            gaps = ones[:, None] - zeros[None, :]
            areas.append(((gaps > 0) + 0.5 * (gaps == 0)).mean())
    return float(np.mean(areas))


def test_per_gene_auroc_by_brute_force() -> None:
    rows, truth = planted(perturbations=30, readouts=8)
    model = Told(lambda *key: round(truth[key], 1))
    found = evaluation.section(model, "perturbation.de", rows, QUICK)
    scores = np.array(
        [
            round(truth[key], 1)
            for key in zip(rows.perturbations, rows.readouts, rows.contexts, strict=True)
        ]
    )
    assert found.overall is not None
    expected = _brute_force(rows.labels, scores, rows.readouts)
    assert found.overall.figures["per_gene_auroc"] == pytest.approx(expected, abs=1e-6)
    assert found.overall.figures["n"] == 240


def test_readouts_of_two_lines_are_not_one_readout() -> None:
    rows = table(
        [
            ("A", "X", "k562", 1),
            ("B", "X", "k562", 0),
            ("A", "X", "rpe1", 0),
            ("B", "X", "rpe1", 1),
        ]
    )
    said = {("A", "k562"): 0.6, ("B", "k562"): 0.5, ("A", "rpe1"): 0.7, ("B", "rpe1"): 0.8}
    model = Told(lambda a, _, line: said[a, line])
    found = evaluation.section(model, "perturbation.de", rows, QUICK)
    assert found.overall is not None
    assert found.overall.figures["per_gene_auroc"] == 1.0
    assert found.overall.readouts_scored == 2
    assert {line: p.figures["per_gene_auroc"] for line, p in found.by_line.items()} == {
        "k562": 1.0,
        "rpe1": 1.0,
    }


def test_a_perturbation_blind_model_is_half_and_has_no_gap() -> None:
    rows, _ = planted(lines=("k562", "rpe1"))
    ones: dict[tuple[str, str], list[int]] = {}
    for readout, line, label in zip(rows.readouts, rows.contexts, rows.labels, strict=True):
        ones.setdefault((readout, line), []).append(int(label))
    rate = {key: float(np.mean(labels)) for key, labels in ones.items()}
    model = Told(lambda _, b, line: rate[b, line], p0=lambda _, b, line: rate[b, line])
    found = evaluation.section(model, "perturbation.de", rows, QUICK)
    for panel in (found.overall, *found.by_line.values()):
        assert panel is not None
        assert panel.figures["per_gene_auroc"] == 0.5
        assert panel.figures["f1"] > 0.3, "a table of frequencies looks good over all rows"
        assert set(panel.shuffled.gap.values()) == {0.0}
        assert set(panel.shuffled.sd.values()) == {0.0}
        assert panel.p0 == {
            k: v for k, v in panel.figures.items() if k not in ("ece_before", "brier_before")
        }
        assert panel.per_gene_auroc_se == 0.0
        assert {point.coverage for point in panel.risk_coverage.points} == {1.0}, "all lifts tie"


def test_an_oracle_falls_to_chance_when_perturbations_are_shuffled() -> None:
    rows, _ = planted(perturbations=80, readouts=60)
    keys = zip(rows.perturbations, rows.readouts, rows.contexts, strict=True)
    truth = dict(zip(keys, rows.labels.tolist(), strict=True))
    model = Told(lambda *key: float(truth[key]))
    found = evaluation.section(model, "perturbation.de", rows, Settings(permutations=8))
    assert found.overall is not None
    assert found.overall.figures["per_gene_auroc"] == 1.0
    control = found.overall.shuffled
    assert control.permutations == 8
    assert control.mean["per_gene_auroc"] == pytest.approx(0.5, abs=0.02)
    assert control.gap["per_gene_auroc"] == pytest.approx(0.5, abs=0.02)
    assert control.sd["per_gene_auroc"] > 0


def test_shuffles_stay_within_their_line_and_move_whole_perturbations() -> None:
    rows, _ = planted(perturbations=12, readouts=3, lines=("k562",))
    other = table([(f"Q{i}", "X", "rpe1", i % 2) for i in range(9)])
    joined = table(
        [
            *zip(rows.perturbations, rows.readouts, rows.contexts, rows.labels, strict=True),
            *zip(other.perturbations, other.readouts, other.contexts, other.labels, strict=True),
        ]
    )
    drawn = list(evaluation.shuffles(questions(joined), Settings(permutations=4)))
    assert len({tuple(one) for one in drawn}) == 4, "each permutation has a seed of its own"
    for one in drawn:
        assert {name[0] for name in one[:36]} == {"P"}
        assert sorted(set(one[36:])) == sorted(other.perturbations)
        homes = set(zip(joined.perturbations, one, strict=True))
        assert len(homes) == 21, "one perturbation becomes one other, whatever its readout"
    assert drawn == list(evaluation.shuffles(questions(joined), Settings(permutations=4)))


def test_the_control_is_part_of_every_card() -> None:
    with pytest.raises(ModelFault, match="shuffled-perturbation control is part of every card"):
        Settings(permutations=0)


def test_risk_and_coverage_of_a_model_that_knows_when_it_knows() -> None:
    """Half of the rows are right and far from p0, half are wrong and near it."""
    rows, says = [], {}
    for i in range(40):
        for j in range(2):
            label = (i + j) % 2
            sure = i < 20
            rows.append((f"P{i}", f"R{j}", "k562", label))
            right = 0.95 if label else 0.05
            wrong = 0.49 if label else 0.51
            says[f"P{i}", f"R{j}"] = right if sure else wrong
    model = Told(lambda a, b, _: says[a, b], p0=lambda *_: 0.5)
    found = evaluation.section(model, "perturbation.de", table(rows), QUICK)
    assert found.overall is not None
    curve = found.overall.risk_coverage
    points = {point.asked: point for point in curve.points}
    assert curve.by == "|lift|"
    assert points[1.0].per_gene_auroc == pytest.approx(0.5 + 0.25)
    assert points[0.5].per_gene_auroc == 1.0
    assert points[0.5].coverage == 0.5
    assert points[0.5].readouts == 2
    assert points[0.5].threshold == pytest.approx(np.log(0.95 / 0.05), abs=1e-5)
    assert points[0.05].coverage == 0.5, "rows that tie are all kept, and the card says so"


def test_without_p0_sureness_is_told_by_p_alone() -> None:
    rows, truth = planted()
    found = evaluation.section(Told(lambda *key: truth[key]), "perturbation.de", rows, QUICK)
    assert found.overall is not None
    assert found.overall.risk_coverage.by == "|2p-1|"
    assert found.overall.p0 is None
    assert all(one.lift is None for one in found.strata)
    assert found.reliable == {}


def test_calibration_before_and_after() -> None:
    rows, truth = planted(perturbations=200)
    model = Told(lambda *key: truth[key], raw=lambda *key: min(1.0, truth[key] + 0.3))
    found = evaluation.section(model, "perturbation.de", rows, QUICK)
    assert found.overall is not None
    figures = found.overall.figures
    assert figures["ece"] < 0.03 < 0.2 < figures["ece_before"]
    assert figures["brier"] < figures["brier_before"]
    assert found.overall.reliability_before is not None
    assert sum(one.n for one in found.overall.reliability) == len(rows)


def test_noise_by_stratum_by_hand() -> None:
    rows = table(
        [
            ("A", "X", "k562", 1),
            ("B", "X", "k562", 1),
            ("C", "X", "k562", 0),
            ("D", "X", "k562", 0),
            ("A", "X", "rpe1", 1),
        ]
    )
    said = {"A": 0.9, "B": 0.4, "C": 0.6, "D": 0.1}
    model = Told(lambda a, *_: said[a], p0=lambda *_: 0.3)
    found = evaluation.section(model, "perturbation.de", rows, QUICK)
    strata = {(one.by, one.value): one for one in found.strata}
    k562 = strata["cell line", "k562"]
    assert (k562.prob.rho0, k562.prob.rho1, k562.prob.youden) == (0.5, 0.5, 0.0)
    assert k562.lift is not None
    assert (k562.lift.rho0, k562.lift.rho1, k562.lift.youden) == (0.5, 0.0, 0.5)
    rpe1 = strata["cell line", "rpe1"]
    assert (rpe1.n, rpe1.prob.rho0, rpe1.prob.rho1, rpe1.prob.youden) == (1, None, 0.0, None)


def test_unanswered_rows_are_counted_and_cost_what_they_cost() -> None:
    rows, truth = planted(perturbations=80)
    unknown = {f"P{i}" for i in range(20)}
    model = Told(lambda *key: NAN if key[0] in unknown else truth[key])
    found = evaluation.section(model, "perturbation.de", rows, QUICK)
    assert found.statuses == {"OK": 1200, "UNKNOWN_GENE": 400}
    assert (found.rows, found.answered) == (1600, 1200)
    assert found.overall is not None
    of_all = found.overall.per_gene_auroc_of_all_rows
    assert of_all is not None
    assert 0.5 < of_all < found.overall.figures["per_gene_auroc"]


def test_a_model_that_answers_nothing_has_no_figure() -> None:
    rows, _ = planted(perturbations=5)
    found = evaluation.section(Told(lambda *_: NAN), "perturbation.de", rows, QUICK)
    assert (found.answered, found.overall, found.by_line) == (0, None, {})


def test_data_of_one_class_have_no_auroc_and_no_youden() -> None:
    rows = table([(f"P{i}", "X", "k562", 0) for i in range(5)])
    found = evaluation.section(Told(lambda *_: 0.2), "perturbation.de", rows, QUICK)
    assert found.overall is not None
    assert "per_gene_auroc" not in found.overall.figures
    assert found.overall.figures["tnr"] == 1.0
    assert found.overall.per_gene_auroc_se is None
    assert found.overall.roc.overall is None
    assert found.overall.risk_coverage.points[0].per_gene_auroc is None
    assert found.strata[0].prob.youden is None


def test_a_single_perturbation_cannot_be_shuffled_into_another() -> None:
    rows = table([("A", f"R{i}", "k562", i % 2) for i in range(10)])
    model = Told(lambda _, b, __: int(b[1:]) % 2)
    found = evaluation.section(model, "perturbation.de", rows, QUICK)
    assert found.overall is not None
    assert found.overall.shuffled.gap["auroc"] == 0.0


def test_uncertainty_makes_strata_of_perturbations() -> None:
    rows, truth = planted(perturbations=30)
    model = Told(lambda *key: truth[key], uncertainty=lambda a, *_: int(a[1:]) / 100)
    found = evaluation.section(model, "perturbation.de", rows, QUICK)
    strata = [one for one in found.strata if one.by == "uncertainty of the perturbation"]
    assert [one.value for one in strata] == ["low", "middle", "high"]
    assert [one.n for one in strata] == [200, 200, 200]
    assert strata[1].bounds == (0.10, 0.19)


def test_the_standard_error_is_that_of_many_screens() -> None:
    """The bootstrap over perturbations against the spread over screens of the same kind."""
    areas, errors = [], []
    for seed in range(40):
        rows, truth = planted(perturbations=60, readouts=15, seed=seed)
        model = Told(lambda *key, truth=truth: truth[key])
        found = evaluation.section(
            model, "perturbation.de", rows, Settings(permutations=1, resamples=60)
        )
        assert found.overall is not None
        areas.append(found.overall.figures["per_gene_auroc"])
        errors.append(found.overall.per_gene_auroc_se or NAN)
    assert np.mean(errors) == pytest.approx(np.std(areas, ddof=1), rel=0.4)


def test_the_model_is_asked_once_and_once_for_each_permutation() -> None:
    rows, truth = planted(perturbations=10)
    model, told = Told(lambda *key: truth[key]), []
    evaluation.section(model, "perturbation.de", rows, QUICK, told.append)
    assert model.asked == sum(told) == 4 * len(rows)


def test_another_relation_is_refused() -> None:
    rows, _ = planted(perturbations=3)
    model = Told(lambda *_: 0.5, relations=("perturbation.de",))
    with pytest.raises(ModelFault, match=r"not 'perturbation\.dir'"):
        evaluation.section(model, "perturbation.dir", rows, QUICK)


def test_a_section_survives_storage() -> None:
    import msgspec

    rows, truth = planted(lines=("k562", "rpe1"))
    model = Told(lambda *key: truth[key], p0=lambda *_: 0.3, raw=lambda *key: truth[key])
    found = evaluation.section(model, "perturbation.de", rows, QUICK)
    assert set(found.reliable) == {"", "k562", "rpe1"}
    assert msgspec.json.decode(msgspec.json.encode(found), type=record.Section) == found
