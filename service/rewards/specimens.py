"""A small library of real terms: for tests, documentation and red teams, without any download.

A server looks nothing up here unless it is told to: ``as_obo`` and ``as_table`` are the texts of
files that ``[knowledge.NAME]`` may point at. Terms, names, synonyms and annotations are those of
the sources; each ontology is a cutting, so that a term's parent is the nearest ancestor that is in
it, and a gene has only such annotations. Information computed from it is that of the cutting.

Sources: Gene Ontology and its annotations (geneontology.org, CC BY 4.0; Ashburner et al. 2000),
Cell Ontology (CC BY 4.0; Diehl et al. 2016), Mondo (CC BY 4.0; Vasilevsky et al. 2022).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from typing import Final

from service.rewards.library import Knowledge, Library
from worldmodels.genes import GeneResolver
from worldmodels.ontology import Annotations, Ontology, Scope, Synonym, Term

# id | name | parents | synonyms, exact unless a scope stands before them
_GO: Final = """
0000049 | tRNA binding | 0003723
0000785 | chromatin | 0032991
0000981 | DNA-binding transcription factor activity, RNA polymerase II-specific | 0003700
0001772 | immunological synapse | 0110165
0001775 | cell activation | 0009987
0002161 | aminoacyl-tRNA editing activity | 0003824
0002250 | adaptive immune response | 0006955
0002376 | immune system process | 0008150
0002429 | immune response-activating cell surface receptor signaling pathway | 0002376 0007166
0003674 | molecular_function |
0003676 | nucleic acid binding | 0005488
0003677 | DNA binding | 0003676
0003700 | DNA-binding transcription factor activity | 0140110
0003723 | RNA binding | 0003676
0003824 | catalytic activity | 0003674
0004813 | alanine-tRNA ligase activity | 0016874
0004888 | transmembrane signaling receptor activity | 0038023
0005178 | integrin binding | 0005515
0005488 | binding | 0003674
0005509 | calcium ion binding | 0046872
0005515 | protein binding | 0005488
0005524 | ATP binding | 0043167
0005575 | cellular_component |
0005634 | nucleus | 0043231 | cell nucleus
0005654 | nucleoplasm | 0110165
0005730 | nucleolus | 0043229
0005737 | cytoplasm | 0110165
0005739 | mitochondrion | 0043231 | mitochondria
0005783 | endoplasmic reticulum | 0043231 | ER
0005788 | endoplasmic reticulum lumen | 0110165
0005789 | endoplasmic reticulum membrane | 0016020
0005829 | cytosol | 0110165
0005886 | plasma membrane | 0016020 | cell membrane
0006399 | tRNA metabolic process | 0008152 0009987
0006412 | translation | 0008152 0009987 | protein biosynthesis
0006418 | tRNA aminoacylation for protein translation | 0006399
0006419 | alanyl-tRNA aminoacylation | 0006418
0006457 | protein folding | 0009987
0006915 | apoptotic process | 0012501 | narrow: apoptosis
0006950 | response to stress | 0050896
0006955 | immune response | 0002376 0050896
0006974 | DNA damage response | 0033554
0007154 | cell communication | 0009987
0007165 | signal transduction | 0009987 0050789
0007166 | cell surface receptor signaling pathway | 0007165
0008033 | tRNA processing | 0006399
0008150 | biological_process |
0008152 | metabolic process | 0008150
0008270 | zinc ion binding | 0046872
0008284 | positive regulation of cell population proliferation | 0050789
0008285 | negative regulation of cell population proliferation | 0050789
0009897 | external side of plasma membrane | 0110165
0009986 | cell surface | 0110165
0009987 | cellular process | 0008150
0012501 | programmed cell death | 0009987
0016020 | membrane | 0110165
0016874 | ligase activity | 0003824
0016887 | ATP hydrolysis activity | 0003824
0019899 | enzyme binding | 0005515
0030246 | carbohydrate binding | 0005488
0030968 | endoplasmic reticulum unfolded protein response | 0007165 0034976
0031625 | ubiquitin protein ligase binding | 0019899
0032991 | protein-containing complex | 0005575
0033554 | cellular response to stress | 0006950 0009987
0034975 | protein folding in endoplasmic reticulum | 0006457
0034976 | response to endoplasmic reticulum stress | 0033554 | ER stress response
0036503 | ERAD pathway | 0008152 0034976
0038023 | signaling receptor activity | 0060089
0042101 | T cell receptor complex | 0098797
0042105 | alpha-beta T cell receptor complex | 0042101
0042110 | T cell activation | 0046649
0042802 | identical protein binding | 0005515
0042981 | regulation of apoptotic process | 0050789
0043065 | positive regulation of apoptotic process | 0042981
0043066 | negative regulation of apoptotic process | 0042981
0043167 | ion binding | 0005488
0043169 | cation binding | 0043167
0043226 | organelle | 0110165
0043227 | membrane-bounded organelle | 0043226
0043229 | intracellular organelle | 0043226
0043231 | intracellular membrane-bounded organelle | 0043227 0043229
0045059 | positive thymic T cell selection | 0002376
0045321 | leukocyte activation | 0001775 0002376
0045944 | positive regulation of transcription by RNA polymerase II | 0050789
0046631 | alpha-beta T cell activation | 0042110
0046649 | lymphocyte activation | 0045321
0046872 | metal ion binding | 0043169
0050789 | regulation of biological process | 0065007
0050821 | protein stabilization | 0065007
0050851 | antigen receptor-mediated signaling pathway | 0002429
0050852 | T cell receptor signaling pathway | 0050851
0050896 | response to stimulus | 0008150
0051082 | unfolded protein binding | 0005515
0051726 | regulation of cell cycle | 0050789
0060089 | molecular transducer activity | 0003674
0061077 | chaperone-mediated protein folding | 0006457
0065007 | biological regulation | 0008150
0070062 | extracellular exosome | 0043227
0098797 | plasma membrane protein complex | 0032991
0110165 | cellular anatomical entity | 0005575
0140110 | transcription regulator activity | 0003674
"""

_CL: Final = """
0000000 | cell |
0000057 | fibroblast | 0000000
0000084 | T cell | 0000542 | T-cell; T lymphocyte; T-lymphocyte
0000127 | astrocyte | 0000000 | astrocytic glia
0000182 | hepatocyte | 0000000
0000232 | erythrocyte | 0000000 | red blood cell; RBC
0000235 | macrophage | 0000738
0000236 | B cell | 0000542 | B-cell; B lymphocyte; B-lymphocyte
0000451 | dendritic cell | 0000738
0000540 | neuron | 0000000 | nerve cell
0000542 | lymphocyte | 0000738
0000576 | monocyte | 0000738
0000623 | natural killer cell | 0000542 | NK cell
0000624 | CD4-positive, alpha-beta T cell | 0000789 | CD4-positive, alpha-beta T lymphocyte
0000625 | CD8-positive, alpha-beta T cell | 0000789 | CD8-positive, alpha-beta T lymphocyte
0000738 | leukocyte | 0000000 | leucocyte; white blood cell
0000789 | alpha-beta T cell | 0000084 | alpha-beta T lymphocyte
0000815 | regulatory T cell | 0000084 | regulatory T-cell; regulatory T lymphocyte
"""

_MONDO: Final = """
0000001 | disease |
0004975 | Alzheimer disease | 0005559 | Alzheimer's disease
0004976 | amyotrophic lateral sclerosis | 0005559 | ALS; Lou Gehrig disease
0004992 | cancer | 0000001
0005015 | diabetes mellitus | 0000001
0005059 | leukemia | 0004992 | leukaemia
0005071 | nervous system disorder | 0000001
0005148 | type 2 diabetes mellitus | 0005015 | type II diabetes mellitus
0005180 | Parkinson disease | 0005559 | Parkinson's disease
0005429 | prion disease | 0005071
0005559 | neurodegenerative disease | 0005071
0007739 | Huntington disease | 0005559 | Huntington chorea
0009061 | cystic fibrosis | 0000001 | mucoviscidosis
0018177 | glioblastoma | 0004992 | glioblastoma multiforme
0018875 | Li-Fraumeni syndrome | 0000001
"""

# symbol, UniProt accession, GO terms
_ANNOTATIONS: Final = """
AARS1 P49588 0000049 0002161 0004813 0005524 0005634 0005737 0005739 0005829 0006418
  0006419 0008033 0008270 0016020 0070062
