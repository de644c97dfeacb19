"""A number against the true one: exactly, within a window, or the nearer the better.

With d the distance between answer and truth, by ``match``:

    exact      d = 0, as decimals: "0.10" is 0.1, and 9007199254740993 is not 9007199254740992
    absolute   d = |a − t|, in the task's unit
    relative   d = |a − t| / |t|; where t = 0 only 0 is near
    log        d = |log₁₀(a / t)|, in decades; both above 0

the score is 1 for d ≤ tolerance, edges included, and beyond it 0, or with ``decay`` > 0 linearly
less: 1 − (d − tolerance) / decay, 0 from there on. ``step`` rounds that down to its multiples, so
that two scores that differ differ by a step (``lexi_sum`` asks for it).

What an item says outranks the profile: a row's rule (``task.rule``, of NVIDIA's litmus rows), then
a tolerance of the truth's own, each a window without decay; ``task.tolerance`` alone replaces the
profile's. Rules: ``exact``; ``abs_window`` and ``rel_window`` within the tolerance; ``isclose`` as
``rel_window``, 1e-9 without a tolerance (``math.isclose``), of the truth's size and never of the
answer's; ``bool_eq`` true or false; ``string_eq`` the same line of text, letter case included.

Truth: a number, a text that holds one ("12 nM", read as answers are), or {"value": …, "absolute":
…} or {"value": …, "relative": …}. Answers are read by ``quantities``.
"""

from __future__ import annotations

import math
from decimal import Context, Decimal
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec

from service.rewards.core import Answer, Component, Item, Reason, Verdict
from service.rewards.errors import ProfileFault
from service.rewards.forms import Form
from service.rewards.grades import Step, check_step, stepped
from service.rewards.library import Library
from service.rewards.quantities import BOOLEANS, VERBATIM, Quantity, exact
from service.rewards.tasks import Number
from service.rewards.truth import hard_label
from service.rewards.verifiers.judge import Fault, Judge

Match = Literal["exact", "absolute", "relative", "log"]
_CONTEXT: Final = Context(prec=120, Emax=5000, Emin=-5000)
_MATCH_OF_RULE: Final[dict[str, Match]] = {
    "exact": "exact",
    "isclose": "relative",
    "abs_window": "absolute",
    "rel_window": "relative",
}
_ISCLOSE: Final = 1e-9
_ULPS: Final = 1e-9
"""Of logarithms, which are not exact decimals."""


class NumberOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of a ``number`` component."""

    match: Match = "exact"
    """How the distance to the truth is measured."""
    tolerance: Annotated[float, msgspec.Meta(ge=0.0, le=1e300)] = 0.0
    """The distance up to which an answer is right."""
    decay: Annotated[float, msgspec.Meta(ge=0.0, le=1e300)] = 0.0
    """The distance beyond the tolerance at which nothing is earned; 0: nothing beyond it."""
    step: Step = 0.0
    """Graded scores are rounded down to its multiples; 0: not at all."""


class Window(NamedTuple):
    """A tolerance and what it is measured in."""

    match: Match
    tolerance: float


class Target(NamedTuple):
    """What an item's answer is held against."""

    value: Decimal
    match: Match
    tolerance: float
    decay: float


class NumberJudge(Judge):
    """1 for the right number, less by distance where the profile grades."""

    Options = NumberOptions
    tasks = ("number",)
    truth = "hard"

    def __init__(self, name: str, weight: float, options: NumberOptions, library: Library):
        super().__init__(name, weight, options, library)
        self.options = options
        if options.match == "exact" and (options.tolerance or options.decay):
            key = "tolerance" if options.tolerance else "decay"
            raise ProfileFault(f'{key}: match = "exact" has none; use absolute, relative or log')
        if options.step and not options.decay:
            raise ProfileFault("step: without decay scores are 0 or 1 and need no steps")
        check_step(options.step)
        self.gap = options.step if options.decay else 1.0
        self.states = "label"

    def fault(self, item: Item, form: Form) -> Fault | None:
        """BAD_TRUTH for what is no such number, BAD_ITEM for a window without a tolerance."""
        task = item.task
        if item.truth is None or not isinstance(task, Number):
            return None
        if task.rule in ("bool_eq", "string_eq"):
            return None if _expected(task, item.truth) is not None else _bad("", item.truth)
        found = target(task, item.truth, self.options)
        return found if not isinstance(found, Target) else None

    def score(self, item: Item, answer: Answer, verdicts: tuple[Verdict, ...]) -> Component:
        """What the answer's distance to the truth earns."""
        truth, task = item.truth, item.task
        assert isinstance(task, Number)  # Profile.fault let nothing else through
        if truth is None:
            return self.missing(Reason.NO_TRUTH)
        if task.rule in ("bool_eq", "string_eq"):
            right = answer.label == _expected(task, truth)
            return Component(self.name, float(right), self.weight)
        wanted = target(task, truth, self.options)
        assert isinstance(wanted, Target)  # fault let nothing else through
        earned = grade(Decimal(answer.label or "NaN"), wanted)
        return Component(self.name, stepped(earned, self.options.step), self.weight)


