"""Functional groups by name: our own table of SMARTS, one match for each group in the molecule.

Every pattern is anchored on one atom that the group has once (the carbonyl carbon of an ester, the
oxygen of an ether), so that the number of matches is the number of groups. Groups that contain
others exclude them: an ester is no ether, a carboxylic acid no alcohol, an amide no amine, an
imide or a hydrazide no amide. An acid counts with its proton or without it. Definitions follow the
IUPAC glossary of class names (Moss, Smith and Tavernier, Pure Appl. Chem. 1995, 67, 1307); where
it leaves a choice, the comment says which. ``amine`` means primary, secondary or tertiary, and
never an aromatic nitrogen.

Names are read without case, blanks, hyphens and underscores, in singular or plural.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rdkit.Chem import Mol

_AMINE: Final = "!$(N[#6]=[O,S,N]);!$(N-[!#6;!#1]);!$(NC#N);!$(N[#6+])"
_ACYL: Final = "$([CX3](=O)([#6])),$([CX3H1](=O))"
_AMIDE_N: Final = "[NX3;!$(N([#6]=O)[#6]=O);!$(N[O,N])"

GROUPS: Final[dict[str, str]] = {
    # hydrocarbons
    "alkene": "[CX3;$([CX3]=[CX3])]=[CX3]",
    "alkyne": "[CX2]#[CX2]",
    "allene": "[CX2](=[CX3])=[CX3]",
    "methyl": "[CX4H3]",
    "tert-butyl": "[CX4H0]([CH3])([CH3])[CH3]",
    "isopropyl": "[CX4H1]([CH3])([CH3])[!$([CH3])]",
    # halogens
    "halide": "[F,Cl,Br,I;X1;$(*[#6])]",
    "fluoride": "[FX1;$(F[#6])]",
    "chloride": "[ClX1;$(Cl[#6])]",
    "bromide": "[BrX1;$(Br[#6])]",
    "iodide": "[IX1;$(I[#6])]",
    "alkyl halide": "[F,Cl,Br,I;X1;$(*[CX4])]",
    "alkyl fluoride": "[FX1;$(F[CX4])]",
    "alkyl chloride": "[ClX1;$(Cl[CX4])]",
    "alkyl bromide": "[BrX1;$(Br[CX4])]",
    "alkyl iodide": "[IX1;$(I[CX4])]",
    "aryl halide": "[F,Cl,Br,I;X1;$(*c)]",
    "aryl fluoride": "[FX1;$(Fc)]",
    "aryl chloride": "[ClX1;$(Clc)]",
    "aryl bromide": "[BrX1;$(Brc)]",
    "aryl iodide": "[IX1;$(Ic)]",
    "trifluoromethyl": "[CX4;$(C(F)(F)(F)[!F])]",
    # single-bonded oxygen
    "hydroxyl": "[OX2H;$(O[CX4]),$(Oc),$(O[CX3]=[CX3])]",  # alcohol, phenol or enol
    "alcohol": "[OX2H;$(O[CX4])]",
    "primary alcohol": "[OX2H;$(O[CX4H2][#6]),$(O[CH3])]",
    "secondary alcohol": "[OX2H;$(O[CX4H1]([#6])[#6])]",
    "tertiary alcohol": "[OX2H;$(O[CX4]([#6])([#6])[#6])]",
    "phenol": "[OX2H;$(Oc)]",
    "enol": "[OX2H;$(O[CX3]=[CX3])]",
    "ether": "[OX2;$(O([#6;!$([#6]=[O,S,N])])[#6;!$([#6]=[O,S,N])]);!$(O1[#6][#6]1);"
    "!$(O[CX4][OX2,NX3])]",  # no acetal, no epoxide
    "alkyl aryl ether": "[OX2;$(O([CX4])c)]",
    "epoxide": "[OX2r3]1[#6r3][#6r3]1",
    "acetal": "[CX4;$(C([OX2][#6])[OX2][#6]);!$(C([OX2])([OX2])[OX2])]",
    "hemiacetal": "[CX4;$(C([OX2H])[OX2][#6])]",
    "peroxide": "[OX2][OX2]",
    "1,2-diol": "[OX2H][CX4][CX4][OX2H]",
    "1,2-amino alcohol": "[OX2H][CX4][CX4][NX3;!$(N[#6]=[O,S,N]);!$(N[!#6;!#1])]",
    # carbonyls
    "carbonyl": "[CX3;$(C=O)]=O",
    "aldehyde": "[CX3;$([CH1](=O)[#6]),$([CH2]=O)]",
    "ketone": "[CX3;$(C(=O)([#6])[#6])]",
    "carboxylic acid": "[CX3;$(C(=O)[OX2H]),$(C(=O)[O-]);$(C[#6]),$([CH1])]",
    "carboxylate": "[CX3;$(C(=O)[O-])]",
    "ester": f"[{_ACYL};$(C[OX2][#6;!$([#6]=[O,N])])]",
    "lactone": f"[{_ACYL};R;$(C(=O)@[OX2]@[#6;!$([#6]=O)])]",
    "anhydride": "[OX2;$(O([CX3]=O)[CX3]=O)]",
    "acyl halide": "[CX3;$(C(=O)([F,Cl,Br,I])[#6])]",
    "carbonate": "[CX3;$(C(=O)([OX2][#6])[OX2][#6])]",
    "carbamate": "[CX3;$(C(=O)([OX2][#6])[NX3])]",
    "urea": "[CX3;$(C(=O)([NX3])[NX3])]",
    "amide": f"[{_ACYL};$(C(=O){_AMIDE_N}])]",
    "primary amide": f"[{_ACYL};$(C(=O){_AMIDE_N};H2])]",
    "secondary amide": f"[{_ACYL};$(C(=O){_AMIDE_N};H1])]",
    "tertiary amide": f"[{_ACYL};$(C(=O){_AMIDE_N};H0])]",
    "lactam": f"[{_ACYL};R;$(C(=O)@[NX3])]",
    "imide": "[NX3;$(N([CX3]=O)[CX3]=O)]",
    "hydroxamic acid": "[CX3;$(C(=O)[NX3][OX2H])]",
    "enone": "[CX3](=O)([#6])[CX3]=[CX3]",
    "1,3-dicarbonyl": "[CX3](=O)[CX4][CX3]=O",
    # nitrogen
    "amine": f"[NX3,$([NX4+;!H0]);$(N[#6]);{_AMINE}]",
    "primary amine": f"[NX3H2,NX4H3+;$(N[#6]);{_AMINE}]",
    "secondary amine": f"[NX3H1,NX4H2+;$(N([#6])[#6]);{_AMINE}]",
    "tertiary amine": f"[NX3H0,NX4H1+;$(N([#6])([#6])[#6]);{_AMINE}]",
    "quaternary ammonium": "[NX4H0+;$(N([#6])([#6])([#6])[#6])]",
    "aniline": f"[NX3;$(Nc);{_AMINE}]",
    "imine": "[NX2;$(N=[CX3]([#6,#1])[#6,#1]),$(N=[CX3H1][#6]);!$(N[!#6;!#1])]",
    "oxime": "[NX2;$(N(=[CX3])[OX2])]",
    "hydrazone": "[NX2;$(N(=[CX3])[NX3])]",
    "hydrazine": "[NX3;!$(N[#6]=[O,S,N])]-[NX3;!$(N[#6]=[O,S,N])]",
    "hydrazide": "[CX3;$(C(=O)[NX3][NX3])]",
    "amidine": "[CX3;$(C(=[NX2])[NX3]);!$(C(=[NX2])([NX3])[NX3]);!$(C(=N)[O,S])]",
    "guanidine": "[CX3;$(C(=[NX2,NX3+])([NX3])[NX3])]",
    "nitrile": "[NX1]#[CX2;$(C[#6])]",
    "isonitrile": "[CX1-]#[NX2+]",
    "isocyanate": "[CX2](=O)=[NX2]",
    "isothiocyanate": "[CX2](=S)=[NX2]",
    "azide": "[NX2]=[NX2+]=[NX1-]",
    "azo": "[NX2;$(N[#6])]=[NX2;$(N[#6])]",
    "diazonium": "[NX2+]#[NX1]",
    "nitro": "[NX3+](=O)[O-]",
    "nitroso": "[NX2;$(N[#6,#7])]=[OX1]",
    "n-oxide": "[NX4+,nX3+;$([#7][O-])]",
    # sulfur, phosphorus, boron, silicon
    "thiol": "[SX2H;$(S[#6;!$([#6]=O)])]",
    "sulfide": "[SX2;$(S([#6;!$([#6]=[O,S])])[#6;!$([#6]=[O,S])])]",
    "disulfide": "[SX2;$(S[#6])][SX2;$(S[#6])]",
    "sulfoxide": "[SX3;$(S(=O)([#6])[#6])]",
    "sulfone": "[SX4;$(S(=O)(=O)([#6])[#6])]",
    "sulfonamide": "[SX4;$(S(=O)(=O)([#6])[NX3])]",
    "sulfonic acid": "[SX4;$(S(=O)(=O)([#6])[OX2H,O-])]",
    "sulfonate ester": "[SX4;$(S(=O)(=O)([#6])[OX2][#6])]",
    "sulfonyl chloride": "[SX4;$(S(=O)(=O)([#6])Cl)]",
    "sulfate": "[SX4;$(S(=O)(=O)([OX2,O-])[OX2,O-])]",
    "sulfamide": "[SX4;$(S(=O)(=O)([NX3])[NX3])]",
    "thioester": "[CX3;$(C(=O)([#6])[SX2][#6])]",
    "thioamide": "[CX3;$(C(=S)([#6,#1])[NX3]),$([CX3H](=S)[NX3])]",
    "thiourea": "[CX3;$(C(=S)([NX3])[NX3])]",
    "thiocyanate": "[SX2;$(S([#6])C#N)]",
    "phosphate": "[PX4;$(P(=O)([OX2,O-])([OX2,O-])[OX2,O-])]",
    "phosphonate": "[PX4;$(P(=O)([#6])([OX2,O-])[OX2,O-])]",
    "phosphine": "[PX3;$(P[#6]);!$(P-[!#6;!#1])]",
    "boronic acid": "[BX3;$(B([#6])([OX2H])[OX2H])]",
    "boronate ester": "[BX3;$(B([#6])([OX2][#6])[OX2][#6])]",
    "silyl ether": "[OX2;$(O([#6])[SiX4])]",
    # rings, each counted by an atom that it has once
    "furan": "[o;r5;$(o1cccc1)]",
    "thiophene": "[s;r5;$(s1cccc1)]",
    "pyrrole": "[n;r5;$(n1cccc1)]",
    "imidazole": "[c;r5;$(c1nccn1)]",
    "pyrazole": "[n;r5;X3;$(n1nccc1)]",
    "oxazole": "[o;r5;$(o1cncc1)]",
    "isoxazole": "[o;r5;$(o1nccc1)]",
    "thiazole": "[s;r5;$(s1cncc1)]",
    "tetrazole": "[c;r5;$(c1nnnn1)]",
    "pyridine": "[n;r6;$(n1ccccc1)]",
    "pyrimidine": "[c;r6;$(c1ncccn1)]",
    "indole": "[n;r5;$(n1ccc2ccccc12)]",
    "piperidine": "[N;r6;$(N1[CX4][CX4][CX4][CX4][CX4]1)]",
    "piperazine": "[N;r6]1[CX4][CX4][N;r6][CX4][CX4]1",
    "morpholine": "[O;r6;$(O1[CX4][CX4]N[CX4][CX4]1)]",
    "pyrrolidine": "[N;r5;$(N1[CX4][CX4][CX4][CX4]1)]",
}
_RINGS: Final = {"arene": None, "benzene": 6}
"""Groups that are rings: counted by RDKit's ring perception."""
GROUP_NAMES: Final = tuple(sorted({*GROUPS, *_RINGS}))