CALR P27797 0003677 0003723 0005178 0005509 0005515 0005634 0005737 0005783 0005788
  0005789 0005829 0006457 0008270 0008284 0009897 0009986 0016020 0030246 0031625 0034975
  0036503 0042981 0050821 0051082 0070062
CD3D P04234 0002250 0004888 0005515 0005737 0005886 0007166 0009897 0042101 0042105
  0042802 0045059 0046631 0050852
CD3E P07766 0001772 0002250 0004888 0005515 0005783 0005886 0007166 0009897 0042101
  0042105 0042110 0042802 0042981 0045059 0046631 0050852
HSPA5 P11021 0005509 0005515 0005524 0005634 0005737 0005739 0005783 0005788 0005789
  0005829 0005886 0009986 0016020 0016887 0019899 0030968 0031625 0032991 0034975 0034976
  0036503 0043066 0043231 0045944 0051082 0070062
TP53 P04637 0000785 0000981 0003677 0003700 0005515 0005634 0005654 0005730 0005737
  0005739 0005783 0005829 0006974 0008270 0008285 0019899 0031625 0032991 0042802 0042981
  0043065 0043066 0045944 0050821 0051726
"""


@functools.cache
def ontologies() -> dict[str, Ontology]:
    """The cuttings: ``go``, ``cl`` and ``mondo``."""
    return {
        "go": _ontology("GO", _GO),
        "cl": _ontology("CL", _CL),
        "mondo": _ontology("MONDO", _MONDO),
    }


@functools.cache
def annotation_table() -> Annotations:
    """What GO says of a few genes, by symbol; UniProt accessions are other names."""
    terms_of: dict[str, frozenset[str]] = {}
    names: dict[str, str] = {}
    for line in _ANNOTATIONS.replace("\n  ", " ").strip().split("\n"):
        symbol, accession, *terms = line.split()
        names[accession] = symbol
        terms_of[symbol] = frozenset(f"GO:{term}" for term in terms)
    return Annotations(terms_of, _digest(_ANNOTATIONS), names)


def specimen_library(genes: GeneResolver | None = None) -> Library:
    """A library with knowledge ``go`` (annotated), ``cl`` and ``mondo``."""
    knowledge = {
        name: Knowledge(name, ontology, annotation_table() if name == "go" else None)
        for name, ontology in ontologies().items()
    }
    return Library(genes or GeneResolver(), knowledge)


def as_obo(name: str) -> str:
    """One of the cuttings as an OBO file.

    Raises:
        KeyError: no such cutting.
    """
    return "".join(("format-version: 1.2\n", *_stanzas(ontologies()[name])))


def as_table() -> str:
    """The annotations as a table of gene and term."""
    rows = annotation_table().terms_of.items()
    return "".join(f"{gene}\t{term}\n" for gene, terms in rows for term in sorted(terms))


def _ontology(prefix: str, text: str) -> Ontology:
    terms: dict[str, Term] = {}
    for line in text.strip().split("\n"):
        number, name, parents, *synonyms = (cell.strip() for cell in line.split("|"))
        named = tuple(synonym for cell in synonyms for synonym in _synonyms(cell))
        above = tuple(f"{prefix}:{parent}" for parent in parents.split())
        terms[f"{prefix}:{number}"] = Term(f"{prefix}:{number}", name, above, "", named)
    bare = Ontology(terms, "")
    placed = {
        term_id: Term(term_id, term.name, term.parents, _root(bare, term_id), term.synonyms)
        for term_id, term in terms.items()
    }
    return Ontology(placed, _digest(text))


def _synonyms(cell: str) -> Iterator[Synonym]:
    scope: Scope = "exact"
    if cell.startswith("narrow: "):
        scope, cell = "narrow", cell.removeprefix("narrow: ")
    return (Synonym(text.strip(), scope) for text in cell.split(";"))


def _root(ontology: Ontology, term_id: str) -> str:
    above = ontology.ancestors(term_id) | {term_id}
    return ontology.terms[next(iter(above & ontology.roots))].name


def _stanzas(ontology: Ontology) -> Iterator[str]:
    for term in ontology.terms.values():
        yield f"\n[Term]\nid: {term.id}\nname: {term.name}\nnamespace: {term.namespace}\n"
        for synonym in term.synonyms:
            yield f'synonym: "{synonym.text}" {synonym.scope.upper()} []\n'
        for parent in term.parents:
            yield f"is_a: {parent} ! {ontology.terms[parent].name}\n"


def _digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
