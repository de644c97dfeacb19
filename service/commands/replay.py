"""``soft-verifier replay``: score an audit log again, and say what is not as it was.

Exit code 0 if every reward given under the same digests is the same to the last bit, 3 if one is
not, 4 with ``--fail-on-change`` if one changed with a digest; 1 if the replay could not be
finished, 2 if it could not begin.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from service.commands.replay_bench import Bench, open_bench, refuse_both
from service.commands.replay_rows import Rows
from service.commands.scorers import Scorer
from service.errors import BadRequest, Conflict, NotFound, ServiceError, StartupFault

if TYPE_CHECKING:
    from service.audit_reading import Reading
    from service.bookkeeping.difference import Row
    from service.bookkeeping.entries import Entry
    from service.bookkeeping.report import Report

_ERRORS = Console(stderr=True)
UNEQUAL = 3
CHANGED = 4


def replay(
    logs: Annotated[
        list[Path],
        typer.Argument(metavar="LOG…", help="Audit log (audit.completions on), with its pieces."),
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for rows.jsonl, report.md, report.json and report.svg.")
    ],
    profile: Annotated[
        str | None,
        typer.Option(help="Judge by this recipe (NAME or NAME@sha256:…), not by each line's own."),
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Server (http://…); none: in this process.")
    ] = None,
    model: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of a trained model, without --url; may be repeated."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file, without --url.")] = None,
    run: Annotated[str | None, typer.Option(help="Only lines of this run.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, max=4096, help="Lines at a time.")] = 256,
    resume: Annotated[
        bool, typer.Option("--resume/--restart", help="Go on with what is done, or begin anew.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    fail_on_change: Annotated[
        bool, typer.Option("--fail-on-change", help="Exit code 4 if any reward changed.")
    ] = False,
) -> None:
    """Score the items of an audit log again and compare with what was given.

    Where recipe and models are the same by their digests, every reward must be equal to the last
    bit (exit code 3 otherwise); where a digest changed, the report says what moved, by how much.
    Lines without their completion cannot be scored again and are counted.

    \b
    Examples:
      soft-verifier replay audit.jsonl --url http://localhost:8080 --out replayed
      soft-verifier replay audit.jsonl --model models/k562-v2 --out with-v2
      soft-verifier replay audit.jsonl --profile rbio-mlp-lift --model models/k562 --out lift
    """
    refuse_both(url, model, config)
    from service.audit_reading import Reading, files_of
    from service.bookkeeping.report import build

    files_of(logs)  # refuses
    asked = {"logs": [str(log.resolve()) for log in logs], "profile": profile, "run": run}
    rows, reading = Rows(out, asked, restart=not resume), Reading()
    judged_by = url or "this process"

    async def work() -> bool:
        async with contextlib.AsyncExitStack() as stack:
            bench = await open_bench(stack, url, batch_size, config, model or [])
            return await _replayed(bench, logs, rows, reading, profile, run, batch_size)

    finished = _ran(work, rows)
    report = build(rows.tally, reading, profile, judged_by)
    if finished:
        _refuse_nothing(report, rows.done, run)
    _write(report, rows, out)
    print(_json(report)) if as_json else _show(Console(file=sys.stdout), report)
    raise typer.Exit(_code(report, fail_on_change) if finished else 1)


def _code(report: Report, fail_on_change: bool) -> int:
    if report.kinds["unequal"]:
        return UNEQUAL
    return CHANGED if fail_on_change and report.kinds["changed"] else 0


def _ran(work: Any, rows: Rows) -> bool:
    """Whether the replay came to its end; what was done stays done either way."""
    from softverifier import RequestRejected, SoftVerifierError

    try:
        return bool(asyncio.run(work()))
    except (StartupFault, KeyboardInterrupt):
        raise
    except (RequestRejected, NotFound, Conflict, BadRequest) as error:
        raise StartupFault(str(error)) from None  # asking again would not help
    except (SoftVerifierError, ServiceError) as error:
        _ERRORS.print(f"soft-verifier: {error}", style="red", markup=False)
        _ERRORS.print(f"{rows.done:,} lines are done; the same command goes on", markup=False)
        return False
    finally:
        rows.close()


async def _replayed(
    bench: Bench,
    logs: list[Path],
    rows: Rows,
    reading: Reading,
    profile: str | None,
    run: str | None,
    batch_size: int,
) -> bool:
    if profile is not None:
        await bench.open(profile)  # refuses
    if rows.done:
        _ERRORS.print(f"{rows.done:,} lines are done already, going on behind them", markup=False)
    scorers: dict[str, tuple[Scorer, str] | None] = {}
    chosen = (e for e in _entries(logs, reading) if run is None or e.run == run)
    async for done in _judged(bench, scorers, rows, rows.behind(chosen), profile, batch_size):
        rows.add(done)
    return True


def _entries(logs: list[Path], reading: Reading) -> Iterator[Entry]:
    from service.audit_reading import files_of, read
    from service.bookkeeping.entries import Entry

    files = files_of(logs)
    columns = (
        TextColumn("replaying"),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[lines]}"),
    )
    with Progress(*columns, console=_ERRORS, transient=True) as bar:
        total = sum(file.stat().st_size for file in files)
        shown = bar.add_task("", total=total, lines="")

        def advance(size: int) -> None:
            bar.update(shown, advance=size, lines=f"{reading.lines:,} lines")

        yield from read(files, Entry, reading, advance)


async def _judged(
    bench: Bench,
    scorers: dict[str, tuple[Scorer, str] | None],
    rows: Rows,
    entries: Iterable[Entry],
    profile: str | None,
    size: int,
) -> AsyncIterator[list[Row]]:
    """Rows of the entries, batch by batch in the order of the log."""
    entries = iter(entries)
    while batch := list(islice(entries, size)):
        found: dict[int, Row] = {}
        for name in dict.fromkeys(profile or entry.profile for entry in batch):
            if name not in scorers:
                scorers[name] = await _opened(bench, name, rows)
            own = {i: e for i, e in enumerate(batch) if (profile or e.profile) == name}
            found |= await _scored(scorers[name], own)
        yield [found[i] for i in range(len(batch))]


async def _opened(bench: Bench, name: str, rows: Rows) -> tuple[Scorer, str] | None:
    try:
        scorer, digest = await bench.open(name)
    except NotFound as error:
        _ERRORS.print(f"profile {name}: {error}; its lines are not scored", markup=False)
        rows.judge(name, None)
        return None
    rows.judge(name, digest)
    return scorer, digest


async def _scored(judge: tuple[Scorer, str] | None, entries: dict[int, Entry]) -> dict[int, Row]:
    from service.bookkeeping.difference import compared, left_out

    if judge is None:
        return {i: left_out(entry, "no_profile") for i, entry in entries.items()}
    whole = {i: entry for i, entry in entries.items() if not entry.lack}
    rows = {i: left_out(entry, entry.lack) for i, entry in entries.items() if entry.lack}
    scorer, digest = judge
    results = await scorer.score([entry.asked() for entry in whole.values()]) if whole else []
    for (i, entry), result in zip(whole.items(), results, strict=True):
        rows[i] = compared(entry, result, digest)
    return rows


def _refuse_nothing(report: Report, done: int, run: str | None) -> None:
    """Nothing to compare is a mistake somewhere: say which."""
    files = ", ".join(report.files)
    if report.lines and report.malformed == report.lines:
        raise StartupFault(
            f"{files}: none of {report.lines:,} lines is of an audit log "
            f"({report.malformed_examples[0]})"
        )
    if not report.lines or not done:
        of_run = "" if run is None else f" of run {run!r}"
        raise StartupFault(f"{files}: no line{of_run} in it")
    if report.kinds["no_completion"] + report.kinds["no_item"] == done:
        raise StartupFault(
            f"{files}: none of {done:,} lines has its item; a server with audit.completions = true "
            "writes what a replay needs"
        )
    if report.kinds["no_profile"] and not any(
        report.kinds[kind] for kind in ("equal", "unequal", "changed", "unchanged", "error")
    ):
        raise StartupFault(f"{files}: no line's profile is served here; name one with --profile")


def _json(report: Report) -> str:
    import json

    import msgspec

    return json.dumps(json.loads(msgspec.json.encode(report)), indent=2)


def _write(report: Report, rows: Rows, folder: Path) -> None:
    from service.bookkeeping import figure
    from service.bookkeeping import report as reports

    try:
        drawn = figure.draw(report, rows.tally, folder / "report.svg")
        page = reports.markdown(report, "report.svg" if drawn else None)
        (folder / "report.md").write_text(page, encoding="utf-8")
        (folder / "report.json").write_text(_json(report) + "\n", encoding="utf-8")
    except OSError as error:
        raise StartupFault(f"--out {folder}: {error.strerror or error}") from error
    _ERRORS.print(f"wrote {folder}/report.md, .json{', .svg' * drawn}, rows.jsonl", markup=False)


def _show(console: Console, report: Report) -> None:
    from service.bookkeeping import report as reports
    from service.bookkeeping.difference import KINDS

    for line in reports.account(report):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    table = Table("lines", "of kind", box=None)
    table.columns[0].justify = "right"
    for kind, said in KINDS.items():
        if report.kinds[kind]:
            table.add_row(f"{report.kinds[kind]:,}", said, style="red" * (kind == "unequal"))
    console.print(table)
    if report.changes:
        changes = Table("given", "now", "lines", "mean Δ", "largest Δ")
        for texts in reports.cells(report):
            changes.add_row(*map(escape, texts))
        console.print(changes)
    for row in report.unequal_examples:
        console.print(reports.example(row), style="red", markup=False, soft_wrap=True)
