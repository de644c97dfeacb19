"""What others reached on PerturbQA, to stand beside a model's own figures.

Facts from ``published.toml`` beside this file, per-gene AUROC on PerturbQA's test split. A card's
data may be another split of the same screens: whoever shows both says so (``CAVEAT``).
"""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Final

CAVEAT: Final = (
    "Figures of others are per-gene AUROC on PerturbQA's test split. The data of this card may be "
    "another split of the same screens, so compare with care."
)


@dataclass(frozen=True, slots=True)
class Published:
    """One method's per-gene AUROC by cell line."""

    name: str
    relation: str
    source: str
    figures: dict[str, float]


@functools.cache
def rows() -> tuple[Published, ...]:
    """All of them, the best known first."""
    text = resources.files(__package__).joinpath("published.toml").read_text("utf-8")
    return tuple(
        Published(row["name"], row["relation"], row["source"], dict(row["figures"]))
        for row in tomllib.loads(text)["row"]
    )


def covering(relation: str, lines: list[str]) -> list[Published]:
    """Those with a figure for the relation in at least one of the lines."""
    return [row for row in rows() if row.relation == relation and set(row.figures) & set(lines)]
