"""``soft-verifier score``: the rewards of a file of completions, by a server or in this process.

Batches travel several at a time and are written in the order of the file. What is done is done: a
run that was stopped goes on where it was. Exit code 0 even if items abstain, 1 if the run could
not be finished, 2 if it could not begin.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from service.commands.ledger import COLUMNS, Ledger, Run, file_digest
from service.commands.rows import Row, count_rows, format_of, read_rows
from service.commands.scorers import (
    LocalScorer,
    Scorer,
    local_pipeline,
    patient_settings,
    remote_scorer,
)
from service.errors import BadRequest, Conflict, NotFound, ServiceError, StartupFault

_ERRORS = Console(stderr=True)


def score(
    file: Annotated[Path, typer.Argument(help="JSONL, CSV, TSV or Parquet with completions.")],
    profile: Annotated[
        str,
        typer.Option(
            help="Recipe; NAME@sha256:… to pin it (not the models and knowledge it asks)."
        ),
    ],
    url: Annotated[
        str | None, typer.Option(help="Server (http://… or grpc://…); none: in this process.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where rewards go, form by suffix (FILE.rewards.jsonl).")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, max=4096, help="Items a request.")] = 256,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Requests at a time.")] = 4,
    model: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of a trained model, without --url; may be repeated."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file, without --url.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--restart", help="Go on with what is done, or begin anew.")
    ] = True,
    form: Annotated[
        str | None, typer.Option("--format", help="Of FILE: jsonl, csv, tsv or parquet.")
    ] = None,
) -> None:
    """Score a file of completions.

    \b
    Examples:
      soft-verifier score completions.jsonl --profile rbio-mlp --model models/k562-mlp
      soft-verifier score completions.parquet --profile rbio-mlp --url http://localhost:8080
    """
    read_as = format_of(file, form)
    target = out or file.with_name(f"{file.name}.rewards.jsonl")
    if target.resolve() == file.resolve():
        raise StartupFault(f"--out {target} is the input itself; choose another")
    if url is not None and (model or config):
        raise StartupFault(
            "--model and --config are for scoring in this process; drop them or --url"
        )
    input_digest = file_digest(file)

    async def begin() -> bool:
        async with contextlib.AsyncExitStack() as stack:
            scorer = await _scorer(stack, url, profile, batch_size, config, model or [])
            run = Run(input_digest, profile, await scorer.profile_digest(), read_as)
            with contextlib.closing(
                Ledger(target, format_of(target), run, restart=not resume)
            ) as ledger:
                return await _go_on(scorer, file, ledger, run, batch_size, concurrency)

    raise typer.Exit(0 if _ran(begin) else 1)


def _ran(begin: Any) -> bool:
    from softverifier import SoftVerifierError

    try:
        return bool(asyncio.run(begin()))
    except SoftVerifierError as error:
        _ERRORS.print(f"soft-verifier: {error}", style="red", markup=False)
        return False


async def _scorer(
    stack: contextlib.AsyncExitStack,
    url: str | None,
    profile: str,
    batch_size: int,
    config: Path | None,
    models: list[Path],
) -> Scorer:
    if url is not None:
        return await stack.enter_async_context(remote_scorer(url, profile, batch_size))
    settings = patient_settings(config, models)
    pipeline = await stack.enter_async_context(
        local_pipeline(settings, lambda line: _ERRORS.print(line, style="dim", markup=False))
    )
    return LocalScorer(pipeline, profile)


async def _go_on(
    scorer: Scorer, file: Path, ledger: Ledger, run: Run, batch_size: int, concurrency: int
) -> bool:
    """Score what is not scored yet; whether all of it is."""
    if ledger.complete:
        _ERRORS.print(f"{ledger.out} is complete; --restart scores it again", markup=False)
        return True
    if ledger.done:
        _ERRORS.print(f"{ledger.done:,} rows are done already, going on behind them")
    total = count_rows(file, run.format)
    rows = islice(read_rows(file, run.format), ledger.done, None)
    from softverifier import RequestRejected, SoftVerifierError

    started, before = time.perf_counter(), ledger.done
    with _progress() as bar:
        shown = bar.add_task("", total=total, completed=ledger.done, rate="", counts="")
        try:
            async for done in _batches(scorer, rows, batch_size, concurrency):
                ledger.add(done)
                rate = (ledger.done - before) / (time.perf_counter() - started)
                counts = _counts(ledger)
                bar.update(shown, completed=ledger.done, rate=f"{rate:,.0f}/s", counts=counts)
        except StartupFault:
            raise
        except (RequestRejected, NotFound, Conflict, BadRequest) as error:
            raise StartupFault(str(error)) from None  # asking again would not help
        except (SoftVerifierError, ServiceError) as error:
            failure: Exception | None = error
        else:
            failure = None
    if failure is not None:
        _ERRORS.print(f"soft-verifier: {failure}", style="red", markup=False)
        _ERRORS.print(f"{ledger.done:,} of {total:,} rows are done; the same command goes on")
        return False
    ledger.finish(run)
    _summarise(ledger, time.perf_counter() - started, ledger.done - before)
    return not ledger.done or any(status != "error" for status, _ in ledger.tally)


async def _batches(scorer: Scorer, rows: Iterable[Row], batch_size: int, concurrency: int) -> Any:
    """Rows of rewards, batch by batch in the order of the file, several batches under way."""
    window: deque[asyncio.Task[list[dict[str, Any]]]] = deque()
    try:
        for batch in _cut(rows, batch_size):
            if len(window) == concurrency:
                yield await window[0]
                window.popleft()
            window.append(asyncio.create_task(_scored(scorer, batch)))
        while window:
            yield await window[0]
            window.popleft()
    finally:
        for task in window:
            task.cancel()
        await asyncio.gather(*window, return_exceptions=True)


def _cut(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    rows = iter(rows)
    while batch := list(islice(rows, size)):
        yield batch


async def _scored(scorer: Scorer, batch: list[Row]) -> list[dict[str, Any]]:
    items = [row.item for row in batch if row.item is not None]
    results = iter(await scorer.score(items) if items else [])
    return [_written(row, _bad(row) if row.item is None else next(results)) for row in batch]


def _bad(row: Row) -> dict[str, Any]:
    return {"id": None, "status": "error", "reason": "BAD_ITEM", "message": row.fault}


def _written(row: Row, result: dict[str, Any]) -> dict[str, Any]:
    empty = {"weight": 0.0, "retryable": False, "contradiction": False, "components": []}
    made = {name: result.get(name, empty.get(name)) for name in COLUMNS}
    made["row"] = row.number
    split = (row.item or {}).get("split")
    made["split"] = split if isinstance(split, str) else None
    return made


def _progress() -> Progress:
    return Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[counts]}", style="dim"),
        console=_ERRORS,
    )


def _counts(ledger: Ledger) -> str:
    found: dict[str, int] = {}
    for (status, _), count in ledger.tally.items():
        found[status] = found.get(status, 0) + count
    return " ".join(f"{status} {count:,}" for status, count in sorted(found.items()))


STATUSES: Final = ("ok", "invalid", "abstain", "error")


def _by_split(ledger: Ledger) -> Table:
    """Mean reward and statuses of each split; a gap between them is what to look for."""
    table = Table("split", "rows", "mean reward", *STATUSES, title="by split", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for split, share in sorted(ledger.splits.items()):
        mean = f"{share.reward_sum / share.scored:.4f}" if share.scored else "none scored"
        counts = [f"{share.statuses[status]:,}" for status in STATUSES]
        table.add_row(escape(split) or "(none)", f"{share.statuses.total():,}", mean, *counts)
    return table


def _summarise(ledger: Ledger, seconds: float, fresh: int) -> None:
    table = Table("status", "reason", "rows", title=escape(str(ledger.out)), title_justify="left")
    if ledger.examples:
        table.add_column("for example", overflow="fold")
    table.columns[2].justify = "right"
    for (status, reason), count in sorted(ledger.tally.items(), key=lambda entry: -entry[1]):
        example = escape(ledger.examples.get((status, reason), ""))
        table.add_row(status, reason, f"{count:,}", *([example] if ledger.examples else []))
    console = Console(file=sys.stdout)
    console.print(table)
    if any(ledger.splits):
        console.print(_by_split(ledger))
    if ledger.scored:
        mean = ledger.reward_sum / ledger.scored
        console.print(f"mean reward of the {ledger.scored:,} scored (ok, invalid): {mean:.4f}")
    else:
        console.print("no row was scored")
    console.print(f"{fresh:,} rows in {seconds:.1f} s, {fresh / max(seconds, 1e-9):,.0f}/s")
