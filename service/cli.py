"""The command line: `soft-verifier COMMAND`. Each command lives in a file of its own.

A user's mistake ends with one line on standard error and exit code 2, never with a traceback.
Commands are imported when they are called for, so that `--help` is quick.
"""

from __future__ import annotations

import sys

import typer

from service import __version__
from service.commands.annotate import annotate
from service.commands.doctor import doctor
from service.commands.models import models
from service.commands.profiles import app as profiles
from service.commands.score import score
from service.commands.serve import serve
from service.commands.train import app as train
from service.errors import ServiceError
from service.rewards.errors import ProfileFault
from worldmodels.core import ModelFault

app = typer.Typer(
    name="soft-verifier",
    help="Rewards for reinforcement learning on biology, verified by world models.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(serve)
app.command()(score)
app.command()(annotate)
app.add_typer(train, name="train")
app.command()(models)
app.add_typer(profiles, name="profiles")
app.command()(doctor)


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


def main() -> None:
    """Run, and turn faults that the user can mend into one line."""
    try:
        app()
    except (ServiceError, ModelFault, ProfileFault) as fault:
        print(f"soft-verifier: {fault}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
