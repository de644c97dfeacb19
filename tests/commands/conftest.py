from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from running import RunningService, write_config
from service.commands.annotate import annotate
from service.commands.score import score
from service.errors import ServiceError


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_config(tmp_path_factory.mktemp("commands"))


@pytest.fixture(scope="session")
def service(config: Path) -> Iterator[RunningService]:
    running = RunningService(config).start()
    yield running
    running.stop()


@pytest.fixture
def run() -> Callable[..., tuple[int, str]]:
    """Exit code and everything printed, as ``soft-verifier`` would."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(score)
    app.command()(annotate)

    def call(*arguments: Any) -> tuple[int, str]:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if isinstance(result.exception, ServiceError):
            return 2, str(result.exception)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output

    return call
