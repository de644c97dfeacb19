"""The cards of served models: the current one, or why there is none.

A card stands for the model whose digest it names. One that was made for another state of the model
is stale, one that cannot be read is damaged; neither is served. A card that is replaced while the
server runs is seen at once; a first card is seen when the model is loaded again. A remote model's
card stays with the server it comes from, of which only the summary is known here.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from service.errors import Conflict, NotFound, StartupFault
from worldmodels.cards import record
from worldmodels.cards.record import Card
from worldmodels.core import ModelFault, ModelSpec


def current(spec: ModelSpec) -> Card:
    """The card of the model as it is loaded.

    Raises:
        NotFound: it has none, or a damaged one; says how to make one.
        Conflict: the card is of another state of the model.
    """
    path = _path(spec)
    if path is None:
        where = (
            "; its card is with the server it comes from"
            if spec.card
            else f"; make one from labelled rows: {_how(spec)}"
        )
        raise NotFound(f"model {spec.name!r} has no card here{where}", field="model")
    try:
        stat = path.stat()
        card = _read(path, stat.st_mtime_ns, stat.st_size)
    except (OSError, ModelFault) as fault:
        raise NotFound(
            f"model {spec.name!r} has no card that can be read ({fault}): {_how(spec)}",
            field="model",
        ) from fault
    if not card.of(spec.digest):
        raise Conflict(
            f"the card of model {spec.name!r} is stale: it was made for {card.model.digest[:19]}… "
            f"and {spec.digest[:19]}… is loaded; make it anew: {_how(spec)}",
            field="model",
        )
    return card


def summary(spec: ModelSpec) -> dict[str, Any] | None:
    """What lists of models show: evidence, per-gene AUROC by relation, date and address.

    Returns:
        None where there is no card; ``{"fault": …}`` where there is one that does not count.
    """
    if spec.card is None:
        return None
    if _path(spec) is None:
        return _of_elsewhere(spec.card)
    try:
        return record.summary(current(spec), f"/v1/models/{quote(spec.name, safe='')}/card")
    except (NotFound, Conflict) as fault:
        return {"fault": fault.message}


def summary_text(spec: ModelSpec) -> str:
    """``summary`` as JSON; empty where there is no card."""
    found = summary(spec)
    return "" if found is None else json.dumps(found)


def described(spec: ModelSpec) -> str:
    """A few words for people: whether there is a card, and whether it counts."""
    found = summary(spec)
    if found is None:
        return "no card"
    if fault := found.get("fault"):
        return str(fault)
    evidence = found.get("evidence")
    kinds = {True: "evidence", False: "NOT evidence"}
    told = kinds[evidence] if isinstance(evidence, bool) else "unverified"
    date = found.get("date")
    known = isinstance(date, str) and date.isprintable()  # a remote server may say anything
    return f"card of {date if known else 'unknown date'} ({told})"


def require(spec: ModelSpec) -> None:
    """Refuse a model without a card, for servers that are set to.

    Raises:
        StartupFault: no current card, or one of data that the model was trained on.
    """
    found = summary(spec)
    if found is None or "fault" in found:
        why = "has no card" if found is None else found["fault"]
    elif found.get("evidence") is False:
        why = "has a card of data that it was trained on"
    else:
        return
    raise StartupFault(
        f"model {spec.name!r}: {why}; server.require_card is set. Make one ({_how(spec)}), or set "
        "allow_uncarded = true in its entry under [[models]] (the starter: starter.enabled = false)"
    )


def figure(spec: ModelSpec, name: str) -> Path:
    """The file of a figure of the current card; raises as ``current``, and if it is not there."""
    current(spec)
    path = _path(spec)
    assert path is not None
    found = path.parent / name
    if not found.is_file():
        raise NotFound(f"the card of model {spec.name!r} has no file {name}: {_how(spec)}")
    return found


def _path(spec: ModelSpec) -> Path | None:
    """The card's file; None where the model's card is not a file here."""
    here = spec.family != "remote"  # one that another process of this server holds is here
    return Path(spec.card) if spec.card and here and not spec.card.startswith("{") else None


def _of_elsewhere(text: str) -> dict[str, Any] | None:
    """What a remote server says of its card; it may be of a version that says less."""
    try:
        found = msgspec.json.decode(text, type=dict[str, Any])  # no NaN, no lone surrogate
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return {**found, "url": None}


@functools.lru_cache(maxsize=64)
def _read(path: Path, changed: int, size: int) -> Card:
    """Read once for each state of the file."""
    del changed, size
    return record.read(path)


def _how(spec: ModelSpec) -> str:
    return f"soft-verifier card {spec.name} --data FILE"
