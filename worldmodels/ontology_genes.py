"""Whether annotations call genes by names that the genes of tasks can be found under.

A table that does not is no fault by itself (how common terms are needs no gene's name), but what is
asked of a gene then finds nothing. Limits: a sample is looked at, and a few symbols (H2AC11) look
like accessions, so a table of hardly any other gene is doubted wrongly.
"""

from __future__ import annotations

import itertools
import re
from typing import Final

from worldmodels.core import Status
from worldmodels.genes import GeneResolver
from worldmodels.ontology import Annotations

_SAMPLE: Final = 1000
_FEW: Final = 0.1
_ACCESSION: Final = re.compile(
    r"(?:[OPQ][0-9][A-Z0-9]{3}[0-9]|[A-NR-Z][0-9](?:[A-Z][A-Z0-9]{2}[0-9]){1,2})(?:-\d+)?"
    r"|URS[0-9A-F]{10}(?:_\d+)?|CPX-\d+"
)
"""UniProt's own pattern of an accession (uniprot.org/help/accession_numbers), isoforms too, and
those of RNAcentral and the Complex Portal, which GO annotates beside proteins."""


def doubt(annotations: Annotations, genes: GeneResolver) -> str | None:
    """Why annotations will hardly be found by a gene's symbol, with what to do; None: no doubt.

    Of up to 1,000 names, spread over the table: fewer than one in ten is known to the gene tables,
    or more than half look like accessions (UniProt, RNAcentral, Complex Portal).
    """
    count = len(annotations.terms_of)
    step = max(1, -(-count // _SAMPLE))
    names = list(itertools.islice(annotations.terms_of, 0, None, step))
    if not names:
        return None
    bring = "bring a GAF (goa_human.gaf), which has the symbol of every accession"
    accessions = [name for name in names if _ACCESSION.fullmatch(name)]
    if 2 * len(accessions) > len(names):
        return f"genes are called by accession ({accessions[0]}), not by symbol; {bring}"
    known = sum(genes.resolve(name)[1] is Status.OK for name in names)
    if known < _FEW * len(names):
        return (
            f"of {len(names):,} gene names tried, {known:,} are symbols of the gene tables (the "
            f"first: {names[0][:60]!r}); {bring}, or gene tables of this organism"
        )
    return None
