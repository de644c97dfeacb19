"""Lines of the audit log as what was given, and the item that it was given to.

Limits: a line has its item only where ``audit.completions`` was on, by a server that wrote
``item`` beside the completion; lines of older servers lack it, and their rewards hung on more than
the completion says.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec

from service.audit_lines import Judge

Lack = Literal["", "no_completion", "no_item"]


class Entry(msgspec.Struct, frozen=True, gc=False):
    """What one line says, as far as it can be scored again."""

    request: str
    time: str
    profile: str
    profile_digest: str
    id: str | int | None
    group: str | int | None
    status: str
    reason: str
    reward: float | None
    weight: float
    answer: str | None
    components: list[Judge]
    completion_digest: str | None
    run: str = ""
    step: int | None = None
    split: str = ""
    completion: Any = msgspec.UNSET
    item: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET

    @property
    def lack(self) -> Lack:
        """What is missing to score it again; "" for nothing."""
        if self.completion is msgspec.UNSET:
            return "no_completion"
        return "no_item" if self.item is msgspec.UNSET else ""

    @property
    def key(self) -> str:
        """Names the item among all lines, up to items of a request that are alike in everything."""
        named = (self.request, self.time, self.id, self.group, self.completion_digest)
        return hashlib.blake2b(msgspec.json.encode(named), digest_size=8).hexdigest()

    def asked(self) -> dict[str, Any]:
        """The item, as ``POST /v1/score`` takes it."""
        assert self.item is not msgspec.UNSET
        return {**self.item, "id": self.id, "group": self.group, "completion": self.completion}
