"""``soft-verifier redteam``: what an attacker would earn under a profile, next to honesty.

Exit code 0 where no attack pays, 1 where one does (or a component leaves [0, 1], or something
crashes), 2 where it could not begin.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from service.errors import StartupFault, nearest
from service.rewards.profiles import Profile, load_profiles

if TYPE_CHECKING:
    from service.redteam.report import Finding, Line, Report

_ERRORS = Console(stderr=True)
_SHOWN = 3
"""Failures of one family that are shown without --verbose."""


def redteam(
    profiles: Annotated[
        list[str] | None, typer.Argument(metavar="PROFILE…", help="Recipes to attack.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Attack every profile that is here.")
    ] = False,
    url: Annotated[
        str | None,
        typer.Option(
            help="Ask this server (http://… or grpc://…) and its world models. Cases are made from "
            "the recipe, so a profile of the server's own must be here too: see --folder."
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Settings file: its profiles and further knowledge.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="Folder with profiles of your own; with --url the server's as well."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides about everything random.")] = 0,
    rounds: Annotated[
        int, typer.Option(min=1, max=1000, help="Variations of each kind; more take longer.")
    ] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show every failure, and rows that do not apply.")
    ] = False,
) -> None:
    """Attack a profile's reward, and show what dishonesty earns next to honesty.

    Without --url a world model's word is made up and knowledge is a small specimen, so that the
    recipe is tried and nothing else; exit code 1 where an attack pays.

    \b
    Examples:
      soft-verifier redteam rbio-mlp
      soft-verifier redteam --all --json > redteam.json
      soft-verifier redteam my-profile --folder my-profiles --rounds 20 --verbose
      soft-verifier redteam rbio-mlp --url http://localhost:8080
      soft-verifier redteam my-profile --url http://localhost:8080 --folder my-profiles
    """
    loaded = _load(config, folder)
    wanted = _wanted(profiles or [], loaded, url, every=every)
    reports = _attack(wanted, url, seed, rounds)
    if all(report.skipped for report in reports):
        raise StartupFault(f"{reports[0].profile} was not attacked: {reports[0].skipped}")
    if as_json:
        from service.redteam.report import plain

        print(json.dumps([plain(report) for report in reports], indent=2, ensure_ascii=True))
    else:
        console = Console(file=sys.stdout)
        for report in reports:
            _show(console, report, verbose=verbose)
        _summarise(console, reports)
    raise typer.Exit(0 if all(report.holds for report in reports) else 1)


def _load(config: Path | None, folder: Path | None) -> dict[str, Profile]:
    from service.redteam.library import library

    if config is None:
        return load_profiles(folder, library())
    from service import app, settings

    loaded = settings.load(config, {})
    more = app.knowledge(
        loaded,
        lambda line: _ERRORS.print(line, style="dim", markup=False),
        app.gene_resolver(loaded),
    )
    return load_profiles(folder or loaded.profiles.folder, library(more))


def _wanted(
    names: Iterable[str], loaded: Mapping[str, Profile], url: str | None, *, every: bool
) -> list[Profile]:
    names = list(loaded) if every else list(dict.fromkeys(names))
    if not names:
        raise StartupFault(f"name a profile, or --all; there are: {', '.join(loaded)}")
    for name in names:
        if name not in loaded:
            here = (
                " here, and the cases are made from the recipe: where only the server has it, name "
                "the folder with its file by --folder (or the settings by --config)"
                if url
                else ""
            )
            raise StartupFault(f"no profile {name!r}{here}{nearest(name, loaded)}")
    return [loaded[name] for name in names]


def _attack(wanted: list[Profile], url: str | None, seed: int, rounds: int) -> list[Report]:
    from service.redteam.arena import Arena, Local, Remote
    from service.redteam.bench import Bench
    from service.redteam.report import Report
    from service.redteam.suite import run
    from softverifier import RequestRejected, RewardClient, SoftVerifierError

    reports = []
    with _progress() as bar, Bench() as bench:
        for profile in wanted:
            shown = bar.add_task(profile.name, total=None)

            def begin(total: int, shown: Any = shown) -> None:
                bar.update(shown, total=total)

            def tick(shown: Any = shown) -> None:
                bar.advance(shown)

            arena: Arena = Local(profile, bench)
            client = None
            if url is not None:
                client = RewardClient(url, timeout=60.0)
                if not client.health():
                    raise StartupFault(
                        f"{url}: no server answers there; soft-verifier serve is one"
                    )
                arena = Remote(client, profile.name)
            try:
                reports.append(
                    run(profile, arena, seed=seed, rounds=rounds, begin=begin, tick=tick)
                )
            except RequestRejected as error:
                reports.append(Report(profile.name, profile.digest, skipped=str(error)))
            except SoftVerifierError as error:
                raise StartupFault(f"{url}: {error}") from None
            finally:
                if client is not None:
                    client.close()
            bar.remove_task(shown)
    return reports


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=_ERRORS,
        transient=True,
    )


def _show(console: Console, report: Report, *, verbose: bool) -> None:
    if report.skipped:
        console.print(f"{report.profile}: not attacked: {report.skipped}", markup=False)
        return
    table = Table("attack", "rows", "tries", "earns at most", "honesty", "verdict")
    table.title, table.title_justify = f"{report.profile}  ({report.cases} honest cases)", "left"
    for column in (2, 3, 4):
        table.columns[column].justify = "right"
    for line in report.lines:
        if line.applies:
            rows = " ".join(map(str, line.rows))
            table.add_row(
                line.name, rows, f"{line.attacks:,}", _number(line.earned), _number(line.honest),
                _coloured(line),
            )  # fmt: skip
        elif verbose:
            table.add_row(line.name, " ".join(map(str, line.rows)), "–", "", "", "does not apply")
    console.print(table)
    for line in report.lines:
        for found in line.failures[: None if verbose else _SHOWN]:
            console.print(_told(line, found), markup=False, highlight=False, soft_wrap=True)
        if not verbose and len(line.failures) > _SHOWN:
            console.print(
                f"  … and {len(line.failures) - _SHOWN} more of {line.name!r}: --verbose",
                markup=False,
            )
    for fault in report.faults:
        console.print(f"  honesty fails: {fault}", markup=False, highlight=False)
    missing: dict[str, list[str]] = {}
    for row, reason in report.rows().items():
        if reason:
            missing.setdefault(reason, []).append(str(row))
    for reason, those in missing.items():
        text = f"  row {', '.join(those)} does not apply: {reason}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    if verbose:
        for left in report.left_out:
            console.print(f"  no case: {left}", markup=False, highlight=False)


def _told(line: Line, found: Finding) -> str:
    earned = "null" if found.earned is None else f"{found.earned:g}"
    known = f" ({line.reason})" if found.verdict.value == "known" else ""
    return (
        f"  {found.verdict.value} {line.name}: {found.attack.name} [{found.case}] earns {earned}, "
        f"honesty {found.honest:g}; it must be {found.attack.must.value}; {found.said}{known}\n"
        f"      {ascii(found.attack.completion)[:160]}"
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _coloured(line: Line) -> str:
    from service.redteam.report import FAILURES

    colour = "red" if line.verdict in FAILURES else "yellow" if line.reason and (
        line.failures
    ) else "green"  # fmt: skip
    return f"[{colour}]{escape(line.verdict.value)}[/{colour}]"


def _summarise(console: Console, reports: list[Report]) -> None:
    tried = sum(report.attacks for report in reports)
    failing = [report.profile for report in reports if not report.holds]
    skipped = [report.profile for report in reports if report.skipped]
    seconds = sum(report.seconds for report in reports)
    text = f"{tried:,} attacks on {len(reports) - len(skipped)} profiles in {seconds:.1f} s: "
    text += f"{', '.join(failing)} can be beaten" if failing else "none of them pays"
    if skipped:
        text += f"; not attacked: {', '.join(skipped)}"
    console.print(text, markup=False, highlight=False)
