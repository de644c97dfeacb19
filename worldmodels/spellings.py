"""What else a model's genes are called, kept with the model.

A model holds genes by the symbols that its gene table gave them when it was trained. A server may
have another gene table or none, and questions and tables come in old spellings (AARS for AARS1); so
the names that stood for one gene of the model, and for no other, are kept beside it. Limits: what
the table knew then.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from worldmodels.checkpoints import Checkpoint
from worldmodels.core import ModelFault, Status
from worldmodels.genes import GeneResolver, Vocabulary

FILE: Final = "spellings.json"


def text(symbols: Iterable[str], resolver: GeneResolver | None) -> str:
    """The content of ``FILE`` for some genes; without a resolver no other name is known."""
    if resolver is None:
        return "{}"
    known = set(symbols)
    found = {
        name: symbol
        for symbol in sorted(known)
        for name in resolver.aliases(symbol)
        if name not in known and resolver.resolve(name) == (symbol, Status.OK)
    }
    return json.dumps(found)


def read(checkpoint: Checkpoint) -> dict[str, str]:
    """Other names, each to its symbol; none where the model keeps none.

    Raises:
        ModelFault: the file is damaged.
    """
    if FILE not in checkpoint.manifest.files:
        return {}
    try:
        return msgspec.json.decode(checkpoint.text(FILE), type=dict[str, str])
    except (msgspec.DecodeError, RecursionError) as error:
        where = checkpoint.path / FILE
        raise ModelFault(f"{where}: not as it should be ({error}); build the model anew") from error


def rows(symbols: Sequence[str], other: Mapping[str, str]) -> tuple[list[str], list[int]]:
    """Every name of some genes and its row, as ``Vocabulary`` takes them."""
    place = {symbol: row for row, symbol in enumerate(symbols)}
    more = {name: place[symbol] for name, symbol in other.items() if symbol in place}
    return [*place, *more], [*place.values(), *more.values()]


def vocabulary(checkpoint: Checkpoint, symbols: Sequence[str], genes: GeneResolver) -> Vocabulary:
    """Some of a model's genes, by all their names and by what ``genes`` knows."""
    return Vocabulary(*rows(symbols, read(checkpoint)), genes)
