"""What is asked of a server and when it is asked again, free of any I/O.

A conversation is a generator: it yields an ``Ask`` (answered with its reply, or with a ``Fault``
thrown in) or a number of seconds to pause, and returns its outcome. ``converse`` and
``converse_async`` drive the same generators, so that blocking and asyncio clients cannot differ.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, TypeVar

from softverifier.errors import ServerUnavailable, SoftVerifierError, UsageError
from softverifier.items import BadItem, ItemLike, identity
from softverifier.patience import Fault, Patience
from softverifier.rewards import Malformed, Prediction, Reward, joined

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ScoreAsk:
    """Score these items; the reply is one ``Reward`` for each, in order."""

    profile: str
    payloads: Sequence[Any]
    context: Mapping[str, Any]
    deadline_ms: int | None
    timeout: float


@dataclass(frozen=True, slots=True)
class PredictAsk:
    """Ask a world model; the reply is a ``Prediction`` of as many rows."""

    model: str
    relation: str
    subjects: Sequence[str]
    objects: Sequence[str]
    context: str | Sequence[str]
    deadline_ms: int | None
    timeout: float


@dataclass(frozen=True, slots=True)
class ListAsk:
    """List what is served; the reply is a list of JSON objects."""

    what: Literal["models", "profiles"]
    timeout: float


@dataclass(frozen=True, slots=True)
class ProbeAsk:
    """Is the server alive, are its models warm? The reply is a bool."""

    what: Literal["healthz", "readyz"]
    timeout: float


Ask = ScoreAsk | PredictAsk | ListAsk | ProbeAsk
Step = Ask | float
Conversation = Generator[Step, Any, T]


class Channel(Protocol):
    """A way to a server that blocks."""

    def encode(self, item: ItemLike) -> tuple[Any, int]:
        """The item as this channel sends it, and its size in bytes. Raises ``BadItem``."""
        ...

    def perform(self, ask: Ask) -> Any:
        """Send and wait for the reply. Raises ``Fault``."""
        ...

    def close(self) -> None:
        """Let go of every connection."""
        ...


class AsyncChannel(Protocol):
    """The same for asyncio, usable from several event loops one after the other."""

    def encode(self, item: ItemLike) -> tuple[Any, int]:
        """The item as this channel sends it, and its size in bytes. Raises ``BadItem``."""
        ...

    async def perform(self, ask: Ask) -> Any:
        """Send and wait for the reply. Raises ``Fault``."""
        ...

    async def close(self) -> None:
        """Let go of every connection."""
        ...


def converse(steps: Conversation[T], channel: Channel, pause: Callable[[float], object]) -> T:
    """Drive a conversation to its outcome, blocking."""
    reply: Any = None
    fault: Fault | None = None
    while True:
        try:
            step = steps.send(reply) if fault is None else steps.throw(fault)
        except StopIteration as done:
            outcome: T = done.value
            return outcome
        reply, fault = None, None
        if isinstance(step, float):
            pause(step)
            continue
        try:
            reply = channel.perform(step)
        except Fault as found:
            fault = found


async def converse_async(
    steps: Conversation[T], channel: AsyncChannel, pause: Callable[[float], Awaitable[object]]
) -> T:
    """Drive a conversation to its outcome under asyncio."""
    reply: Any = None
    fault: Fault | None = None
    while True:
        try:
            step = steps.send(reply) if fault is None else steps.throw(fault)
        except StopIteration as done:
            outcome: T = done.value
            return outcome
        reply, fault = None, None
        if isinstance(step, float):
            await pause(step)
            continue
        try:
            reply = await channel.perform(step)
        except Fault as found:
            fault = found


def patiently(make: Callable[[float], Ask], patience: Patience) -> Conversation[Any]:
    """Ask until there is a reply; ``make`` is given the seconds that the try may take.

    Raises:
        RequestRejected: another try cannot help.
        ServerUnavailable: the retries are used up.
        DeadlineExceeded: the deadline leaves no room.
    """
    while True:
        ask = make(patience.timeout())
        try:
            return (yield ask)
        except Fault as fault:
            pause = patience.after(fault)
        yield pause


@dataclass(slots=True)
class Chunk:
    """Items that travel together. ``rewards`` is filled in where the client itself decided."""

    ids: list[str | int | None] = field(default_factory=list)
    payloads: list[Any] = field(default_factory=list)
    rewards: list[Reward | None] = field(default_factory=list)
    size: int = 0

    def add(self, item: ItemLike, encode: Callable[[ItemLike], tuple[Any, int]]) -> None:
        """Append an item; one that cannot be sent is a ``BAD_ITEM`` and stays here."""
        self.ids.append(identity(item))
        try:
            payload, size = encode(item)
        except BadItem as error:
            self.payloads.append(None)
            bad = Reward(self.ids[-1], "error", None, 0.0, None, "BAD_ITEM", message=str(error))
            self.rewards.append(bad)
            return
        self.payloads.append(payload)
        self.rewards.append(None)
        self.size += size


def chunks(
    items: Iterable[ItemLike],
    encode: Callable[[ItemLike], tuple[Any, int]],
    most_items: int,
    most_bytes: int,
) -> Iterator[Chunk]:
    """Cut items into chunks as they come: by number and by size, order kept.

    Raises:
        UsageError: one item, or a text, instead of several items.
    """
    if isinstance(items, Mapping | str | bytes):
        raise UsageError(f"items is one {type(items).__name__}; pass a list of items")
    try:
        rows = iter(items)
    except TypeError:
        raise UsageError(f"items is {type(items).__name__}; pass a list of items") from None
    chunk = Chunk()
    for item in rows:
        if len(chunk.ids) == most_items or chunk.size >= most_bytes:
            yield chunk
            chunk = Chunk()
        chunk.add(item, encode)
    if chunk.ids:
        yield chunk


def scored(
    chunk: Chunk, profile: str, context: Mapping[str, Any], patience: Patience, item_retries: int
) -> Conversation[list[Reward]]:
    """Score one chunk; items that failed for a passing reason are asked again, alone.

    Raises:
        SoftVerifierError: there is no answer for the chunk at all. Once there is one, items that
            go on failing keep their own ``error``.
    """
    rewards = chunk.rewards
    waiting = [row for row, reward in enumerate(rewards) if reward is None]
    for attempt in range(item_retries + 1):
        if not waiting:
            break
        if attempt:
            pause = patience.pause()
            if pause >= patience.deadline.left():
                break
            yield pause
        payloads = [chunk.payloads[row] for row in waiting]
        try:
            replies = yield from patiently(
                lambda timeout, payloads=payloads: ScoreAsk(  # type: ignore[misc]
                    profile, payloads, context, patience.deadline.milliseconds(), timeout
                ),
                patience,
            )
        except SoftVerifierError:
            if attempt:
                break
            raise
        for row, reward in zip(waiting, replies, strict=True):
            # The id is the caller's own: gRPC would have made a string of a number.
            rewards[row] = replace(reward, id=chunk.ids[row])
        waiting = [row for row, reward in zip(waiting, replies, strict=True) if reward.retryable]
    return [reward for reward in rewards if reward is not None]


def predicted(
    model: str,
    relation: str,
    subjects: Sequence[str],
    objects: Sequence[str],
    context: str | Sequence[str],
    patience: Patience,
) -> Conversation[Prediction]:
    """Ask a world model for one chunk of rows."""
    reply: Prediction = yield from patiently(
        lambda timeout: PredictAsk(
            model, relation, subjects, objects, context, patience.deadline.milliseconds(), timeout
        ),
        patience,
    )
    return reply


def whole(parts: Sequence[Prediction]) -> Prediction:
    """The chunks of a prediction as one.

    Raises:
        ServerUnavailable: another model answered half-way.
    """
    try:
        return joined(parts)
    except Malformed as error:
        raise ServerUnavailable(str(error)) from error
