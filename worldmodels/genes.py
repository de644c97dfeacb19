"""Gene names to one current symbol each, never by guessing."""

from __future__ import annotations

from worldmodels.core import Status


class GeneResolver:
    """(contract; the table-backed implementation follows)."""

    label: str = "symbols as they are"

    def resolve(self, name: str) -> tuple[str, Status]:
        """Canonical symbol and OK, or the name and UNKNOWN_GENE / AMBIGUOUS_GENE."""
        return name.strip(), Status.OK

    def canonical(self, name: str) -> str:
        """The symbol if the name resolves, else the cleaned name."""
        return self.resolve(name)[0]

    def aliases(self, symbol: str) -> tuple[str, ...]:
        """Every other name (alias, previous symbol, full name) of the gene, for mention."""
        return ()
