"""A command of ``soft-verifier`` called in this process."""

from __future__ import annotations

from typing import Any

import typer
from typer.testing import CliRunner

from service.errors import ServiceError


def outcome(app: typer.Typer, *arguments: Any) -> tuple[int, str]:
    """Exit code and everything printed; a refusal is 2 with its message, a crash is raised."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, ServiceError):
        return 2, str(result.exception)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output
