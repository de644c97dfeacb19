"""A card in a folder: its Markdown and figures, the same bytes for the same card."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import msgspec
import pytest

from told import Told, make_card, planted, table
from worldmodels.cards import evaluation, figures, folder, markdown, published, record
from worldmodels.cards.evaluation import Settings
from worldmodels.cards.record import Card, Overlap
from worldmodels.core import ModelFault

FILES = ["card-roc.svg", "card-reliability.svg", "card-risk-coverage.svg", "card-lines.svg"]


def test_all_files_are_written_and_say_the_same_twice(card: Card, tmp_path: Path) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    for name in ("a", "b"):
        folder.write(tmp_path / name, card)
    assert dict(matplotlib.rcParams) == before, "nothing global is touched"
    written = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert written == sorted([*FILES, "card.json", "card.md"])
    for name in written:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    for name in FILES:
        root = ElementTree.fromstring((tmp_path / "a" / name).read_text())
        assert root.tag.endswith("svg")
    assert record.read(tmp_path / "a" / "card.json") == card


def test_png_on_request(card: Card) -> None:
    drawn = figures.draw(msgspec.structs.replace(card, sections=card.sections[:1]), "png")
    assert list(drawn) == [name.replace("svg", "png") for name in FILES]
    assert all(content.startswith(b"\x89PNG") for content in drawn.values())


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("细胞 μ-модель 🧬", id="scripts"),
        pytest.param("$\\frac{1}$ <b>|x|", id="markup"),
    ],
)
def test_names_of_any_script(name: str, tmp_path: Path) -> None:
    card = make_card(name, lines=("k562",))
    folder.write(tmp_path, card)
    assert record.read(tmp_path / "card.json").model.name == name
    text = (tmp_path / "card.md").read_text("utf-8")
    assert "<b>" not in text
    assert all(line.count("|") - line.count("\\|") in (0, 3) for line in _about(text))


def _about(text: str) -> list[str]:
    """The first table of the Markdown: two columns."""
    return [line for line in text.split("\n\n")[2].splitlines() if line.startswith("|")]


def test_figures_of_a_card_without_any_answer(tmp_path: Path) -> None:
    card = make_card(lines=("k562",))
    rows, _ = planted(perturbations=4)
    nothing = evaluation.section(
        Told(lambda *_: float("nan")), "perturbation.de", rows, Settings(permutations=1)
    )
    empty = msgspec.structs.replace(card, sections=[nothing])
    folder.write(tmp_path, empty)
    assert "answered none of these rows" in (tmp_path / "card.md").read_text()


def test_one_class_only_is_drawn_too(tmp_path: Path) -> None:
    rows = table([(f"P{i}", "X", "k562", 0) for i in range(5)])
    one = evaluation.section(
        Told(lambda *_: 0.2), "perturbation.de", rows, Settings(permutations=1)
    )
    folder.write(tmp_path, msgspec.structs.replace(make_card(lines=("k562",)), sections=[one]))
    text = (tmp_path / "card.md").read_text()
    assert "**this model** | **–** ± – |" in text


def test_the_markdown_shows_every_figure(card: Card) -> None:
    text = markdown.write(card, FILES)
    assert text.startswith("# Card of told\n\nEvidence: no row and no perturbation")
    for title in dict(markdown.SHOWN).values():
        assert f"| {title} |" in text, title
    for heading in ("shuffled", "Risk and coverage", "errs", "Beside others"):
        assert heading in text
    assert "![card-roc.svg](card-roc.svg)" in text
    assert re.search(r"SUMMER \| 0\.62 \| 0\.59 \| – \| published", text)
    assert published.CAVEAT in text
    assert not re.search(r"\bnan\b", text, re.IGNORECASE)


def test_a_card_that_is_no_evidence_says_so_first(card: Card) -> None:
    seen = Overlap(
        checked=True,
        rows=12,
        shown=["A → X in k562", "B → Y in k562", "C → Z in k562"],
        perturbations=3,
        perturbations_shown=["A in k562"],
    )
    text = markdown.write(msgspec.structs.replace(card, evidence=False, overlap=seen))
    first = text.split("\n\n")[1]
    assert first.startswith("**NOT EVIDENCE: 12 rows of the data were trained on (A → X in k562,")
    unchecked = msgspec.structs.replace(card, evidence="unverified", overlap=Overlap(checked=False))
    assert "Evidence unverified" in markdown.write(unchecked).split("\n\n")[1]


@pytest.mark.parametrize(
    ("relation", "lines", "names"),
    [
        pytest.param(
            "perturbation.de",
            ["k562"],
            ["SUMMER", "retrieval without an LLM", "GEARS", "rbio-style MLP"],
            id="de",
        ),
        pytest.param(
            "perturbation.dir", ["hepg2"], ["SUMMER", "retrieval without an LLM", "GEARS"], id="dir"
        ),
        pytest.param("perturbation.de", ["hela"], None, id="another line"),
        pytest.param("gene.coexpression", ["k562"], None, id="another relation"),
    ],
)
def test_published_figures_cover_their_lines_only(
    relation: str, lines: list[str], names: list[str] | None
) -> None:
    found = [row.name for row in published.covering(relation, lines)]
    assert found == ([*names, "readout-frequency table"] if names else [])


def test_published_figures_are_those_of_the_paper(data_folder: Path) -> None:
    import csv

    path = data_folder / "perturbqa" / "published_table1_AUROC.csv"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    paper = {(row["task"], row["model"].lower()): row for row in csv.DictReader(lines)}
    known = {
        "summer": "summer",
        "retrieval without an llm": "retrieval (no llm)",
        "gears": "gears",
    }
    compared = 0
    for row in published.rows():
        if row.source == "published":
            task = row.relation.rsplit(".", 1)[1].upper()
            of_paper = paper[task, known[row.name.lower()]]
            assert row.figures == {line: float(of_paper[line]) for line in row.figures}
            compared += 1
    assert compared == 6


def test_another_card_is_not_overwritten_unasked(card: Card, tmp_path: Path) -> None:
    same = {one.sha256 for one in card.data}
    folder.refuse(tmp_path, "sha256:told", same, force=False)
    (tmp_path / "card.json").write_bytes(record.encode(card))
    folder.refuse(tmp_path, "sha256:told", same, force=False)
    with pytest.raises(ModelFault, match="a card of other data is there; give --force"):
        folder.refuse(tmp_path, "sha256:told", {"cd"}, force=False)
    with pytest.raises(ModelFault, match="a card of another model"):
        folder.refuse(tmp_path, "sha256:new", same, force=False)
    folder.refuse(tmp_path, "sha256:new", {"cd"}, force=True)
    (tmp_path / "card.json").write_text("{")
    with pytest.raises(ModelFault, match=r"damaged card.*give --force"):
        folder.refuse(tmp_path, "sha256:told", same, force=False)


def test_a_folder_that_cannot_be_written(card: Card, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelFault, match="cannot write the card"):
        folder.write(tmp_path / "file" / "card", card)
