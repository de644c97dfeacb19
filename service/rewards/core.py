"""The nouns of a reward: item, task, truth, answer, query, verdict, component, result.

Items and results are msgspec structs, so the wire decodes straight into them and encodes straight
out of them. Everything here is plain data; the functions are in the neighbouring modules, the task
types in ``tasks``. What is not covered: vector answers (``perturbation.response``).
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec

from service.rewards.tasks import Task
from worldmodels.core import ModelSpec, Status


class Reason(enum.StrEnum):
    """Why an item or a component has the status it has."""

    OK = "OK"
    POOLED = "POOLED"
    """Of a component: answered by a model pooled over cell lines; it has a score as with OK."""
    # the completion's doing: status "invalid", the profile's floor
    NO_ANSWER = "NO_ANSWER"
    SEVERAL_ANSWERS = "SEVERAL_ANSWERS"
    ANSWER_NOT_IN_VOCABULARY = "ANSWER_NOT_IN_VOCABULARY"
    MALFORMED = "MALFORMED"
    TOO_LONG = "TOO_LONG"
    CONTRADICTION = "CONTRADICTION"
    # beyond the policy's reach: status "abstain", null
    UNKNOWN_GENE = "UNKNOWN_GENE"
    AMBIGUOUS_GENE = "AMBIGUOUS_GENE"
    UNMEASURED = "UNMEASURED"
    OUT_OF_DISTRIBUTION = "OUT_OF_DISTRIBUTION"
    LOW_CONFIDENCE = "LOW_CONFIDENCE"
    NO_TRUTH = "NO_TRUTH"
    NO_KEYWORDS = "NO_KEYWORDS"
    NO_ANNOTATION = "NO_ANNOTATION"
    """The annotation table says nothing of the gene, or nothing in the aspect asked for."""
    NO_CARD = "NO_CARD"
    """The profile answers what a model's card proves reliable, and no card says so of this."""
    # the request's or the service's doing: status "error", null
    BAD_ITEM = "BAD_ITEM"
    TASK_MISMATCH = "TASK_MISMATCH"
    BAD_TRUTH = "BAD_TRUTH"
    NO_RAW_SCORE = "NO_RAW_SCORE"
    """The profile pays the raw score and the model gives none: they do not fit each other."""
    NO_BASELINE = "NO_BASELINE"
    """The profile pays for lift and the model states no p0: they do not fit each other."""
    NO_MODEL = "NO_MODEL"
    MODEL_ERROR = "MODEL_ERROR"
    DEADLINE = "DEADLINE"
    OVERLOADED = "OVERLOADED"


INVALID: Final = frozenset(
    {
        Reason.NO_ANSWER,
        Reason.SEVERAL_ANSWERS,
        Reason.ANSWER_NOT_IN_VOCABULARY,
        Reason.MALFORMED,
        Reason.TOO_LONG,
        Reason.CONTRADICTION,
    }
)
ERRORS: Final = frozenset(
    {
        Reason.BAD_ITEM,
        Reason.TASK_MISMATCH,
        Reason.BAD_TRUTH,
        Reason.NO_RAW_SCORE,
        Reason.NO_BASELINE,
        Reason.NO_MODEL,
        Reason.MODEL_ERROR,
        Reason.DEADLINE,
        Reason.OVERLOADED,
    }
)
RETRYABLE: Final = frozenset({Reason.MODEL_ERROR, Reason.DEADLINE, Reason.OVERLOADED})

REASON_OF_STATUS: Final[dict[int, Reason]] = {status: Reason[status.name] for status in Status}

ItemStatus = Literal["ok", "invalid", "abstain", "error"]


def status_of(reason: Reason) -> ItemStatus:
    """The item status that a reason stands for (rewards.md's table of statuses)."""
    if reason in (Reason.OK, Reason.POOLED):
        return "ok"
    if reason in INVALID:
        return "invalid"
    return "error" if reason in ERRORS else "abstain"


# --- what comes in ---------------------------------------------------------------------------


Truth = str | bool | float | list[Any] | dict[str, Any] | None
"""What the request itself knows. Each verifier says which forms it reads: a label, a number, a
list, a text, an object such as soft labels (``truth``)."""


Arguments = str | dict[str, Any] | None
"""A tool call's arguments: JSON text as they were written, or an object already read."""


class ContentPart(msgspec.Struct, frozen=True):
    """One part of a message's content.

    Text is the ``text`` of any part (``text``, ``output_text``) that is not one of these. Reasoning
    is the ``thinking`` of a part of type ``thinking`` (a text, or parts of text), and the ``text``
    or ``reasoning`` of one of type ``reasoning`` (``reasoning_text``, ``summary_text``). A call is
    a part of type ``tool_use`` (``name``, ``input``) or ``tool_call`` (``name``, ``args`` or
    ``arguments``). Of others (images, refusals) nothing is read.
    """

    type: str = "text"
    text: str | None = None
    thinking: str | list[ContentPart] | None = None
    reasoning: str | None = None
    name: str | None = None
    input: Arguments = None
    args: Arguments = None
    arguments: Arguments = None


