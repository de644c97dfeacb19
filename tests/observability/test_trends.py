"""What is counted of a policy's answers: by class, by component, and what repeats itself."""

from __future__ import annotations

import pytest

from service.metrics import Metrics
from service.repetition import ONE_IN, Repetition, _is_looked_at
from service.requests import BadItem
from service.rewards.core import Item, Message, Reason, Result, Verdict
from service.rewards.profiles import Profile, load_profiles
from service.rewards.specimens import specimen_library
from service.trends import BUCKETS, MOST_ANSWERS, Trends
from worldmodels.core import Status

LOOKED_AT = next(f"prompt-{i}" for i in range(1000) if _is_looked_at(f"prompt-{i}"))
ANOTHER = next(f"question-{i}" for i in range(1000) if _is_looked_at(f"question-{i}"))
NOT_LOOKED_AT = next(f"prompt-{i}" for i in range(1000) if not _is_looked_at(f"prompt-{i}"))
STORY = ". ".join(f"Sentence {i} of the reasoning" for i in range(10))


@pytest.fixture(scope="module")
def profiles() -> dict[str, Profile]:
    return load_profiles(library=specimen_library())


def series(metrics: Metrics) -> dict[str, float]:
    lines = [line for line in metrics.expose().decode().splitlines() if not line.startswith("#")]
    return {key: float(value) for key, value in (line.rsplit(" ", 1) for line in lines)}


def answered(answer: str | None, *, status: str = "ok", reward: float | None = 0.5) -> Result:
    return Result(None, status, reward, 1.0, answer, "OK", [])  # type: ignore[arg-type]


def note(profile: Profile, results: list[Result], run: str = "a1") -> dict[str, float]:
    metrics = Metrics()
    for result in results:
        result.components = [part.judge.missing(Reason.OK) for part in profile.composition.parts]
    Trends(metrics).note(profile, run, [Item() for _ in results], results)
    return series(metrics)


def of_answers(found: dict[str, float]) -> dict[str, float]:
    start = "softverifier_answers_total{"
    return {
        k.split('answer="')[1].split('"')[0]: v for k, v in found.items() if k.startswith(start)
    }


def test_answers_are_counted_by_class(profiles: dict[str, Profile]) -> None:
    results = [answered(a) for a in ("yes", "yes", "no")]
    results += [answered("yes", status="abstain", reward=None), answered(None, status="invalid")]
    assert of_answers(note(profiles["rbio-mlp"], results)) == {"yes": 2, "no": 1}


@pytest.mark.parametrize(
    "answer",
    [
        "The knockdown lowers CALR, since the ribosomes stall.",
        "x" * 25,
        'quote"d',
        "line\nbreak",
        "",
        "\ud800",
        "-1.25e-7,3",
    ],
    ids=["sentence", "long", "quoted", "two lines", "empty", "lone surrogate", "figures"],
)
def test_an_open_answer_is_shown_as_a_hash(profiles: dict[str, Profile], answer: str) -> None:
    found = of_answers(note(profiles["rbio-mlp"], [answered(answer)] * 2))
    assert list(found.values()) == [2]
    assert next(iter(found)).startswith("#")


def test_a_policy_cannot_make_ever_more_series(profiles: dict[str, Profile]) -> None:
    found = of_answers(note(profiles["rbio-mlp"], [answered(f"a{i}") for i in range(5000)]))
    assert len(found) <= MOST_ANSWERS + BUCKETS
    assert sum(found.values()) == 5000


