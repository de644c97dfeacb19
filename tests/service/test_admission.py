from __future__ import annotations

import time

import pytest

from service.admission import LONGEST_RETRY_S, Door
from service.errors import Overloaded, TooLarge
from service.pace import Pace
from service.requests import Priority
from service.settings import Batching
from service.waiting import TURNS, Waiting

TRAIN, EVAL = Priority.TRAIN, Priority.EVAL


class Queue(Waiting):
    """A queue of so many, whoever they are."""

    def __init__(self, train: int = 0, evaluation: int = 0):
        super().__init__()
        self.counts = {TRAIN: train, EVAL: evaluation}

    def __len__(self) -> int:
        return sum(self.counts.values())

    def rows(self, priority: Priority) -> int:
        return self.counts[priority]


def door(queue: Queue, *, batch_s: float = 1.0, busy: bool = True, max_queue: int = 1000) -> Door:
    """A door before a model that takes ``batch_s`` for a batch of up to 10."""
    pace = Pace()
    pace.begin(batch_s, 10, batch_s)
    made = Door("slow", Batching(max_batch=10, max_queue=max_queue), queue, pace)  # type: ignore[call-arg]
    if busy:
        made.begin(10)
    return made


def soon(seconds: float) -> float:
    return time.monotonic() + seconds


@pytest.mark.parametrize(
    ("train", "evaluation", "new", "priority", "batches"),
    [
        (0, 0, 1, TRAIN, 1),
        (0, 0, 10, TRAIN, 1),
        (5, 0, 10, TRAIN, 2),
        (35, 0, 5, TRAIN, 4),
        (0, 35, 5, TRAIN, 1),
        (60, 35, 10, TRAIN, 8),
        (0, 35, 5, EVAL, 4),
        (4, 3, 3, EVAL, 1),
        (100, 0, 10, EVAL, TURNS),
        (100, 5, 5, EVAL, TURNS),
    ],
    ids=[
        "alone",
        "a whole batch",
        "behind half a batch",
        "behind others",
        "before evaluation",
        "before evaluation but for its share",
        "evaluation by itself",
        "evaluation in one batch with training",
        "evaluation by its share",
        "evaluation behind its like",
    ],
)
def test_what_is_predicted(
    train: int, evaluation: int, new: int, priority: Priority, batches: int
) -> None:
    made = door(Queue(train, evaluation), busy=False)
    assert made.predicted_wait(new, priority) == pytest.approx(batches, abs=0.01)


def test_what_would_be_late_is_told_when_it_would_fit() -> None:
    made = door(Queue(train=30))
    made.admit(10, soon(6.0), TRAIN)
    with pytest.raises(Overloaded, match="after the request's deadline") as refused:
        made.admit(10, soon(3.0), TRAIN)
    assert refused.value.retry_after == pytest.approx(2.0, abs=0.1)


def test_those_sent_away_are_told_one_after_the_other() -> None:
    made = door(Queue(train=30))
    told = []
    for _ in range(30):
        with pytest.raises(Overloaded) as refused:
            made.admit(10, soon(3.0), TRAIN)
        assert refused.value.retry_after is not None
        told.append(refused.value.retry_after)
    assert told[:4] == pytest.approx([2.0, 3.0, 4.0, 5.0], abs=0.1)
    assert max(told) <= LONGEST_RETRY_S + 0.01


def test_an_idle_model_lets_in_whatever_is_predicted() -> None:
    made = door(Queue(), busy=False, batch_s=60.0)
    made.admit(1, soon(0.1), EVAL)


def test_a_model_that_hangs_takes_no_more_work(monkeypatch: pytest.MonkeyPatch) -> None:
    made = door(Queue(), batch_s=0.1)
    made.admit(1, soon(1.0), TRAIN)
    began = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: began + 5.0)
    with pytest.raises(Overloaded):
        made.admit(1, began + 6.0, TRAIN)
    made.end()
    made.admit(1, began + 6.0, TRAIN)


def test_evaluation_does_not_fill_the_queue() -> None:
    made = door(Queue(evaluation=50), max_queue=100, batch_s=0.001)
    with pytest.raises(Overloaded, match="do not fit its queue of 50") as refused:
        made.admit(10, soon(60.0), EVAL)
    assert refused.value.retry_after is not None
    assert refused.value.retry_after > 0
    made.admit(10, soon(60.0), TRAIN)


@pytest.mark.parametrize("priority", Priority)
def test_what_never_fits_is_not_told_to_come_back(priority: Priority) -> None:
    with pytest.raises(TooLarge, match="several requests") as refused:
        door(Queue(), max_queue=100).admit(101, soon(60.0), priority)
    assert refused.value.retry_after is None


def test_more_evaluation_than_its_room_gets_in_by_itself() -> None:
    door(Queue(), max_queue=100).admit(90, soon(60.0), EVAL)
