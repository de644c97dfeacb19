from __future__ import annotations

from collections.abc import Iterator

import pytest

from running import RunningService, write_config


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    running = RunningService(write_config(tmp_path_factory.mktemp("service"))).start()
    yield running
    running.stop()