def _key(name: str) -> str:
    kept = "".join(one for one in name.lower() if one not in " -_")
    return kept[:-1] if kept.endswith("s") and not kept.endswith("ss") else kept


_BY_KEY: Final = {_key(name): name for name in GROUP_NAMES} | {
    _key(alias): name
    for alias, name in {
        "aromatic ring": "arene", "phenyl": "benzene", "benzene ring": "benzene",
        "hydroxy": "hydroxyl", "nitrile group": "nitrile", "cyano": "nitrile",
        "carboxyl": "carboxylic acid", "carboxylic ester": "ester", "organohalogen": "halide",
        "halogen": "halide", "thioether": "sulfide", "mercaptan": "thiol", "oxirane": "epoxide",
        "azo group": "azo", "arylchloride": "aryl chloride", "dialkylether": "ether",
        "carbamic ester": "carbamate", "urethane": "carbamate", "lactame": "lactam",
        "1,2-aminoalcohol": "1,2-amino alcohol", "vicinal diol": "1,2-diol",
        "carboxylic amide": "amide", "nitro group": "nitro", "sulphonamide": "sulfonamide",
    }.items()
}  # fmt: skip


def group_name(name: str) -> str | None:
    """The table's name for a group, None where it has none."""
    return _BY_KEY.get(_key(name[:100]))


@functools.lru_cache(maxsize=256)
def _pattern(name: str) -> Mol:
    from rdkit import Chem

    return Chem.MolFromSmarts(GROUPS[name])


def count_groups(molecule: Mol, name: str) -> int:
    """How many groups of that name (as ``group_name`` gives it) the molecule has."""
    if name not in _RINGS:
        return len(molecule.GetSubstructMatches(_pattern(name), uniquify=True, maxMatches=1000))
    size = _RINGS[name]
    rings = molecule.GetRingInfo().AtomRings()
    aromatic = [
        ring for ring in rings if all(molecule.GetAtomWithIdx(at).GetIsAromatic() for at in ring)
    ]
    if size is None:
        return len(aromatic)
    carbon = (all(molecule.GetAtomWithIdx(at).GetAtomicNum() == 6 for at in r) for r in aromatic)
    return sum(only and len(ring) == size for only, ring in zip(carbon, aromatic, strict=True))
