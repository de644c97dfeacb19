"""``python -m service`` is ``soft-verifier``."""

from service.cli import main

main()
