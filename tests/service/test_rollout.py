"""The parent's part of replacing a model, step by step, and which processes there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from processes import version
from service import placement, settings
from service.control import (
    Abort,
    Commit,
    Done,
    FromChild,
    FromParent,
    Held,
    Outcome,
    Prepare,
    Prepared,
    Reader,
    Ready,
    Refused,
    Told,
    framed,
)
from service.rollout import PREPARE_S, Rollout
from worldmodels import fake
from worldmodels.genes import GeneResolver
from worldmodels.registry import Source

MODEL = fake.load(Source(family="fake", name="m"), GeneResolver.as_they_are())
HELD = Held(0, MODEL.spec, MODEL.examples(3), "unix:/somewhere", 0.1)


class Member:
    """A process that notes what it is told."""

    def __init__(self, role: str, held: dict[str, Held] | None = None):
        self.role = role
        self.held = held or {}
        self.told: list[FromParent] = []

    def say(self, message: FromParent) -> None:
        self.told.append(message)

    def kinds(self) -> list[str]:
        return [type(message).__name__ for message in self.told]

    @property
    def roll(self) -> int:
        (*_, last) = (one.roll for one in self.told if isinstance(one, Prepare))
        return last


class Household:
    """Two workers, and a host if there is to be one."""

    def __init__(self, *, host: bool):
        self.workers = [Member("worker 0"), Member("worker 1")]
        self.hosts = [Member("model host cpu", {"m": HELD})] if host else []
        self.rollout = Rollout(lambda: self.hosts, lambda: self.workers)
        self.rollout.joined({"m": "old"})

    def prepared(self, member: Member, digest: str = "new", changed: bool = True) -> None:
        held = HELD if member in self.hosts else None
        self.rollout.heard(member, Prepared(member.roll, digest, changed, held))

    def done(self, member: Member) -> None:
        self.rollout.heard(member, Done(member.roll))

    def outcome(self) -> Outcome:
        (told,) = [one for one in self.workers[0].told if isinstance(one, Told)]
        assert told.ask == 7
        return told.outcome


@pytest.mark.parametrize("host", [False, True], ids=["workers", "with a host"])
def test_nobody_switches_before_all_are_ready(host: bool) -> None:
    house = Household(host=host)
    first, second = house.workers
    house.rollout.want("m", (first, 7))
    for one in house.hosts:
        assert (one.kinds(), first.told) == (["Prepare"], [])
        house.prepared(one)
        assert isinstance(second.told[0], Prepare)
        assert second.told[0].held is HELD
    house.prepared(first)
    assert first.kinds() == second.kinds() == ["Prepare"]
    house.prepared(second)
    assert first.kinds() == second.kinds() == ["Prepare", "Commit"]
    house.done(first)
    assert all(one.kinds() == ["Prepare"] for one in house.hosts)  # workers still ask its old one
    house.done(second)
    for one in house.hosts:
        assert one.kinds() == ["Prepare", "Commit"]
        house.done(one)
    assert house.outcome() == Outcome(name="m", before="old", now="new", changed=True)
    assert house.rollout.serving == {"m": "new"}


def refuse(house: Household) -> None:
    second = house.workers[1]
    house.rollout.heard(second, Refused(second.roll, "no room"))


def die(house: Household) -> None:
    house.rollout.lost(house.workers[1])


def differ(house: Household) -> None:
    house.prepared(house.workers[1], "another")


def be_late(house: Household) -> None:
    house.rollout._until -= PREPARE_S + 1
    house.rollout.turn()


FAULTS = {
    "refuses": (refuse, "worker 1: no room"),
    "dies": (die, "worker 1 died while it loaded it"),
    "finds another version": (differ, "different versions"),
    "takes for ever": (be_late, "worker 1 did not load it within 600 s"),
}


@pytest.mark.parametrize(("fault", "says"), FAULTS.values(), ids=FAULTS)
def test_if_one_cannot_all_keep_the_old_one(fault, says: str) -> None:  # type: ignore[no-untyped-def]
    house = Household(host=True)
    first, second = house.workers
    house.rollout.want("m", (first, 7))
    house.prepared(house.hosts[0])
    house.prepared(first)
    fault(house)
    for one in (*house.hosts, first, second):
        assert any(isinstance(message, Abort) for message in one.told)
        assert not any(isinstance(message, Commit) for message in one.told)
    told = house.outcome()
    assert (told.before, told.now, told.changed) == ("old", "old", False)
    assert says in str(told.error)
    house.prepared(second)  # too late to matter
    house.rollout.want("m")
    assert second.kinds()[-1] == "Abort"  # the host comes first again
    assert isinstance(house.hosts[0].told[-1], Prepare)


def test_a_worker_that_dies_as_it_switches_does_not_hold_up_the_others() -> None:
    house = Household(host=False)
    first, second = house.workers
    house.rollout.want("m", (first, 7))
    house.prepared(first)
    house.prepared(second)
    house.rollout.lost(second)
    house.done(first)
    assert house.outcome().changed


def test_those_who_ask_meanwhile_share_one_answer_and_models_wait_their_turn() -> None:
    house = Household(host=False)
    first, second = house.workers
    house.rollout.joined({"n": "one"})
    house.rollout.want("n")
    house.rollout.want("m", (first, 7))
    house.rollout.want("m", (second, 8))
    assert [one.name for one in first.told if isinstance(one, Prepare)] == ["n"]
    for member in (first, second):
        house.prepared(member, "one", changed=False)
    for member in (first, second):
        house.done(member)
    for member in (first, second):
        house.prepared(member)
    for member in (first, second):
        house.done(member)
    assert house.outcome().now == "new"
    assert next(one for one in second.told if isinstance(one, Told)).ask == 8
    assert house.rollout.serving == {"m": "new", "n": "one"}


def test_a_process_that_comes_with_another_version_makes_all_look() -> None:
    house = Household(host=False)
    house.rollout.joined({"m": "newer"})
    assert [type(one) for one in house.workers[0].told] == [Prepare]


class Newcomer(Member):
    """A worker in another's place, warm with some version of the model."""

    def __init__(self, house: Household, digest: str):
        super().__init__("worker 1")
        house.workers[1] = self
        house.rollout.arrived(self, {"m": digest})

    @property
    def inside(self) -> bool:
        return "Welcome" in self.kinds()


