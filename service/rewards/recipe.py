"""A profile's TOML as data, and what makes it wrong.

    extends = "rbio-mlp"           # optional: start from a shipped profile (or another of yours)
    description = "…"
    version = "1"
    tasks = ["perturbation.de"]    # accepted task types; [] accepts any, and items without a task

    [extract]                      # where the answer stands; each key: service.rewards.rules
    answer = "tag"                 # tag | after-think | boxed | letter | json | last-line | pattern
                                   # | tool
    tag = "answer"                 # of "tag": a name, or a pair: how it opens, how it closes
    think_tag = "think"            # the reasoning's: a name or a pair
    sections = []                  # names of further blocks beside the reasoning
    grammar = "strict"             # strict | released (prose before the answer)
    think = "required"             # required | optional
    prefilled_think = false        # whether the chat template has written <think> already
    states = "label"               # label | probability (of yes)
    knowledge = "go"               # optional: the ontology that makes open names canonical
    until = ";"                    # of "after-think": the answer ends before the first of these
    pattern = '…'                  # of "pattern": RE2, one group
    field = "answer"               # of "json" and "tool": the key that holds the answer
    tool = "answer"                # of "tool": the tool that is called
    max_chars = 32768              # longer completions are TOO_LONG: 16 to 4,194,304
    max_words = 0                  # the same in words; 0: no limit
    gate_contradiction = false     # whether reasoning that concludes another class is invalid

    [compose]
    operator = "mean"              # sum | mean | product | min | lexi_sum | first_ok
                                   # | mean_minus_sd
    floor = 0.0                    # reward of an invalid completion: at most 0, and at most what
                                   # the worst readable answer earns
    range = [0.0, 1.0]             # optional: checked against what the recipe can earn
    neutral = 0.5                  # optional: what stands in for a reward that there is none of,
                                   # within the range; by default see service.rewards.neutral
    scale = [-1.0, 1.0]            # optional: what a score of 0 and of 1 earns (then floor = -1)
    risk = 0.5                     # λ of mean_minus_sd, at most 1/√(primaries − 1)

    [compose.noise]                # optional: known error rates, see service.rewards.noise
    rho0 = 0.1                     # P(rewarded | wrong)
    rho1 = 0.05                    # P(not rewarded | right)
    [compose.noise.strata.k562]    # … of one cell line or context
    rho0 = 0.2
    rho1 = 0.1

    [[component]]
    name = "perturbation.de"       # unique; the key in results
    verifier = "perturbation"      # service.rewards.verifiers.VERIFIERS
    role = "primary"               # primary | auxiliary | report | gate
    weight = 1.0
    on_missing = "null"            # null | drop | floor
    at_least = 0.9                 # gates only
    model = "family:pair-mlp"      # … and the keys of the verifier's own options

    [[example]]                    # a request that works; the first is shown, tests send them all
    completion = "<think>…</think> <answer>yes</answer>"
    task = { type = "perturbation.de", … }
    truth = …                      # and keywords, prompt, where the profile reads them
    reward = 1.0                   # what it earns, where that does not hang on a world model
    dishonest = ["…"]              # completions that must earn less than this one

With ``extends`` the tables merge key by key, components by name, and a component with
``remove = true`` is taken out, and examples of one's own replace those of the base, which are left
out where they do not work any more. The file's stem is the profile's name. Unknown keys are errors.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from service.rewards.compose import OnMissing, Operator, Role
from service.rewards.errors import ProfileFault, nearest
from service.rewards.noise import Noise, Rates
from service.rewards.rules import Extraction, fault_of
from service.rewards.tasks import TASK_TYPES
from service.rewards.verifiers import judge_class
from worldmodels.core import canonical_context

_Table = TypeVar("_Table", bound=msgspec.Struct)
_NO_CHOICE: Final = re.compile(r"Invalid enum value '(.*)'", re.DOTALL)
NAME: Final = re.compile(r"[a-z0-9][a-z0-9._+-]{0,63}")


Bound = Annotated[float, msgspec.Meta(ge=-1e6, le=1e6)]


class ComposeRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table ``[compose]``."""

    operator: Operator = "mean"
    floor: Annotated[float, msgspec.Meta(ge=-1e6, le=0.0)] = 0.0
    range: tuple[float, float] | None = None
    neutral: float | None = None
    risk: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] | None = None
    scale: tuple[Bound, Bound] | None = None
    noise: Noise | None = None
    style_may_outrank: bool = False
    """Of ``sum``: admit that the auxiliaries together can weigh as much as the verdict."""


class ComponentRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of ``[[component]]`` that every verifier shares."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    verifier: str
    role: Role = "primary"
    weight: Annotated[float, msgspec.Meta(ge=0.0, le=1e6)] = 1.0
    on_missing: OnMissing = "null"
    at_least: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] | None = None


class Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One ``[[example]]``: an honest completion, its item, and what it earns."""

    completion: str | list[dict[str, Any]]
    task: dict[str, Any] | None = None
    truth: Any = None
    keywords: list[str] | None = None
    prompt: str | None = None
    weight: float | None = None
    split: str | None = None
    reward: float | None = None
    dishonest: list[str] = []

    def item(self) -> dict[str, Any]:
        """The request's item, as JSON data."""
        names = ("completion", "task", "truth", "keywords", "prompt", "weight", "split")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


class Recipe(msgspec.Struct, frozen=True):
    """A resolved profile: every default filled in."""

    description: str
    version: str
    tasks: tuple[str, ...]
    extract: Extraction
    compose: ComposeRecipe
    components: tuple[ComponentRecipe, ...]
    options: tuple[msgspec.Struct, ...]
    """The verifier's own options, one struct for each component."""
    examples: tuple[Example, ...] = ()


class Fault(Exception):
    """Where in a recipe something is wrong; becomes a ``ProfileFault`` that names file and line."""

    def __init__(self, message: str, table: str = "", index: int | None = None, key: str = ""):
        super().__init__(message)
        self.message, self.table, self.index, self.key = message, table, index, key


_TOP: Final = ("description", "version", "tasks", "extract", "compose", "component", "example")


