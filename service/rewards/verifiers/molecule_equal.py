"""Is the answer the molecule that the truth names, in the representation that was asked for?

Score: 1 if it is, under the stated policy for stereo, tautomers and salts
(``service.rewards.molecules.equality``), else 0; with ``score = "similarity"`` another molecule
earns its similarity to the truth, at most 0.99 and rounded down to steps of 0.01, so that two that
differ do by as much (``service.rewards.molecules.similarity``).

Truth: a text, or an object with one key that says how it is written, {"smiles": …}, {"selfies":
…}, {"inchi": …}, {"formula": …}. A text is a formula where a formula is asked for, an InChI where
it begins with ``InChI=``, else a SMILES ("CO" is methanol or carbon monoxide). A formula is a
truth only where a formula is asked for. Answers are compared as what they are asked to be: a
SMILES is no answer to a question for a formula.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from service.rewards.core import Answer, Item, Reason, Work
from service.rewards.forms import Form
from service.rewards.grades import stepped
from service.rewards.library import Library
from service.rewards.molecules.equality import Policy
from service.rewards.tasks import MoleculeEqual
from service.rewards.verifiers.judge import Fault
from service.rewards.verifiers.molecule import MoleculeJudge, text_fault

STEP: Final = 0.01
"""Of similarities."""
_WRITTEN: Final = ("smiles", "selfies", "inchi", "formula")


class MoleculeEqualOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of a ``molecule.equal`` component."""

    stereo: Policy = "strict"
    """Whether stereo centres and double bonds count."""
    tautomers: Policy = "strict"
    """``ignore``: molecules with one standard InChI are one."""
    salts: Policy = "strict"
    """``ignore``: compare without counter-ions of a closed table, and neutral."""
    score: Literal["exact", "similarity"] = "exact"
    """What another molecule earns: 0, or its similarity."""


class MoleculeEqualJudge(MoleculeJudge):
    """1 for the truth's molecule."""

    Options = MoleculeEqualOptions
    tasks = ("molecule.equal",)
    truth = "hard"

    def __init__(self, name: str, weight: float, options: MoleculeEqualOptions, library: Library):
        super().__init__(name, weight, options, library)
        self.options = options
        self.gap = 1.0 if options.score == "exact" else STEP

    def fault(self, item: Item, form: Form) -> Fault | None:
        """BAD_TRUTH for a truth that is no text, or a formula where a structure is asked for."""
        if item.truth is None:
            return None
        found = written_truth(item)
        return (Reason.BAD_TRUTH, found) if isinstance(found, str) else None

    def graded(self, item: Item, answer: Answer, score: float) -> float:
        """The ruling's score, in steps."""
        return stepped(score, STEP)

    def work(self, item: Item, answer: Answer) -> Work | None:
        """Compare with the truth, where there is one."""
        if item.truth is None:
            return None
        assert isinstance(item.task, MoleculeEqual)  # Profile.fault let nothing else through
        found = written_truth(item)
        assert not isinstance(found, str)
        truth, written = found
        policy = self.options
        return Work(
            "service.rewards.molecules.judgements:equal",
            (
                answer.label,
                item.task.representation,
                truth,
                written,
                policy.stereo,
                policy.tautomers,
                policy.salts,
                policy.score == "similarity",
            ),
        )


def written_truth(item: Item) -> tuple[str, str] | str:
    """The truth and how it is written, or what is wrong with it."""
    truth, task = item.truth, item.task
    asked = task.representation if isinstance(task, MoleculeEqual) else "smiles"
    where = "truth"
    if isinstance(truth, dict):
        if len(truth) != 1 or (written := next(iter(truth))) not in _WRITTEN:
            return f"truth: expected one of {', '.join(_WRITTEN)}, got {sorted(truth)!r:.80}"
        where, text = f"truth.{written}", truth[written]
    else:
        text = truth
        inchi = isinstance(text, str) and text.startswith("InChI=")
        written = "inchi" if inchi else "formula" if asked == "formula" else "smiles"
    if found := text_fault(text, where):
        return found
    if written == "formula" and asked != "formula":
        return f"{where}: a formula names no one molecule; the task asks for {asked}"
    return str(text), written