class ToolFunction(msgspec.Struct, frozen=True):
    """What a tool call calls."""

    name: str = ""
    arguments: Arguments = None


class ToolCall(msgspec.Struct, frozen=True):
    """A call beside a message's content, as OpenAI writes it, or flat."""

    function: ToolFunction | None = None
    name: str | None = None
    arguments: Arguments = None
    args: Arguments = None


class Message(msgspec.Struct, frozen=True):
    """A chat message, or an item of a Responses output. Which counts: see ``messages``.

    Servers that split reasoning from answers send it as ``reasoning_content`` or ``reasoning``
    (the first that is not empty counts): it is read as the think block in front of the content.
    Items of a Responses output say what they are by ``type``: ``message``, ``reasoning`` (with
    ``summary`` and ``content``) or ``function_call`` (with ``name`` and ``arguments``).
    """

    role: str = "assistant"
    content: str | list[ContentPart] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCall] | None = None
    type: str = "message"
    summary: list[ContentPart] | None = None
    name: str | None = None
    arguments: Arguments = None


class Item(msgspec.Struct, forbid_unknown_fields=True):
    """One completion with what is needed to judge it."""

    completion: str | list[Message] | None = None
    task: Task | None = None
    truth: Truth = None
    keywords: list[str] | None = None
    id: str | int | None = None
    group: str | int | None = None
    prompt: str | list[Message] | None = None
    weight: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] | None = None
    """How far the item's truth is trusted; multiplies the result's weight."""
    split: str | None = None
    """Split of this item (id, ood, …) for metrics; the request's ``context.split`` by default."""


# --- what is asked of world models -------------------------------------------------------------


class Query(NamedTuple):
    """One question to a world model. Hashable: equal queries are asked once."""

    model: str
    """A served model's name, or ``family:NAME`` for whichever served model of that family offers
    the relation in the context, or ``*`` for whichever model does."""
    relation: str
    subject: str
    object: str
    context: str


class Verdict(NamedTuple):
    """One world model's answer to one query. Figures are None unless ``status`` is ``ANSWERED``."""

    status: Status
    p: float | None = None
    p0: float | None = None
    uncertainty: float | None = None
    raw: float | None = None
    model: ModelSpec | None = None
    cached: bool = False
    reason: Reason | None = None
    """Set where no ``Status`` says it: DEADLINE, OVERLOADED."""


class Work(NamedTuple):
    """A computation that may take long or never end, to be done outside the server's process.

    Hashable: equal work is done once. ``function`` takes ``arguments`` and returns plain data.
    """

    function: str
    """``package.module:function``, of this distribution."""
    arguments: tuple[Any, ...]
    """Strings, numbers and tuples of them."""


class Finding(NamedTuple):
    """What came of work: ``value`` where ``reason`` is OK."""

    reason: Reason
    value: Any = None


# --- what comes out ----------------------------------------------------------------------------


Value = str | float | tuple[str, ...] | None


class Answer(NamedTuple):
    """What the completion claims, or why it claims nothing."""

    reason: Reason
    label: str | None = None
    """The answer in canonical form ("yes"), None unless ``reason`` is OK (or CONTRADICTION)."""
    think: str = ""
    """The reasoning text, tags removed."""
    text: str = ""
    """The whole completion after ingress (NFC, one string)."""
    contradiction: bool = False
    """The reasoning concludes the opposite of the answer."""
    parts: Sequence[str] = ()
    """``text`` split at its tags, text and tag name in turn (``["", "think", "…", "/think", …]``):
    the one scan that extraction and the format checks share. Empty where nothing was scanned."""
    value: Value = None
    """What the answer's form reads from it beyond the label: a number, names in order."""
    claimed: str = ""
    """The answer as it was written."""
    sections: tuple[tuple[str, str], ...] = ()
    """Name and text of each further block that the profile admits, in order."""


class Component(msgspec.Struct):
    """One verifier's contribution; ``score`` lies in [0,1] or is None."""

    name: str
    score: float | None = None
    weight: float = 1.0
    p: float | None = None
    p0: float | None = None
    uncertainty: float | None = None
    status: str = Reason.OK.value
    model: str | None = None
    version: str | None = None
    digest: str | None = None
    cached: bool | None = None


class Result(msgspec.Struct):
    """One item's reward: a number for ``ok`` and ``invalid``, null for ``abstain``/``error``."""

    id: str | int | None
    status: ItemStatus
    reward: float | None
    weight: float
    answer: str | None
    reason: str
    components: list[Component]
    retryable: bool = False
    contradiction: bool = False
    message: str | None = None
    """For errors: what was wrong with the item, and where."""
