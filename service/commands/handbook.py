"""The pages of ``docs/profiles.md``: what each shipped profile does, with requests that work.

Made from the profiles' own files: the comment at the head, the resolved recipe, and the examples
with what they earn. Examples are judged by the specimens that ship with the rewards.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from service.rewards.files import Source, read_sources
from service.rewards.profiles import Profile, load_profiles
from service.rewards.specimens import specimen_library

_HEAD: Final = """# Profiles

<!-- Made by `soft-verifier profiles docs`: change the files in service/profiles, not this one. -->

One section for each profile that ships. The comment at the head of its file says what the reward
is, where it comes from, where it departs from the published one and why. Every request works as
it stands, saved as `request.json`:

```sh
curl -s http://127.0.0.1:8080/v1/score -H 'content-type: application/json' -d @request.json
```

on a server that has what the profile needs: world models (`--model DIR`), and for
`[knowledge.NAME]` the ontologies named. The rewards shown are those under the small cuttings of
real ontologies in `service/rewards/specimens.py`, and a test sends every request to a server that
has them. `soft-verifier profiles show NAME` prints a resolved recipe, and
`soft-verifier redteam NAME` attacks one.

"""
_FAMILIES: Final = {
    "rbio": "rbio (rbio-1, bioRxiv 2025.08.18.670981)",
    "owkinzero": "OwkinZero (arXiv 2508.16315)",
    "chem": "Chemistry environments (arXiv 2604.16279)",
    "bioreason": "BioReason (arXiv 2505.23579) and BioReason-Pro",
    "screen": "Perturbation screens, by this project's world model `screen`",
    "posttrain": "How Post-Training Shapes Biological Reasoning Models (arXiv 2606.16517)",
}
"""Titles of families of several profiles; others stand alone."""

_NEUTRAL: Final = {
    "stated": "as its file states",
    "base rate": "by the base rate of the model that is served",
    "zero lift": "nothing beyond the base rate",
    "middle": "half of every score",
}
"""What stands in for a reward that there is none of; ``service.rewards.neutral``."""


def family_of(name: str) -> str:
    """What a profile's name begins with."""
    return name.partition("-")[0]


def grouped(profiles: Iterable[Profile]) -> dict[str, list[Profile]]:
    """Profiles by family, both in alphabetical order."""
    found: dict[str, list[Profile]] = {}
    for profile in sorted(profiles, key=lambda one: one.name):
        found.setdefault(family_of(profile.name), []).append(profile)
    return dict(sorted(found.items()))


def handbook() -> str:
    """The whole page, in Markdown."""
    sources = read_sources(None)
    groups = grouped(load_profiles(library=specimen_library()).values())
    return _HEAD + "\n".join(_contents(groups)) + "".join(_sections(groups, sources))


def _contents(groups: Mapping[str, list[Profile]]) -> Iterator[str]:
    yield "| profile | reward |\n| --- | --- |"
    for group in groups.values():
        for profile in group:
            description = profile.description.replace("|", "\\|").replace("<", "&lt;")
            yield f"| [{profile.name}](#{anchor(profile.name)}) | {description} |"
    yield ""


def anchor(name: str) -> str:
    """How GitHub links to a heading that is a profile's name."""
    return "".join(letter for letter in name if letter.isalnum() or letter in "-_")


def _sections(groups: Mapping[str, list[Profile]], sources: Mapping[str, Source]) -> Iterator[str]:
    for family, group in groups.items():
        yield f"\n# {_FAMILIES.get(family, family)}\n"
        for profile in group:
            yield "".join(_section(profile, sources[profile.name]))


def _section(profile: Profile, source: Source) -> Iterator[str]:
    yield f"\n## {profile.name}\n\n```text\n{head_comment(source.text)}\n```\n\n"
    yield from _facts(profile)
    for item, reward, dishonest in examples_of(profile):
        request = {"profile": profile.name, "items": [item]}
        text = json.dumps(request, indent=1, ensure_ascii=False)
        yield f"\n```json\n{text}\n```\n\n"
        yield f"→ {_outcome(profile, reward)}" + _cheats(dishonest) + "\n"


def _facts(profile: Profile) -> Iterator[str]:
    least, most = profile.range
    yield f"* judges {', '.join(profile.task_types) or 'any task, or none'}\n"
    yield f"* pays {least:g} to {most:g}\n"
    neutral = profile.neutral(lambda *_: ())
    value = "" if neutral.value is None else f"{neutral.value:g}, "
    yield f"* neutral {value}{_NEUTRAL[neutral.source]}\n"
    asked = ", ".join(f"`{model}`" for model in dict.fromkeys(profile.models))
    yield f"* asks {asked or 'no world model'}\n"
    if named := profile.knowledge_named():
        yield f"* looks up {', '.join(f'`[knowledge.{name}]`' for name in named)}\n"


def _outcome(profile: Profile, reward: float | None) -> str:
    if reward is not None:
        return f"`ok`, reward {reward:g}"
    return "`ok`; the reward is what the world model says" if profile.models else "`ok`"


def _cheats(dishonest: list[str]) -> str:
    many = len(dishonest)
    return f"; {many} dishonest completion{'s' * (many > 1)} in its file earn less" if many else ""


def examples_of(profile: Profile) -> Iterator[tuple[dict[str, Any], float | None, list[str]]]:
    """Item, stated reward (None: it hangs on a world model) and dishonest completions of each."""
    if not profile.recipe.examples:
        yield dict(profile.example()), None, []
    for index, example in enumerate(profile.recipe.examples):
        yield {"id": f"example-{index + 1}", **example.item()}, example.reward, example.dishonest


def head_comment(text: str) -> str:
    """The comment that a profile's file begins with, without its marks."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").removeprefix(" "))
    return "\n".join(lines).strip()
