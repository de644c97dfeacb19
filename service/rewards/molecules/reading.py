"""From one token of text to a molecule, in the representation that was asked for, or why not.

A molecule here is a set of atoms and bonds that RDKit sanitizes: valences, aromaticity (Kekulé
form found) and rings. Never case-folded: ``c1ccccc1`` is benzene, ``C1CCCCC1`` cyclohexane.

Refused as MALFORMED, whatever RDKit would make of it: anything but SMILES' own characters (quotes,
``>`` of reactions and dative bonds, ``|`` of CXSMILES, ``~``, braces), an empty fragment
(``CCO.``), dummy atoms (``*``), atom-map numbers, atoms by number (``[#6]``); a SELFIES whose last
symbol says nothing (its decoder ignores what has no valence left); an InChI that is not the
standard InChI of what it describes. Isotopes, radicals, ions, metals and salts are molecules;
whether they may be an answer is up to the verifier.

Limits: 1,000 characters and 300 heavy atoms (TOO_LONG beyond), 60 independent rings. SELFIES and
InChI names of larger molecules are refused by length first. Polymers, enhanced stereo and
coordinates are not read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal

from service.rewards.molecules import Unreadable

if TYPE_CHECKING:
    from rdkit.Chem import Mol

MAX_CHARS: Final = 1000
MAX_HEAVY_ATOMS: Final = 300
MAX_RINGS: Final = 60

Structural = Literal["smiles", "selfies", "inchi"]
STRUCTURAL: Final = ("smiles", "selfies", "inchi")

_SMILES: Final = re.compile(r"[A-Za-z0-9@+\-\[\]()\\/%=#$:.]+")
_SELFIES: Final = re.compile(r"(?:\[[^\[\]]{1,20}\]|\.)+")
_SYMBOL: Final = re.compile(r"\[[^\[\]]*\]|\.")
_JUMP: Final = re.compile(r"\[[=#/\\-]*(?:Ring|Branch)([123])\]")
_INCHI: Final = re.compile(r"InChI=1S/[!-~]+")


def read(text: str, representation: str = "smiles") -> Mol:
    """The molecule that ``text`` writes.

    Args:
        text: one token; SMILES, SELFIES or standard InChI.
        representation: one of ``STRUCTURAL``.

    Raises:
        Unreadable: it writes none.
    """
    if len(text) > MAX_CHARS:
        raise Unreadable(f"{len(text)} characters, at most {MAX_CHARS} are read", long=True)
    readers: dict[str, Callable[[str], Mol]] = {
        "smiles": _read_smiles,
        "selfies": _read_selfies,
        "inchi": _read_inchi,
    }
    return readers[representation](text)


def quiet() -> Any:
    """A context in which RDKit writes nothing to the process's standard error."""
    from rdkit.rdBase import BlockLogs

    return BlockLogs()


def _read_smiles(text: str) -> Mol:
    from rdkit import Chem

    if not _SMILES.fullmatch(text) or "[#" in text:
        raise Unreadable("not a SMILES: a character or an atom that SMILES does not have")
    if text.startswith(".") or text.endswith(".") or ".." in text:
        raise Unreadable("not a SMILES: a fragment is empty")
    rules = Chem.SmilesParserParams()
    rules.sanitize = False
    rules.allowCXSMILES = False
    rules.parseName = False
    drawn = Chem.MolFromSmiles(text, rules)
    if drawn is None:
        raise Unreadable("not a SMILES: RDKit cannot parse it")
    _bound(drawn)
    try:
        molecule = Chem.RemoveHs(drawn)  # sanitizes
    except (Chem.MolSanitizeException, ValueError) as error:
        raise Unreadable(f"no molecule: {str(error).strip()[:200]}") from None
    return _whole(molecule)


def _read_selfies(text: str) -> Mol:
    import selfies

    if not _SELFIES.fullmatch(text):
        raise Unreadable("not a SELFIES: expected symbols in brackets")
    symbols = _SYMBOL.findall(text)
    if symbols[-1] == ".":
        raise Unreadable("not a SELFIES: a fragment is empty")
    if "[nop]" in symbols or "[epsilon]" in symbols:
        raise Unreadable("not a SELFIES: a symbol for nothing")
    try:
        written = selfies.decoder(text)
        idle = not _ends_in_index(symbols) and written == selfies.decoder("".join(symbols[:-1]))
    except selfies.DecoderError as error:
        raise Unreadable(f"not a SELFIES: {str(error).splitlines()[0]}") from None
    if not written:
        raise Unreadable("not a SELFIES: it has no atoms")
    if idle:
        raise Unreadable("not a SELFIES: the last symbol says nothing")
    if len(written) > 4 * MAX_CHARS:
        raise Unreadable("its SMILES is too long to be read", long=True)
    return _read_smiles(written)


def _ends_in_index(symbols: list[str]) -> bool:
    """Whether the last symbol is a number: those after a ring or a branch say how far it goes."""
    at = numbers = 0
    while at < len(symbols):
        found = _JUMP.fullmatch(symbols[at])
        numbers = int(found[1]) if found else 0
        at += 1 + numbers
    return numbers > 0


def _read_inchi(text: str) -> Mol:
    from rdkit import Chem

    if not _INCHI.fullmatch(text):
        raise Unreadable("not a standard InChI: expected InChI=1S/…")
    molecule = Chem.MolFromInchi(text)
    if molecule is None:
        raise Unreadable("not an InChI: RDKit cannot parse it")
    _bound(molecule)
    if inchi(molecule) != text:
        raise Unreadable("not the standard InChI of the molecule that it describes")
    return _whole(molecule)


def inchi(molecule: Mol) -> str:
    """The standard InChI; "" where there is none."""
    from rdkit import Chem

    made: str = Chem.MolToInchi(molecule)
    return made


def canonical(molecule: Mol) -> str:
    """RDKit's canonical isomeric SMILES."""
    from rdkit import Chem

    made: str = Chem.MolToSmiles(molecule)
    return made


def _bound(molecule: Mol) -> None:
    """Refuse what is too large, before rings are sought."""
    from rdkit import Chem

    atoms = molecule.GetNumAtoms()
    if atoms == 0:
        raise Unreadable("no molecule: it has no atoms")
    heavy = molecule.GetNumHeavyAtoms()
    if heavy > MAX_HEAVY_ATOMS:
        raise Unreadable(f"{heavy} heavy atoms, at most {MAX_HEAVY_ATOMS} are read", long=True)
    if molecule.GetNumBonds() - atoms + len(Chem.GetMolFrags(molecule)) > MAX_RINGS:
        raise Unreadable(f"more than {MAX_RINGS} rings", long=True)


def _whole(molecule: Mol) -> Mol:
    from rdkit import Chem

    for atom in molecule.GetAtoms():
        if atom.GetAtomicNum() == 0:
            raise Unreadable("no molecule: it has a dummy atom")
        if atom.GetAtomMapNum():
            raise Unreadable("no molecule: it has atom-map numbers")
    Chem.AssignStereochemistry(molecule, cleanIt=True, force=True, flagPossibleStereoCenters=True)
    return molecule
