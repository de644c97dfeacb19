"""The command line: `soft-verifier COMMAND`. Each command lives in a file of its own.

A user's mistake ends with one line on standard error and exit code 2, Ctrl-C with one line and 130;
neither with a traceback. The commands are imported inside ``main``, so that this holds from the
first moment on.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer


def application() -> typer.Typer:
    """All commands."""
    import typer

    from service import __version__
    from service.commands.align import align
    from service.commands.annotate import annotate
    from service.commands.canaries import app as canaries
    from service.commands.card import Card, card
    from service.commands.doctor import doctor
    from service.commands.keys import app as keys
    from service.commands.models import app as models
    from service.commands.precompute import precompute
    from service.commands.profiles import app as profiles
    from service.commands.redteam import redteam
    from service.commands.replay import replay
    from service.commands.score import score
    from service.commands.serve import serve
    from service.commands.train import app as train

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
    app.command(short_help="Compute all answers of a model once, as a table to serve.")(precompute)
    app.add_typer(
        train, name="train", short_help="Build a world model from data, for `serve --model`."
    )
    app.command(
        cls=Card, short_help="Show what a model knows of held-out data, or a profile pays."
    )(card)
    app.add_typer(
        models, name="models", short_help="List the configured models, or verify their folders."
    )
    app.add_typer(profiles, name="profiles")
    app.command(short_help="Attack a profile; exit code 1 where dishonesty pays.")(redteam)
    app.command(short_help="Relate the rewards of a run to a held-out truth.")(align)
    app.command(short_help="Score an audit log again; exit code 3 if a reward differs.")(replay)
    app.add_typer(canaries, name="canaries")
    app.add_typer(keys, name="keys")
    app.command(short_help="Check versions, device, settings, models, Redis and ports.")(doctor)

    @app.command()
    def version() -> None:
        """Print the version."""
        print(__version__)

    return app


def main() -> None:
    """Run, and turn what the user can mend into one line."""
    try:
        app = application()

        from service.errors import ServiceError
        from service.rewards.errors import ProfileFault
        from worldmodels.core import ModelFault

        try:
            app()
        except (ServiceError, ModelFault, ProfileFault) as fault:
            print(f"soft-verifier: {fault}", file=sys.stderr)
            sys.exit(2)
    except KeyboardInterrupt:
        print("soft-verifier: stopped", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
