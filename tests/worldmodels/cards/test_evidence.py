"""Data that a model was trained on are no evidence; what cannot be checked is called so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiny_models import measured_table, pair_mlp
from told import table
from worldmodels import training_rows
from worldmodels.cards import evidence
from worldmodels.cards.record import Overlap
from worldmodels.core import ModelFault
from worldmodels.genes import GeneResolver, Vocabulary
from worldmodels.training_rows import TrainedRows

TRAINED = [("A", "X", "k562"), ("A", "Y", "k562"), ("B", "X", "k562"), ("C", "X", "rpe1")]


def trained(genes: GeneResolver | None = None) -> TrainedRows:
    a, b, line = (list(column) for column in zip(*TRAINED, strict=True))
    names, contexts, rows = training_rows.encode({"perturbation.de": (line, a, b)})
    keys = training_rows.contents(names, contexts, rows)[0][training_rows.KEYS]
    vocabulary = Vocabulary(names, range(len(names)), genes or GeneResolver.as_they_are())
    return TrainedRows(
        {"perturbation.de": keys["keys_de"]}, tuple(names), tuple(contexts), vocabulary
    )


@pytest.mark.parametrize(
    ("rows", "seen", "leaked", "judged"),
    [
        pytest.param([("D", "X", "k562", 1)], 0, 0, True, id="new perturbation"),
        pytest.param([("C", "X", "k562", 1)], 0, 0, True, id="known in another line only"),
        pytest.param([("A", "Z", "k562", 1)], 0, 1, False, id="another readout of a known one"),
        pytest.param([("B", "Y", "k562", 1)], 0, 1, False, id="another pair of known genes"),
        pytest.param([("A", "X", "k562", 1)], 1, 1, False, id="the row itself"),
        pytest.param([("A", "X", "K-562", 1)], 1, 1, False, id="line as others write it"),
        pytest.param([("A", "X", "", 1)], 1, 1, False, id="a row of any line"),
        pytest.param([("X", "A", "k562", 1)], 0, 0, True, id="the other way round"),
    ],
)
def test_overlap(
    rows: list[tuple[str, str, str, int]], seen: int, leaked: int, judged: bool
) -> None:
    found = evidence.overlap(trained(), [table(rows)])
    assert found.checked
    assert found.rows == seen
    assert evidence.judge(found) is judged
    assert found.perturbations == leaked


def test_overlap_is_refused_with_its_count_and_three_rows() -> None:
    rows = [(a, b, line, 1) for a, b, line in TRAINED] + [("D", "X", "k562", 0)]
    found = evidence.overlap(trained(), [table(rows)])
    assert (found.rows, found.perturbations) == (4, 3)
    assert found.shown == ["A → X in k562", "A → Y in k562", "B → X in k562"]
    with pytest.raises(ModelFault, match=r"^4 rows of the data were trained on \(A → X in k562,"):
        evidence.refuse(found)


@pytest.mark.parametrize(
    ("rows", "lines"),
    [
        pytest.param([("A", "X", "K562 cells", 1)], ["K562 cells"], id="a line by another name"),
        pytest.param([("C", "X", "jurkat", 1), ("D", "X", "hela", 1)], ["jurkat"], id="a new line"),
        pytest.param([("C", "X", "k562", 1)], [], id="a line that was trained on"),
        pytest.param([("D", "X", "jurkat", 1)], [], id="a new perturbation in a new line"),
        pytest.param([("X", "A", "jurkat", 1)], [], id="known as a readout only"),
    ],
)
def test_lines_that_are_new_by_name_are_named(
    rows: list[tuple[str, str, str, int]], lines: list[str]
) -> None:
    found = evidence.overlap(trained(), [table(rows)])
    assert found.new_lines == lines
    assert evidence.judge(found) is True
    assert ("by another name" in evidence.describe(found)) is bool(lines)


def test_directions_of_pairs_whose_change_was_trained_on_overlap() -> None:
    """The rows of both relations are held against all that was trained on."""
    de, direction = table([("D", "X", "k562", 1)]), table([("A", "X", "k562", 0)])
    assert evidence.overlap(trained(), [de, direction]).rows == 1


def test_a_card_of_unanswered_rows_shows_nothing() -> None:
    assert evidence.judge(Overlap(checked=True), [0, 0]) == "unverified"
    assert evidence.judge(Overlap(checked=True), [0, 1]) is True
    assert evidence.judge(Overlap(checked=True, rows=1), [0, 1]) is False


def test_a_model_that_keeps_no_rows_is_unverified_and_not_refused() -> None:
    found = evidence.overlap(None, [table([("A", "X", "k562", 1)])])
    assert evidence.judge(found) == "unverified"
    evidence.refuse(found)
    assert "cannot be ruled out" in evidence.describe(found)


def test_trained_families_keep_their_rows(tmp_path: Path) -> None:
    for made in (pair_mlp(tmp_path), measured_table(tmp_path)):
        kept = training_rows.read(made)
        assert kept is not None
        seen = evidence.overlap(kept, [table([("G1", "G2", "k562", 1), ("G1", "G3", "hepg2", 1)])])
        assert seen.rows == 2, made.manifest.family
        assert not evidence.overlap(kept, [table([("NEW", "G2", "k562", 1)])]).rows
