"""The series of a server's parent process, which answers no scrape: its workers show them."""

from __future__ import annotations

from service.catalogue import Catalogue
from service.shelf import Shelf


class SupervisorMetrics(Catalogue):
    """What only the parent sees."""

    def share(self, shelf: Shelf) -> None:
        """Keep the numbers where the workers find them."""
        self._hangs.shelf = shelf

    def process_hung(self, role: str) -> None:
        """Count a child that was killed because it hung."""
        self._hangs.add((role,))
