"""What ``card --profile`` prints and draws: a table of policies, JSON, bars as SVG."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape as xml

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from service.commands.card_policies import MEANT, Panel
from service.commands.card_profile import ProfileCard, Request, evaluate
from service.errors import StartupFault

_ERRORS: Final = Console(stderr=True)
_HEIGHT: Final = 24
_LEFT: Final = 190
_WIDTH: Final = 420


def run(
    request: Request,
    *,
    as_json: bool = False,
    figure: Path | None = None,
    max_blind: float | None = None,
) -> int:
    """Evaluate, print, draw; the exit code.

    Args:
        request: what to evaluate.
        as_json: print JSON on standard output instead of tables.
        figure: where the bars go, *.svg.
        max_blind: the most that a blind policy may earn beyond chance.

    Returns:
        0; 1 where a blind policy earns more than ``max_blind`` beyond chance, or where that cannot
        be told since no question has a reward.

    Raises:
        StartupFault, ModelFault, ServiceError, SoftVerifierError: it could not be done.
    """
    if figure is not None and figure.suffix.lower() != ".svg":
        raise StartupFault(f"--figure {figure}: bars are drawn as SVG; name a file *.svg")
    with _progress() as bar:
        task = bar.add_task(request.profile, total=None)
        made = evaluate(
            request,
            lambda line: bar.console.print(line, style="dim", markup=False, soft_wrap=True),
            lambda rows: bar.advance(task, rows),
        )
    if as_json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n")
    else:
        show(made, Console(file=sys.stdout, soft_wrap=True, highlight=False))
    if figure is not None:
        _write(figure, svg(made))
    return 0 if max_blind is None else _guarded(made, max_blind)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=_ERRORS,
        transient=True,
    )


def _guarded(made: ProfileCard, most: float) -> int:
    policy, beyond = made.worst_blind()
    if beyond <= most:
        return 0
    if made.overall is None:
        said = "no question has a reward, so nothing is known of blind policies"
    else:
        said = f"{policy!r} earns {beyond:.4f} beyond chance, more than {most:g} (--max-blind)"
    told = f"soft-verifier: {made.profile}: {said}"
    _ERRORS.print(told, style="red", markup=False, soft_wrap=True)
    return 1


def show(made: ProfileCard, console: Console) -> None:
    """A table for all rows, and one line for each cell line."""
    if made.overall is None:
        told = ", ".join(f"{reason} {count:,}" for reason, count in made.reasons.items())
        console.print(f"{made.profile}: no question has a reward: {told}", markup=False)
        return
    console.print(_table(made, made.overall))
    console.print(
        f"chance is {made.overall.chance:.4f}, what a fair coin earns on the same questions; "
        "side is what group-normalised advantages pay, 0 being chance",
        style="dim",
    )
    if len(made.by_line) > 1:
        console.print(_by_line(made))


def _table(made: ProfileCard, panel: Panel) -> Table:
    title = (
        f"{made.profile}, {made.relation}: {panel.answered:,} of {panel.rows:,} questions answered "
        f"({panel.coverage:.1%}), {panel.perturbations:,} perturbations, "
        f"base rate {panel.base_rate:.3f}"
    )
    table = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD, padding=0)
    table.add_column("policy", no_wrap=True)
    for name in ("reward", "± se", "beyond chance", "± se", "short of oracle", "weighted", "side"):
        table.add_column(name, justify="right")
    for one in panel.policies:
        table.add_row(
            one.policy,
            f"{one.reward:.4f}",
            _figure(one.se),
            f"{one.beyond_chance:+.4f}",
            _figure(one.beyond_chance_se),
            f"{one.short_of_oracle:+.4f}",
            _figure(one.weighted),
            _figure(one.side, sign=True),
        )
    return table


def _by_line(made: ProfileCard) -> Table:
    """What each policy earns beyond chance, by cell line."""
    table = Table("beyond chance", *(escape(line) for line in made.by_line))
    for policy in MEANT:
        cells = (f"{panel.of(policy).beyond_chance:+.4f}" for panel in made.by_line.values())
        table.add_row(policy, *cells)
    answered = (f"{panel.coverage:.1%}" for panel in made.by_line.values())
    table.add_row("answered", *answered, style="dim")
    return table


def _figure(value: float | None, *, sign: bool = False) -> str:
    return "–" if value is None else f"{value:{'+' if sign else ''}.4f}"


def svg(made: ProfileCard) -> str:
    """Bars of what each policy earns over all rows, with two standard errors and chance."""
    panel = made.overall
    policies = panel.policies if panel else []
    least = min([0.0, *(one.reward for one in policies)])
    most = max([1.0, *(one.reward for one in policies)])

    def x(reward: float) -> float:
        return round(_LEFT + (reward - least) / (most - least) * _WIDTH, 1)

    parts = []
    for index, one in enumerate(policies):
        y = 50 + index * _HEIGHT
        colour = "#b5532a" if one.blind else "#2a6fb5"
        start, end = sorted((x(0.0), x(one.reward)))
        parts.append(
            f'<text x="{_LEFT - 8}" y="{y + 13}" text-anchor="end">{xml(one.policy)}</text>'
        )
        parts.append(
            f'<rect x="{start}" y="{y}" width="{round(end - start, 1)}" height="16" '
            f'fill="{colour}"><title>{xml(MEANT[one.policy])}</title></rect>'
        )
        if one.se is not None:
            low, high = x(one.reward - 2 * one.se), x(one.reward + 2 * one.se)
            parts.append(f'<path d="M{low} {y + 8}H{high}" stroke="#222"/>')
        parts.append(f'<text x="{_LEFT + _WIDTH + 8}" y="{y + 13}">{one.reward:.3f}</text>')
    height = 60 + len(policies) * _HEIGHT
    if panel:
        at = x(panel.chance)
        parts.append(f'<path d="M{at} 42V{height - 12}" stroke="#222" stroke-dasharray="4 3"/>')
    title = (
        f"{made.profile}: what policies earn (dashed: chance; orange: blind to the perturbation)"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + 70}" height="{height}" '
        f'font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="12" y="24">{xml(title)}</text>{"".join(parts)}</svg>\n'
    )


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise StartupFault(f"--figure {path}: cannot be written ({error.strerror})") from None
