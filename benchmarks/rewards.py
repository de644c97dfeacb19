"""What judging costs beside the world models: one core, no server, best of several rounds.

Prints µs per completion of about 1,000 characters for each stage of each shipped profile, and what
hostile completions cost. The completion is the profile's example with its reasoning made longer;
work that is done under a budget elsewhere is done before and not counted. Run: ``python
benchmarks/rewards.py``.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable
from functools import partial

import msgspec

from service.rewards.core import Item, Verdict
from service.rewards.profiles import Profile, load_profiles
from service.rewards.rules import ends_of
from service.rewards.specimens import specimen_library
from service.rewards.works import carry_out
from worldmodels.core import Status

WORDS = (
    "The knockdown of AARS depletes charged alanine transfer RNA, ribosomes stall and the "
    "integrated stress response is switched on; chaperones of the endoplasmic reticulum such as "
    "CALR follow the unfolded protein response. "
)
VERDICT = Verdict(Status.OK, 0.93, 0.41, 0.04, 0.8)
HOSTILE = {
    "1 MB": "a" * 1_000_000,
    "4,000 tags": "<think>a</think>" * 2000,
    "20,000-character word": f"<think>{'a' * 20_000}</think><answer>yes</answer>",
    "marks": f"<think>a{chr(0x300) + chr(0x316)}</think>" + (chr(0x300) + chr(0x316)) * 15_000,
    "keyword × 8,000": f"<think>{'AARS' * 8000}</think><answer>yes</answer>",
    "'so' × 16,000": f"<think>{'so ' * 10_000}</think><answer>yes</answer>",
}


def microseconds(work: Callable[[], object], number: int = 2000) -> float:
    """Best of seven rounds."""
    return min(timeit.repeat(work, number=number, repeat=7)) / number * 1e6


def item_of(profile: Profile, completion: str | None = None) -> Item:
    """The profile's example with another completion; by default its own, made longer."""
    item = msgspec.convert(profile.example(), Item)
    if completion is None:
        completion = str(item.completion)
        think, _ = ends_of(profile.recipe.extract.think_tag)
        prose = (WORDS * 5)[: max(0, 996 - len(completion))]
        completion = completion.replace(think, think + prose, 1)
    item.completion = completion
    return item


def main() -> None:
    """Print both tables."""
    profiles = load_profiles(library=specimen_library())
    print("about 1,000 characters    fault    read    plan compose   total  µs/completion")
    for name, profile in profiles.items():
        if profile.lacks:
            print(f"{name:<22} not measured: {profile.lacks[0]}")
            continue
        item = item_of(profile)
        answer = profile.read(item)
        assert answer.reason == "OK", f"{name}: {answer.reason}"
        verdicts = [VERDICT] * len(profile.queries(item))
        works = profile.works(item, answer)
        done = {index: carry_out(work) for index, work in works.items()}
        stages = (
            microseconds(partial(profile.fault, item)),
            microseconds(partial(profile.read, item)),
            microseconds(partial(profile.queries, item)),
            microseconds(partial(profile.compose, item, answer, verdicts, done)),
        )
        row = "".join(f"{cost:8.1f}" for cost in (*stages, sum(stages)))
        print(f"{name:<22}{row}")
    released = profiles["rbio-released"]
    print("\nhostile completions, rbio-released          ms/completion")
    for name, text in HOSTILE.items():
        item = item_of(released, text)
        cost = microseconds(lambda i=item: released.compose(i, released.read(i), []), 3)
        print(f"{name:<40}{cost / 1000:8.3f}")


if __name__ == "__main__":
    main()
