"""A recipe as plain data, and the digest by which a profile is pinned."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

import msgspec

from service.rewards.recipe import Recipe

SEMANTICS: Final = 2
"""Raised whenever the code gives another reward for the same recipe, so that digests change."""


def plain(recipe: Recipe) -> dict[str, Any]:
    """The recipe as JSON data, in the shape of its file."""
    made: dict[str, Any] = msgspec.to_builtins(recipe)
    shared, options = made.pop("components"), made.pop("options")
    del made["examples"]
    made["component"] = [{**one, **own} for one, own in zip(shared, options, strict=True)]
    return made


def digest_of(name: str, recipe: Recipe) -> str:
    """``sha256:…`` over everything in a recipe that decides a reward."""
    content = {"name": name, "semantics": SEMANTICS, **plain(recipe)}
    del content["description"], content["compose"]["range"]  # neither decides a reward
    if recipe.compose.neutral is None:  # came after profiles were pinned
        del content["compose"]["neutral"]
    for entry, options in zip(content["component"], recipe.options, strict=True):
        for key, default in getattr(options, "LATER", {}).items():
            if getattr(options, key) == default:
                del entry[key]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