def test_components_are_counted_with_what_they_judge(profiles: dict[str, Profile]) -> None:
    profile, metrics = profiles["rbio-released"], Metrics()
    item = Item(**{**_plain(profile)})
    answer = profile.read(item)
    plan = profile.queries(item)
    result = profile.compose(item, answer, [Verdict(Status.OK, 0.9, 0.4)] * len(plan), {})
    assert result.status == "ok"
    Trends(metrics).note(profile, "a1", [item] * 2, [result] * 2)
    found = series(metrics)
    for component, part in zip(result.components, profile.composition.parts, strict=True):
        kind = "form" if part.judge.textual else "truth"
        named = f'component="{component.name}",kind="{kind}"'
        labels = f'{{{named},profile="rbio-released",run="a1"}}'
        assert found[f"softverifier_component_scored_total{labels}"] == 2
        assert found[f"softverifier_component_score_sum_total{labels}"] == pytest.approx(
            2 * (component.score or 0.0)
        )
    kinds = {"form" if part.judge.textual else "truth" for part in profile.composition.parts}
    assert kinds == {"form", "truth"}, "the test needs a profile with both"


def _plain(profile: Profile) -> dict[str, object]:
    import msgspec

    found = msgspec.convert(profile.example(), Item)
    return {name: getattr(found, name) for name in found.__struct_fields__}


def test_valid_is_the_share_that_could_be_read(profiles: dict[str, Profile]) -> None:
    results = [answered("yes"), answered(None, status="invalid", reward=0.0)]
    results.append(answered(None, status="error", reward=None))
    found = note(profiles["rbio-mlp"], results)
    labels = '{component="valid",kind="form",profile="rbio-mlp",run="a1"}'
    assert found[f"softverifier_component_scored_total{labels}"] == 2
    assert found[f"softverifier_component_score_sum_total{labels}"] == 1


EDITED = STORY.replace("Sentence 3", "Phrase 3")
OTHER = STORY.replace("Sentence", "Phrase")


@pytest.mark.parametrize(
    ("completions", "expected"),
    [
        ([STORY, STORY, STORY], (2, 2)),
        ([STORY, EDITED], (1, 1)),
        ([STORY, OTHER], (1, 0)),
        ([STORY, STORY + " and more", STORY], (2, 2)),
        (["yes", "yes", "no"], (2, 1)),
        ([STORY], (0, 0)),
        (["", ""], (0, 0)),
        ([None, STORY], (0, 0)),
        ([[Message(content=STORY)], STORY], (1, 1)),
        ([[], STORY], (0, 0)),
        ([STORY * 1000, STORY * 1000 + "tail"], (1, 1)),
    ],
    ids=[
        "equal", "one sentence edited", "all edited", "lengthened", "no full stop", "alone",
        "empty", "none given", "messages", "no messages", "long",
    ],
)  # fmt: skip
def test_repeats_within_a_group(completions: list[object], expected: tuple[int, int]) -> None:
    items = [Item(completion=one, group=LOOKED_AT) for one in completions]  # type: ignore[arg-type]
    assert Repetition().count("p", "r", items) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([{"group": LOOKED_AT}, {"group": ANOTHER}], (0, 0)),
        ([{"group": NOT_LOOKED_AT}] * 2, (0, 0)),
        ([{}, {}], (0, 0)),
        ([{"prompt": LOOKED_AT}] * 2, (1, 1)),
        ([{"prompt": [Message(content="q")]}] * 2, (0, 0)),
        ([{"group": LOOKED_AT}, {"group": ANOTHER}] * 2, (2, 2)),
    ],
    ids=["two groups", "not looked at", "no group", "by prompt", "prompt of messages", "mixed"],
)
def test_what_a_group_is(names: list[dict[str, object]], expected: tuple[int, int]) -> None:
    items = [Item(completion=STORY, **name) for name in names]  # type: ignore[arg-type]
    assert Repetition().count("p", "r", items) == expected


def test_a_group_may_arrive_one_by_one_and_runs_are_apart() -> None:
    repetition, item = Repetition(), Item(completion=STORY, group=LOOKED_AT)
    assert repetition.count("p", "one", [item]) == (0, 0)
    assert repetition.count("p", "two", [item]) == (0, 0)
    assert repetition.count("p", "one", [BadItem(None, "?"), item]) == (1, 1)


def test_one_group_in_so_many_is_looked_at() -> None:
    looked = sum(_is_looked_at(name) for name in range(16_000))
    assert looked == pytest.approx(16_000 / ONE_IN, rel=0.1)
