"""A request item for each task type, so that every profile can show one that works.

Genes and cell line are those of rbio's example, so that a model built from any common screen
knows them.
"""

from __future__ import annotations

from typing import Any, Final, Literal

_TASKS: Final[dict[str, dict[str, Any]]] = {
    "perturbation.de": {"perturbation": "AARS", "gene": "CALR", "cell_line": "k562"},
    "perturbation.dir": {"perturbation": "AARS", "gene": "CALR", "cell_line": "k562"},
    "gene.coexpression": {"genes": ["CD3D", "CD3E"]},
    "gene.interaction": {"genes": ["CD3D", "CD3E"]},
    "gene.similarity": {"genes": ["CD3D", "CD3E"]},
    "label": {"classes": ["no", "yes"], "question": "Does a knockdown of AARS change CALR?"},
}
_REASONING: Final = (
    "Knockdown of {0} stalls translation and triggers the stress response, and {1} is among the "
    "genes that respond to it."
)
_TOGETHER: Final = "{0} and {1} are parts of one complex, so the same cells express both."


def example_item(
    task_types: tuple[str, ...], truth: Literal["soft", "hard"] | None
) -> dict[str, Any]:
    """One item of the first accepted type, with a truth for profiles that read one."""
    kind = task_types[0] if task_types else "perturbation.de"
    fields = _TASKS[kind]
    genes = fields.get("genes", ["AARS", "CALR"])
    words = (_TOGETHER if "genes" in fields else _REASONING).format(*genes)
    answer = "up" if kind == "perturbation.dir" else "yes"
    item: dict[str, Any] = {
        "id": "example-1",
        "completion": f"<think>{words}</think> <answer>{answer}</answer>",
        "task": {"type": kind, **fields},
        "keywords": genes,
    }
    if truth == "hard":
        item["truth"] = answer
    elif truth == "soft":
        classes = ["down", "up"] if kind == "perturbation.dir" else ["no", "yes"]
        item["truth"] = {"classes": classes, "confidences": [0.137, 0.863]}
    return item
