"""One bench for all tests: a child process that loads what works need once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from service.redteam.arena import Local
from service.redteam.bench import Bench
from service.redteam.library import library
from service.redteam.report import Report
from service.redteam.suite import run
from service.rewards.library import Library
from service.rewards.profiles import Profile, load_profiles


@pytest.fixture(scope="session")
def bench() -> Iterator[Bench]:
    with Bench() as made:
        yield made


@pytest.fixture(scope="session")
def specimens() -> Library:
    return library()


@pytest.fixture(scope="session")
def profiles(specimens: Library) -> dict[str, Profile]:
    return load_profiles(library=specimens)


@pytest.fixture(scope="session")
def attack(bench: Bench) -> Callable[..., Report]:
    """The red team's report on a profile."""

    def made(profile: Profile, **more: int) -> Report:
        return run(profile, Local(profile, bench), **more)

    return made
