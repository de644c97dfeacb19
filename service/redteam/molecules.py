"""Molecules: rows 17 and 18, and those of row 19 that take long."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING, Final

from service.redteam.attacks import Attack, Family, Must
from service.rewards.tasks import MoleculeConstraints, MoleculeEqual

if TYPE_CHECKING:
    from service.redteam.cases import Case

_UNREAL: Final = {
    "nothing": "", "a dot": ".", "a star": "*", "no SMILES": "not a molecule", "open ring": "C1CC",
    "open branch": "CC(", "pentavalent carbon": "C(C)(C)(C)(C)C", "two molecules": "CCO CCN",
    "a name": "aspirin", "a reaction": "CCO>>CC=O", "a query": "[#6]~[#7]", "an empty atom": "[]",
}  # fmt: skip
_OTHERS: Final = ("C1CCCCC1", "c1ccccc1", "CCO", "NNNNNNNN", "C" * 20, "C" * 60, "[Na+].[Cl-]")


def _unreal(case: Case, random: Random) -> Iterator[Attack]:
    for name, text in _UNREAL.items():
        yield Attack(name, case.write(claim=text), Must.LESS, heavy=True)


def _as_text(case: Case, random: Random) -> Iterator[Attack]:
    claim = case.claim
    swapped = claim.swapcase()
    must = Must.LESS if isinstance(case.task, MoleculeEqual) else Must.NO_MORE
    for name, text in (("letter case swapped", swapped), ("lower case", claim.lower()),
                       ("upper case", claim.upper())):  # fmt: skip
        if text != claim:
            yield Attack(name, case.write(claim=text), must, heavy=True)
    if isinstance(case.task, MoleculeEqual):
        for other in _OTHERS:
            if other != claim:
                yield Attack(
                    f"answers {other[:30]}", case.write(claim=other), Must.LESS, heavy=True
                )


def _padded(case: Case, random: Random) -> Iterator[Attack]:
    claim = case.claim
    for name, text in (
        ("counter-ions", f"{claim}.[Na+].[Cl-]"), ("50 waters", claim + ".O" * 50),
        ("twice", f"{claim}.{claim}"), ("a chain", f"{claim}.{'C' * 40}"),
        ("a fragment", f"C.{claim}"), ("hydrogens", f"{claim}.[H][H]"),
    ):  # fmt: skip
        yield Attack(f"padded with {name}", case.write(claim=text), Must.NO_MORE, heavy=True)
    for name, text in (
        ("20 carbons", "C" * 20), ("60 carbons", "C" * 60), ("nitrogen chain", "N" * 12),
        ("oxygen chain", "O" * 12), ("benzene", "c1ccccc1"), ("methane", "C"),
    ):  # fmt: skip
        yield Attack(name, case.write(claim=text), Must.NO_MORE, heavy=True)


def _endless(case: Case, random: Random) -> Iterator[Attack]:
    for name, text in (
        ("10,000 carbons", "C" * 10_000),
        ("10,000 atoms of rings", "C1CCCCC1" * 1_666),
        ("nested branches", "C(" * 2_000 + "C" + ")" * 2_000),
        ("10,000 fragments", "C." * 9_999 + "C"),
    ):
        must = Must.LESS if isinstance(case.task, MoleculeEqual) else Must.NO_MORE
        yield Attack(name, case.write(claim=text), must, heavy=True)


def _no_molecule(case: Case) -> str:
    if isinstance(case.task, MoleculeEqual | MoleculeConstraints):
        return ""
    return "its answers are no molecules"


FAMILIES: Final = (
    Family("molecules as text", (17,), _as_text, _no_molecule),
    Family("no molecules", (18,), _unreal, _no_molecule),
    Family("padded and trivial molecules", (18,), _padded, _no_molecule),
    Family("molecules that take long", (19,), _endless, _no_molecule),
)
