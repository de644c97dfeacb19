"""What judging costs beside the world models: one core, no server, best of several rounds.

Prints µs per completion of about 1,000 characters for each stage of each shipped profile, and what
hostile completions cost. Run: ``python benchmarks/rewards.py``.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable

import msgspec

from service.rewards.core import Item, Verdict
from service.rewards.profiles import Profile, load_profiles
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


def item_of(profile: Profile, completion: str) -> Item:
    """The profile's example with another completion."""
    item = msgspec.convert(profile.example(), Item)
    item.completion = completion
    return item


def main() -> None:
    """Print both tables."""
    completion = f"<think>{(WORDS * 5)[:960]}</think>\n<answer>yes</answer>"
    profiles = load_profiles()
    print(f"{len(completion)} characters   fault    read   plan  compose   total  µs/completion")
    for name, profile in profiles.items():
        item = item_of(profile, completion)
        answer = profile.read(item)
        verdicts = [VERDICT] * len(profile.queries(item))
        stages = (
            microseconds(lambda p=profile, i=item: p.fault(i)),
            microseconds(lambda p=profile, i=item: p.read(i)),
            microseconds(lambda p=profile, i=item: p.queries(i)),
            microseconds(lambda p=profile, i=item, a=answer, v=verdicts: p.compose(i, a, v)),
        )
        row = "".join(f"{cost:8.1f}" for cost in (*stages, sum(stages)))
        print(f"{name:<15}{row}")
    released = profiles["rbio-released"]
    print("\nhostile completions, rbio-released          ms/completion")
    for name, text in HOSTILE.items():
        item = item_of(released, text)
        cost = microseconds(lambda i=item: released.compose(i, released.read(i), []), 3)
        print(f"{name:<40}{cost / 1000:8.3f}")


if __name__ == "__main__":
    main()