def resolve(raw: Mapping[str, Any]) -> Recipe:
    """A merged TOML document as a recipe.

    Raises:
        Fault: an unknown key, a wrong type, a value out of range.
    """
    _known(raw, _TOP, "", None)
    tasks = _tasks(raw.get("tasks", []))
    entries = raw.get("component", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise Fault("component: write each component as a [[component]] table", key="component")
    parsed = [_component(entry, index) for index, entry in enumerate(entries)]
    for key in ("description", "version"):
        if not isinstance(raw.get(key, ""), str):
            raise Fault(f"{key}: expected a string, got {raw[key]!r}", key=key)
    extract = _table(raw.get("extract", {}), Extraction, "extract", None)
    if found := fault_of(extract):
        raise Fault(f"{found[0]}: {found[1]}", "extract", key=found[0])
    return Recipe(
        raw.get("description", "").strip(),
        raw.get("version", "1"),
        tasks,
        extract,
        _compose(raw.get("compose", {})),
        tuple(component for component, _ in parsed),
        tuple(options for _, options in parsed),
        _examples(raw.get("example", [])),
    )


def _compose(entry: Any) -> ComposeRecipe:
    if not isinstance(entry, dict) or "noise" not in entry:
        return _table(entry, ComposeRecipe, "compose", None)
    own = {key: value for key, value in entry.items() if key != "noise"}
    made = _table(own, ComposeRecipe, "compose", None)
    return msgspec.structs.replace(made, noise=_noise(entry["noise"]))


def _noise(entry: Any) -> Noise:
    """Overall rates and strata, each in a table of its own, so that faults name its line."""
    table = "compose.noise"
    if not isinstance(entry, dict):
        raise Fault(f"noise: expected a table, got {entry!r}", "compose", key="noise")
    strata = entry.get("strata", {})
    if not isinstance(strata, dict):
        raise Fault(f"strata: expected a table, got {strata!r}", table, key="strata")
    overall = {key: value for key, value in entry.items() if key != "strata"}
    _known(overall, ("rho0", "rho1", "strata"), table, None)
    known: dict[str, Rates] = {}
    for name, rates in strata.items():
        where, spelled = f"{table}.strata.{name}", canonical_context(name)
        if not spelled or spelled in known:
            raise Fault(f"{name!r} names no stratum of its own; each cell line once", where)
        known[spelled] = _rates(rates, where)
    plain = _rates(overall, table)
    return Noise(plain.rho0, plain.rho1, known)


def _rates(entry: Any, table: str) -> Rates:
    made = _table(entry, Rates, table, None)
    if made.youden <= 0:
        raise Fault(
            f"rho1: rho0 + rho1 = {made.rho0 + made.rho1:g}, not below 1; such a verifier says "
            "nothing, or the opposite, and no correction mends it",
            table,
            key="rho1",
        )
    return made


def _examples(entries: Any) -> tuple[Example, ...]:
    if not isinstance(entries, list):
        raise Fault("example: write each example as an [[example]] table", key="example")
    return tuple(_table(entry, Example, "example", index) for index, entry in enumerate(entries))


def _tasks(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(task, str) for task in value):
        raise Fault(f"tasks: expected a list of task types, got {value!r}", key="tasks")
    for task in value:
        if task not in TASK_TYPES:
            raise Fault(f"tasks: unknown {task!r}{nearest(task, TASK_TYPES)}", key="tasks")
    if len(set(value)) != len(value):
        raise Fault("tasks: a task type is named twice", key="tasks")
    return tuple(value)


def _component(entry: dict[str, Any], index: int) -> tuple[ComponentRecipe, msgspec.Struct]:
    shared_keys = ComponentRecipe.__struct_fields__
    if not isinstance(entry.get("verifier"), str):
        raise Fault("verifier: missing, or not a string", "component", index, "verifier")
    try:
        options_type = judge_class(entry["verifier"]).Options
    except ProfileFault as fault:
        raise Fault(str(fault), "component", index, "verifier") from None
    own_keys = options_type.__struct_fields__
    _known(entry, (*shared_keys, *own_keys), "component", index)
    shared = {key: value for key, value in entry.items() if key in shared_keys}
    own = {key: value for key, value in entry.items() if key in own_keys}
    component = _table(shared, ComponentRecipe, "component", index)
    return component, _table(own, options_type, "component", index)


def _known(entry: Mapping[str, Any], keys: tuple[str, ...], table: str, index: int | None) -> None:
    for key in entry:
        if key not in keys:
            raise Fault(f"unknown key {key!r}{nearest(key, keys)}", table, index, key)


def _table(entry: Any, kind: type[_Table], table: str, index: int | None) -> _Table:
    if not isinstance(entry, dict):
        raise Fault(f"{table}: expected a table, got {entry!r}", key=table)
    _known(entry, kind.__struct_fields__, table, index)
    try:
        return msgspec.convert(entry, kind)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        key = path.split("`")[0].split("[")[0]
        if choices := _choices(get_type_hints(kind).get(key)):
            said = _NO_CHOICE.match(message)
            given = repr(said[1]) if said else f"{entry[key]!r:.80}"
            fault = f"{key}: {given} is none of {', '.join(choices)}"
            near = difflib.get_close_matches(given.strip("'"), choices, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise Fault(fault + hint, table, index, key) from None
        found = f", got {entry[key]!r}" if key in entry else ""
        raise Fault(f"{key}: {message}{found}".lstrip(": "), table, index, key) from None


def _choices(hint: Any) -> tuple[str, ...]:
    """The words that a key takes, each or in a list; () where it takes other things as well."""
    if get_origin(hint) is Literal:
        return tuple(map(str, get_args(hint)))
    inner = [one for one in get_args(hint) if one is not type(None) and one is not Ellipsis]
    return _choices(inner[0]) if len(inner) == 1 else ()
