"""World models that answer what a test tells them to, and tables of labels to hold them against."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from worldmodels.cards import evaluation, record
from worldmodels.cards.evaluation import Settings
from worldmodels.cards.record import Card, Cost, DataFile, Overlap
from worldmodels.core import ModelSpec, Queries, Status, Verdicts
from worldmodels.perturbation.tables import EffectTable

Say = Callable[[str, str, str], float]


class Told:
    """Answers by functions of (perturbation, readout, context); NaN is UNKNOWN_GENE."""

    def __init__(
        self,
        p: Say,
        *,
        p0: Say | None = None,
        raw: Say | None = None,
        uncertainty: Say | None = None,
        name: str = "told",
        relations: tuple[str, ...] = ("perturbation.de", "perturbation.dir"),
    ) -> None:
        self._says = {"p": p, "p0": p0, "raw": raw, "uncertainty": uncertainty}
        self.asked = 0
        self.spec = ModelSpec(
            name=name,
            family="told",
            version="1",
            digest="sha256:told",
            relations=relations,
            contexts=("k562", "rpe1"),
        )

    def predict(self, queries: Queries) -> Verdicts:
        self.spec.check_relation(queries.relation)
        self.asked += len(queries)
        rows = list(zip(queries.subjects, queries.objects, queries.contexts, strict=True))
        columns = {
            name: None if say is None else np.array([say(*row) for row in rows], np.float64)
            for name, say in self._says.items()
        }
        p = columns.pop("p")
        assert p is not None
        status = np.where(np.isnan(p), Status.UNKNOWN_GENE, Status.OK).astype(np.uint8)
        return Verdicts(p, status, **columns)

    def examples(self, n: int) -> Queries:
        return Queries("perturbation.de", ["A"] * n, ["X"] * n, ["k562"] * n)


def table(
    rows: Sequence[tuple[str, str, str, int]], splits: tuple[str, ...] = ("test",)
) -> EffectTable:
    """(perturbation, readout, context, label) in rows."""
    a, b, line, label = zip(*rows, strict=True)
    return EffectTable(
        list(a), list(b), list(line), np.array(label, np.uint8), None, None, "generated", splits
    )


def planted(
    perturbations: int = 60,
    readouts: int = 20,
    lines: Sequence[str] = ("k562",),
    seed: int = 0,
) -> tuple[EffectTable, dict[tuple[str, str, str], float]]:
    """A screen with known probabilities: base rates differ, perturbations matter."""
    rng = np.random.default_rng(seed)
    rows, truth = [], {}
    for line in lines:
        base = rng.normal(-1.0, 1.2, readouts)
        logits = base + rng.normal(0, 1.5, (perturbations, readouts))
        p = 1 / (1 + np.exp(-logits))
        hit = rng.random(p.shape) < p
        for i in range(perturbations):
            for j in range(readouts):
                key = (f"P{i}", f"R{j}", line)
                rows.append((*key, int(hit[i, j])))
                truth[key] = float(p[i, j])
    return table(rows), truth


def make_card(name: str = "told", lines: tuple[str, ...] = ("k562", "rpe1")) -> Card:
    """A card of two relations in two lines."""
    rows, truth = planted(perturbations=25, readouts=8, lines=lines)
    model = Told(
        lambda *key: truth[key],
        p0=lambda *_: 0.3,
        raw=lambda *key: truth[key] ** 0.5,
        name=name,
    )
    how = Settings(permutations=2, resamples=10)
    return Card(
        schema=record.SCHEMA,
        date="2026-01-02",
        model=record.model_ref(model.spec),
        data=[DataFile(name="k562-de.csv", sha256="ab" * 32, relation="perturbation.de")],
        evidence=True,
        overlap=Overlap(checked=True),
        seed=0,
        resamples=10,
        cost=Cost(single_us=12.0, batch_us=0.5, batch=256),
        sections=[
            evaluation.section(model, relation, rows, how)
            for relation in ("perturbation.de", "perturbation.dir")
        ],
    )
