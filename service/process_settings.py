"""Settings of what runs beside the requests: ``[processes]``, ``[rolling]`` and ``[admin]``."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, Field, field_validator

from service.section import SECTION

LEAST_HANG_S: Final = 3.0
"""Three of the signs of life that a child gives (``control.BEAT_S``): who is well misses none."""


class Processes(BaseModel):
    """How the processes of a server with several workers share its models."""

    model_config = SECTION

    model_host: Literal["auto", "never"] = "auto"
    """auto: models that cost more than a hop compute once, in a process of their own for each GPU
    and one for the CPU, which all workers ask; never: every worker loads every model."""
    hang_s: float = Field(30.0, ge=0)
    """A worker or model host whose event loop has not turned for so many seconds is killed and
    replaced, 3 at least; 0: never (for who looks into one with a debugger). Seconds in which the
    parent did not run itself do not count. No collection of garbage and no batch takes so long:
    models that take more than `batching.inline_below_ms` are not run in the loop."""

    @field_validator("hang_s")
    @classmethod
    def _longer_than_silence(cls, value: float) -> float:
        """Between two signs of life, everybody is silent."""
        if 0 < value < LEAST_HANG_S:
            said = (
                f"should be 0 (never) or at least {LEAST_HANG_S:g}: who is well says so each second"
            )
            raise ValueError(said)
        return value


class Rolling(BaseModel):
    """Models that are replaced while the server runs."""

    model_config = SECTION

    grace_s: float = Field(300.0, ge=0)
    """Seconds for which a model that was replaced still answers who pins its digest; beyond: 409.
    It keeps its memory for so long."""


class Admin(BaseModel):
    """Routes that change the server."""

    model_config = SECTION

    enabled: bool = False
    """Answer POST /v1/models/{name}/reload, to keys with the scope `admin`, or to everybody where
    there are no keys; 403 otherwise. SIGHUP reloads in any case."""
