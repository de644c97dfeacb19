"""Names in order against the true ones, place by place (Cell-o1, arXiv 2506.02911).

Score: (1 − exact)·(share of places that are right) + exact·[every place is right]; with
``exact = 0.5`` Cell-o1's (partial + exact)/2. A list of another length than the truth's is
MALFORMED, as is one that repeats a name where the task says that names are unique: the item is
invalid and earns the profile's floor (−1 in Cell-o1). Naming every class in every order, shifting
the list or padding it hence earns nothing.

Truth: a list of names; as many as the task's ``length`` where it has one. Names compare without
letter case and surrounding blanks. Open names (no ``classes``) that an ontology of the profile
makes canonical must be canonical in the truth.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated

import msgspec

from service.rewards.core import Answer, Component, Item, Reason, Verdict
from service.rewards.forms import Form, normal
from service.rewards.library import Library
from service.rewards.names import Names
from service.rewards.tasks import LabelList
from service.rewards.verifiers.judge import Fault, Judge


class LabelListOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of a ``label_list`` component."""

    exact: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.5
    """Share of the score that only a list without an error earns."""
    max_length: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None
    """The longest truth; longer ones are BAD_TRUTH. It bounds the worth of one place from below,
    which ``lexi_sum`` must know."""


class LabelListJudge(Judge):
    """Share of places that are right, and a share for all of them."""

    Options = LabelListOptions
    tasks = ("label_list",)
    truth = "hard"

    def __init__(self, name: str, weight: float, options: LabelListOptions, library: Library):
        super().__init__(name, weight, options, library)
        self.options = options
        self.states = "label"
        if options.exact == 1.0:
            self.gap = 1.0
        elif options.max_length is not None:
            self.gap = (1.0 - options.exact) / options.max_length

    def fault(self, item: Item, form: Form) -> Fault | None:
        """BAD_TRUTH for a truth that is no list of names of the task."""
        task, truth = item.task, item.truth
        if truth is None or not isinstance(task, LabelList):
            return None
        message = None
        if not isinstance(truth, list) or not truth:
            message = f"truth: expected a list of names, got {truth!r:.80}"
        elif task.length is not None and len(truth) != task.length:
            message = f"truth: {len(truth)} names, but task.length is {task.length}"
        elif self.options.max_length is not None and len(truth) > self.options.max_length:
            message = f"truth: {len(truth)} names; this profile takes {self.options.max_length}"
        elif isinstance(form, Names):
            message = next(filter(None, map(_name_fault, truth, [form] * len(truth))), None)
        if message is None and task.unique and isinstance(truth, list):
            names = [_plain(name) for name in truth]
            if len(set(names)) < len(names):
                message = "truth: a name stands twice, but task.unique says that none does"
        return None if message is None else (Reason.BAD_TRUTH, message)

    def score(self, item: Item, answer: Answer, verdicts: tuple[Verdict, ...]) -> Component:
        """What the places that are right earn."""
        task, truth, names = item.task, item.truth, answer.value
        if truth is None:
            return self.missing(Reason.NO_TRUTH)
        assert isinstance(truth, list)  # fault and the form let nothing else through
        assert isinstance(names, tuple)
        assert isinstance(task, LabelList)
        said = [_plain(name) for name in names]
        if len(said) != len(truth) or (task.unique and len(set(said)) < len(said)):
            return self.missing(Reason.MALFORMED)
        right = sum([one == _plain(other) for one, other in zip(said, truth, strict=True)])
        share = right / len(truth)
        exact = self.options.exact
        earned = share if exact == 0.0 else (1.0 - exact) * share + exact * (right == len(truth))
        return Component(self.name, earned, self.weight)


def _plain(name: str) -> str:
    return normal(name if name.isascii() else unicodedata.normalize("NFC", name))


def _name_fault(name: object, form: Names) -> str | None:
    if not isinstance(name, str):
        return f"truth: expected names, got {name!r:.80}"
    known = form.name(unicodedata.normalize("NFC", name))
    if isinstance(known, Reason):
        return f"truth: {name!r:.80} is none of the task's names ({known})"
    if not form.forms and _plain(known) != _plain(name):
        return f"truth: {name!r:.80} is called {known!r} in this profile's ontology; write that"
    return None
