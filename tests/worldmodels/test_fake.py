from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from screens import gene_table
from worldmodels import registry
from worldmodels.core import ModelFault, Queries, Status, WorldModel
from worldmodels.genes import GeneResolver
from worldmodels.registry import Source


def _fake(**options: str) -> WorldModel:
    return registry.load(Source(family="fake", name="f", options=options), GeneResolver())


def _ask(model: WorldModel, *pairs: tuple[str, str], context: str = "k562") -> Queries:
    subjects, objects = zip(*pairs, strict=True)
    return Queries("perturbation.de", subjects, objects, [context] * len(pairs))


def test_every_part_of_the_question_counts() -> None:
    model = _fake()
    asked = [
        ("perturbation.de", "A", "B", "k562"),
        ("perturbation.dir", "A", "B", "k562"),
        ("perturbation.de", "B", "A", "k562"),
        ("perturbation.de", "A", "B", "rpe1"),
        ("perturbation.de", "A", "C", "k562"),
    ]
    figures = {model.predict(Queries(r, [a], [b], [c])).p[0] for r, a, b, c in asked}
    assert len(figures) == 5


def test_the_figures_are_the_same_everywhere_and_always() -> None:
    found = _fake().predict(_ask(_fake(), ("AARS1", "CALR")))
    assert found.p.tolist() == [0.749443]


def test_p0_is_blind_to_the_subject_and_spellings_of_the_context_are_one() -> None:
    model = _fake()
    found = model.predict(_ask(model, ("A", "X"), ("B", "X"), ("A", "Y")))
    assert found.p0 is not None
    assert found.p0[0] == found.p0[1] != found.p0[2]
    assert found.p[0] == model.predict(_ask(model, ("A", "X"), context="K-562")).p[0]
    assert found.uncertainty is not None
    assert (found.uncertainty <= 0.5).all()


def test_aliases_are_one_gene(tmp_path: Path) -> None:
    genes = GeneResolver.from_files([gene_table(tmp_path)])
    model = registry.load(Source(family="fake", name="f"), genes)
    found = model.predict(_ask(model, ("AARS", "CALR"), ("AARS1", "calr"), ("TWIN", "CALR")))
    assert found.p[0] == found.p[1]
    assert found.status.tolist() == [Status.OK, Status.OK, Status.AMBIGUOUS_GENE]
    assert set(model.examples(4).subjects) <= {"AARS1", "CALR", "MARCHF1", "MARCHF3"}


def test_it_misbehaves_as_asked() -> None:
    with pytest.raises(RuntimeError, match="poison 'BAD'"):
        _fake(poison="BAD").predict(_ask(_fake(), ("A", "B"), ("BAD", "B")))
    odd = _fake(nan="BAD").predict(_ask(_fake(), ("A", "B"), ("A", "BAD")))
    assert np.isnan(odd.p).tolist() == [False, True]
    assert odd.status.tolist() == [Status.OK, Status.OK]
    assert len(_fake(short="BAD").predict(_ask(_fake(), ("A", "B"), ("A", "BAD")))) == 1
    away = _fake(unknown="NO").predict(_ask(_fake(), ("A", "B"), ("NO1", "B")))
    assert away.status.tolist() == [Status.OK, Status.UNKNOWN_GENE]
    start = time.perf_counter()
    _fake(delay_ms="30").predict(_ask(_fake(), ("A", "B")))
    assert time.perf_counter() - start >= 0.03


def test_what_it_declares() -> None:
    spec = _fake(relations="gene.interaction", contexts="Hep G2, k562", local="false").spec
    assert spec.relations == ("gene.interaction",)
    assert spec.contexts == ("hepg2", "k562")
    assert not spec.local
    assert _fake().spec.digest != _fake(nan="X").spec.digest


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param({"poisson": "X"}, "no option 'poisson'; did you mean 'poison'", id="option"),
        pytest.param({"relations": "gene.colour"}, "unknown relation", id="relation"),
        pytest.param({"delay_ms": "soon"}, "delay_ms is 'soon'", id="delay"),
        pytest.param({"delay_ms": "-1"}, "expected milliseconds", id="negative"),
        pytest.param({"delay_ms": "nan"}, "expected milliseconds", id="nan"),
    ],
)
def test_bad_options(options: dict[str, str], says: str) -> None:
    with pytest.raises(ModelFault, match=says):
        _fake(**options)


def test_it_has_no_more_room_than_asked() -> None:
    model = _fake(most_rows="2")
    with pytest.raises(MemoryError, match="room for 2 rows"):
        model.predict(_ask(model, ("A", "B"), ("B", "C"), ("C", "D")))
    assert len(model.predict(_ask(model, ("A", "B"), ("B", "C")))) == 2
    with pytest.raises(ModelFault, match="most_rows is '0'"):
        _fake(most_rows="0")


def test_it_kills_its_process_as_asked() -> None:
    code = (
        "from worldmodels import registry\n"
        "from worldmodels.core import Queries\n"
        "from worldmodels.genes import GeneResolver\n"
        "source = registry.Source(family='fake', name='fake', options={'kill': 'KILL'})\n"
        "model = registry.load(source, GeneResolver.as_they_are())\n"
        "for name in ('A', 'KILL'):\n"
        "    model.predict(Queries('perturbation.de', [name], ['B'], ['']))\n"
        "    print(name, flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "A\n")


def test_it_hangs_as_asked() -> None:
    model = _fake(hang="STUCK")
    asked = threading.Thread(target=model.predict, args=[_ask(model, ("STUCK", "B"))], daemon=True)
    asked.start()
    asked.join(0.2)
    assert asked.is_alive()
    assert len(model.predict(_ask(model, ("A", "B")))) == 1