def lost(house: Household) -> None:
    dead = house.workers.pop(1)
    house.rollout.lost(dead)
    house.workers.append(dead)  # its place, until somebody takes it


def test_who_comes_with_what_all_serve_is_let_in_at_once() -> None:
    house = Household(host=False)
    lost(house)
    newcomer = Newcomer(house, "old")
    assert newcomer.kinds() == ["Welcome"]
    assert house.workers[0].told == []


def test_who_comes_with_another_version_is_let_in_when_all_have_it() -> None:
    house = Household(host=False)
    lost(house)
    newcomer, first = Newcomer(house, "new"), house.workers[0]
    assert newcomer.kinds() == first.kinds() == ["Prepare"]
    house.prepared(newcomer, "new", changed=False)
    assert not newcomer.inside
    house.prepared(first)
    assert first.kinds() == ["Prepare", "Commit"]
    house.done(newcomer)
    assert not newcomer.inside  # the other one may serve the old one still
    house.done(first)
    assert newcomer.inside
    assert house.rollout.serving == {"m": "new"}


def replacing(house: Household) -> Member:
    """One worker is about to load a new version; the other's place is empty."""
    lost(house)
    dead = house.workers.pop()
    first = house.workers[0]
    house.rollout.want("m", (first, 7))
    house.workers.append(dead)
    return first


def test_who_comes_as_others_load_takes_part() -> None:
    """It was forked, or read the folder, before the change; else it would stay behind for ever."""
    house = Household(host=False)
    first = replacing(house)
    newcomer = Newcomer(house, "old")
    assert newcomer.kinds() == ["Prepare", "Welcome"]  # it serves what the others do until then
    house.prepared(first)
    assert first.kinds() == ["Prepare"]
    house.prepared(newcomer)
    for one in (first, newcomer):
        house.done(one)
    assert newcomer.kinds() == ["Prepare", "Welcome", "Commit"]
    assert house.outcome().now == "new"


def test_who_comes_with_the_new_version_as_others_load_waits_for_them() -> None:
    house = Household(host=False)
    first = replacing(house)
    newcomer = Newcomer(house, "new")
    house.prepared(newcomer, "new", changed=False)
    house.prepared(first)
    assert not newcomer.inside
    for one in (first, newcomer):
        house.done(one)
    assert newcomer.kinds() == ["Prepare", "Commit", "Welcome"]


def test_who_comes_as_others_switch_is_brought_in_line() -> None:
    house = Household(host=False)
    first = replacing(house)
    house.prepared(first)
    newcomer = Newcomer(house, "old")
    assert newcomer.told == []
    house.done(first)
    assert house.outcome().now == "new"
    assert newcomer.kinds() == ["Prepare"]
    house.prepared(newcomer)
    house.prepared(first, changed=False)
    for one in (newcomer, first):
        house.done(one)
    assert newcomer.kinds() == ["Prepare", "Commit", "Welcome"]
    assert house.rollout.serving == {"m": "new"}