def target(task: Number, truth: object, options: NumberOptions) -> Target | Fault:
    """What the answer is held against, or what is wrong with it."""
    given: object = truth
    own: Window | None = None
    if isinstance(truth, dict):
        given = truth.get("value")
        found = _own_tolerance(truth)
        if isinstance(found, str):
            return Reason.BAD_TRUTH, found
        own = found
    value = _number(given, task.unit)
    if value is None:
        return _bad("" if given is truth else ".value", given)
    if task.rule is not None:
        window = _by_rule(task, own)
        return Target(value, *window, 0.0) if isinstance(window, Window) else window
    if own is not None:
        return Target(value, *own, 0.0)
    tolerance = options.tolerance if task.tolerance is None else task.tolerance
    if options.match == "exact" and tolerance:
        message = "task.tolerance: this profile matches exactly; give task.rule beside it"
        return Reason.BAD_ITEM, message
    if options.match == "log" and value <= 0:
        return Reason.BAD_TRUTH, f"truth: {given!r} is not above 0 and has no logarithm"
    return Target(value, options.match, tolerance, options.decay)


def grade(answer: Decimal, wanted: Target) -> float:
    """The score of an answer in the task's unit, in [0,1]; falls with its distance."""
    value, match, tolerance, decay = wanted
    if answer == value:
        return 1.0
    if match == "exact":
        return 0.0
    if match == "log":
        if answer <= 0:
            return 0.0
        distance = abs(math.log10(float(answer)) - math.log10(float(value)))
        beyond = distance - tolerance - _ULPS
    else:
        apart = abs(_CONTEXT.subtract(answer, value))
        unit = abs(value) if match == "relative" else Decimal(1)
        left = _CONTEXT.subtract(apart, _CONTEXT.multiply(Decimal(repr(tolerance)), unit))
        if left > 0 and not unit:
            return 0.0
        beyond = float(_CONTEXT.divide(left, unit)) if unit else 0.0
    if beyond <= 0:
        return 1.0
    return max(0.0, 1.0 - beyond / decay) if decay else 0.0


def _number(given: object, unit: str) -> Decimal | None:
    if isinstance(given, bool):
        return None
    if isinstance(given, int | float):
        return exact(given)
    return Quantity(unit).read(given[:1000]) if isinstance(given, str) else None


def _own_tolerance(truth: dict[str, Any]) -> Window | str | None:
    """The tolerance beside a truth's value, None where there is none, or what is wrong."""
    kinds: tuple[Match, ...] = ("absolute", "relative")
    if "value" not in truth or not truth.keys() <= {"value", *kinds} or len(truth) > 2:
        return f"truth: expected `value` and `absolute` or `relative`, got {sorted(truth)}"
    for kind in kinds:
        if kind in truth:
            tolerance = truth[kind]
            if isinstance(tolerance, bool) or not isinstance(tolerance, int | float):
                return f"truth.{kind}: expected a number, got {tolerance!r}"
            if not 0.0 <= tolerance <= 1e300:
                return f"truth.{kind}: {tolerance!r} is no tolerance; expected 0 or more"
            return Window(kind, float(tolerance))
    return None


def _by_rule(task: Number, own: Window | None) -> Window | Fault:
    match = _MATCH_OF_RULE[task.rule or ""]
    if own is not None and own.match != match:
        message = f"truth.{own.match}: task.rule is {task.rule!r}, which measures otherwise"
        return Reason.BAD_TRUTH, message
    if match == "exact":
        return Window(match, 0.0)
    if task.tolerance is not None:
        return Window(match, task.tolerance)
    if own is not None:
        return own
    if task.rule == "isclose":
        return Window(match, _ISCLOSE)
    return Reason.BAD_ITEM, f"task.tolerance: missing; task.rule {task.rule!r} needs one"


def _expected(task: Number, truth: object) -> str | None:
    """The right answer of ``bool_eq`` and ``string_eq`` as a label; None where truth is none."""
    if task.rule == "bool_eq":
        return hard_label(truth, BOOLEANS)
    return VERBATIM.claim(truth).label if isinstance(truth, str) else None


def _bad(where: str, given: object) -> Fault:
    shown = repr(given)[:80]
    return Reason.BAD_TRUTH, f"truth{where}: expected what task.rule compares, got {shown}"
