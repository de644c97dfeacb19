"""Run under verifiers' interpreter: its own ``vf-eval @ FILE``, beside a scripted model.

Arguments: the model's port, the configuration, and what more is typed.
"""

from __future__ import annotations

import sys

from scripted_model import Model
from verifiers.v1.cli.eval.main import main

if __name__ == "__main__":
    Model(int(sys.argv[1]))
    main(["@", *sys.argv[2:], "--no-rich", "--no-push"])