def test_two_versions_are_not_served_even_if_the_others_cannot_take_the_new_one() -> None:
    house = Household(host=False)
    first = house.workers[0]
    lost(house)
    newcomer = Newcomer(house, "new")
    house.prepared(newcomer, "new", changed=False)
    house.rollout.heard(first, Refused(first.roll, "no room"))
    told = len(first.told)
    for _ in range(3):
        house.rollout.turn()
    assert not newcomer.inside
    assert len(first.told) == told  # it is not tried over and over
    house.rollout.want("m", (first, 7))  # after the folder was put right
    house.prepared(first, "old", changed=False)
    house.prepared(newcomer, "old")
    for one in (first, newcomer):
        house.done(one)
    assert newcomer.inside
    assert house.outcome().now == "old"


def test_the_last_one_left_serves_what_it_has() -> None:
    house = Household(host=False)
    lost(house)
    newcomer = Newcomer(house, "new")
    house.rollout.heard(house.workers[0], Refused(house.workers[0].roll, "no room"))
    assert not newcomer.inside
    house.rollout.lost(house.workers.pop(0))
    house.rollout.turn()
    assert newcomer.inside
    assert house.rollout.serving == {"m": "new"}


def test_a_newcomer_that_dies_holds_nobody_up() -> None:
    house = Household(host=False)
    lost(house)
    newcomer, first = Newcomer(house, "new"), house.workers[0]
    house.workers.remove(newcomer)
    house.rollout.lost(newcomer)
    assert first.kinds() == ["Prepare", "Abort"]
    house.rollout.want("m", (first, 7))
    house.prepared(first)
    house.done(first)
    assert house.outcome().now == "new"


def test_messages_arrive_whole_however_they_are_cut() -> None:
    sent = [Ready({"m": "d"}, [HELD]), Prepared(3, "d", True, HELD), Refused(4, "nö"), Done(5)]
    data = b"".join(map(framed, sent))
    for size in (1, 7, len(data)):
        reader: Reader[FromChild] = Reader(FromChild)
        heard = [
            message
            for at in range(0, len(data), size)
            for message in reader.feed(data[at : at + size])
        ]
        assert heard == sent


def planned(tmp_path: Path, text: str, gpus: int) -> list[tuple[str, tuple[int, ...]]]:
    file = tmp_path / "sv.toml"
    file.write_text(text)
    return [tuple(one) for one in placement.plan(settings.load(file), lambda: gpus)]


OFF = "[starter]\nenabled = false\n"
INLINE = '[[models]]\nfamily = "fake"\nname = "a"\nrun = "inline"\n'
DEAR = '[[models]]\nfamily = "fake"\nname = "b"\nrun = "thread"\n'
REMOTE = '[[models]]\nfamily = "remote"\nname = "c"\noptions = {url = "grpc://x:1"}\n'
SCGPT = '[[models]]\nfamily = "scgpt"\nname = "d"\n'
NAMED = '[[models]]\nfamily = "scgpt"\nname = "e"\ndevice = "cuda:3"\n'
PLANS = {
    "cheap by declaration": (OFF + INLINE, 0, []),
    "dear by declaration": (OFF + INLINE + DEAR, 0, [("cpu", (1,))]),
    "the starter, measured": ("", 0, [("cpu", (0,))]),
    "of another server": (OFF + REMOTE, 0, []),
    "a GPU that is there": (OFF + SCGPT + DEAR, 1, [("cpu", (1,)), ("cuda:0", (0,))]),
    "no GPU": (OFF + SCGPT + DEAR, 0, [("cpu", (0, 1))]),
    "two GPUs in turn": (
        OFF + SCGPT + SCGPT + SCGPT,
        2,
        [("cuda:0", (0, 2)), ("cuda:1", (1,))],
    ),
    "a GPU by name": (OFF + NAMED, 1, [("cuda:3", (0,))]),
    "every worker for itself": (OFF + DEAR + '[processes]\nmodel_host = "never"\n', 0, []),
}


@pytest.mark.parametrize(("text", "gpus", "hosts"), PLANS.values(), ids=PLANS)
def test_what_is_dear_gets_a_process_for_each_device(
    tmp_path: Path, text: str, gpus: int, hosts: list[tuple[str, tuple[int, ...]]]
) -> None:
    if "[starter]" not in text:
        text = f'[starter]\npath = "{version(tmp_path / "starter", 0)}"\n'
    assert planned(tmp_path, text, gpus) == hosts
