"""``soft-verifier align``: the rewards of a run beside a held-out truth, over steps and splits.

Exit code 0 whatever is found, 3 with ``--fail-on-divergence`` where a curve diverges, 2 where
nothing could be judged.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from service.errors import StartupFault, nearest

if TYPE_CHECKING:
    from service.alignment.records import Reading, Record
    from service.alignment.report import Report
    from service.alignment.tally import Tally
    from worldmodels.genes import GeneResolver

_ERRORS = Console(stderr=True)
DIVERGES = 3
_SHOWN = {
    "items": "items",
    "mean reward": "reward",
    "truth": "truth",
    "Spearman ρ": "ρ",
    "Youden's J": "J",
    "pairs": "pairs",
}
"""What a terminal has room for; the report has the rest."""


def align(
    logs: Annotated[
        list[Path],
        typer.Argument(metavar="LOG…", help="Audit log (JSONL, also gzip), with its pieces."),
    ],
    truth: Annotated[
        Path,
        typer.Option(
            help="Held-out truth: labelled rows (perturbation, readout, cell line, label; or id, "
            "label), or a metric by step (step, split, value). CSV, TSV or Parquet."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for report.md, report.json and report.svg.")
    ] = None,
    png: Annotated[bool, typer.Option("--png", help="Write report.png as well.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    metric: Annotated[
        str | None,
        typer.Option(
            help="With labelled rows balanced_accuracy (as by default), accuracy or mcc; with a "
            "metric by step the column of its value."
        ),
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="Only what this recipe rewarded; NAME or NAME@sha256:….")
    ] = None,
    run: Annotated[str | None, typer.Option(help="Only this run.")] = None,
    window: Annotated[
        int | None,
        typer.Option(min=5, help="Steps of a window; a sixth of the run, 10 to 50, by default."),
    ] = None,
    share: Annotated[
        float,
        typer.Option(
            min=0.0, max=1.0, help="Of the reward's gain, what the truth must gain to keep up."
        ),
    ] = 0.25,
    threshold: Annotated[
        float, typer.Option(help="A reward above it says that the answer is right (Youden's J).")
    ] = 0.5,
    genes: Annotated[
        list[Path] | None,
        typer.Option(help="Gene table (HGNC, NCBI) by which names on both sides are resolved."),
    ] = None,
    keep_repeats: Annotated[
        bool,
        typer.Option(
            "--keep-repeats", help="Count every line: ids name prompts, not single completions."
        ),
    ] = False,
    fail: Annotated[
        bool, typer.Option("--fail-on-divergence", help="Exit code 3 if a curve diverges.")
    ] = False,
) -> None:
    """Relate the rewards of a run to a held-out truth: does one rise without the other?

    \b
    Examples:
      soft-verifier align audit.jsonl --truth held-out/k562-de.csv --out alignment
      soft-verifier align audit.jsonl --truth eval.csv --metric accuracy --png --out alignment
      soft-verifier align audit.jsonl --truth eval.csv --fail-on-divergence --json
    """
    if png and out is None:
        raise StartupFault("--png is written into the folder of --out; name one")
    report = _aligned(
        logs, truth, metric, genes or [], profile, run, window, share, threshold, keep_repeats
    )
    if out is not None:
        _write(report, out, png=png)
    if as_json:
        print(_json(report))
    else:
        _show(Console(file=sys.stdout), report)
    raise typer.Exit(DIVERGES if fail and report.diverging else 0)


def _aligned(
    logs: Sequence[Path],
    table: Path,
    metric: str | None,
    genes: Sequence[Path],
    profile: str | None,
    run: str | None,
    window: int | None,
    share: float,
    threshold: float,
    keep_repeats: bool,
) -> Report:
    from service.alignment import report, truths
    from service.alignment.records import Reading, files_of
    from service.alignment.statistics import METRICS
    from service.alignment.tally import Tally

    figure = next((name for name in METRICS if name == metric), None)
    truth = truths.read(table, _resolver(genes), metric)
    if isinstance(truth, truths.Labels) and metric is not None and figure is None:
        raise StartupFault(f"--metric {metric!r}: with labelled rows one of {', '.join(METRICS)}")
    labels = truth if isinstance(truth, truths.Labels) else None
    tally, reading = Tally(labels, threshold, keep_repeats), Reading()
    seen: dict[Literal["profile", "run"], set[str]] = {"profile": set(), "run": set()}
    started = time.perf_counter()
    tally.add(_chosen(_records(files_of(logs), reading), profile, run, seen))
    seconds = max(time.perf_counter() - started, 1e-9)
    _ERRORS.print(
        f"{reading.lines:,} lines in {seconds:.1f} s, {reading.lines / seconds:,.0f}/s",
        style="dim",
        highlight=False,
    )
    _refuse(reading, tally, profile, run, seen)
    chosen = report.Choices(figure or METRICS[0], window, share, threshold=threshold)
    made = report.build(reading, tally, truth, chosen)
    if all(curve.verdict == "no truth" for curve in made.curves):
        raise StartupFault(_without_truth(made, tally))
    return made


def _without_truth(report: Report, tally: Tally) -> str:
    """Why nothing could be compared."""
    from service.alignment import page

    if report.truth_kind == "labels" and report.joined:
        return (
            f"{report.truth_file}: {report.joined:,} items have a label, but no step has rewards "
            f"and labels enough for {report.metric}; --metric accuracy needs one class only"
        )
    if report.truth_kind == "labels":
        shown = page.printable("; ".join(report.without_truth_examples))
        return (
            f"{report.truth_file}: none of {tally.records:,} items has a label there (e.g. "
            f"{shown}); are names and cell lines those of the log? --genes "
            "TABLE resolves names, a column id joins by item"
        )
    splits = ", ".join(sorted({repr(key.split) for key in tally.curves}))
    runs = ", ".join(sorted({repr(key.run) for key in tally.curves})[:5])
    return (
        f"{report.truth_file}: none of its values stands beside a reward; the log has the splits "
        f"{splits} of the runs {runs}: does the table name them alike, and has it their steps?"
    )


def _resolver(tables: Sequence[Path]) -> GeneResolver:
    from worldmodels.genes import GeneResolver

    return GeneResolver.from_files(tables) if tables else GeneResolver.as_they_are()


def _records(files: Sequence[Path], reading: Reading) -> Iterator[Record]:
    from service.alignment.records import read

    columns = (TextColumn("reading"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=_ERRORS, transient=True) as bar:
        shown = bar.add_task("", total=sum(file.stat().st_size for file in files))
        yield from read(files, reading, lambda read: bar.advance(shown, read))


def _chosen(
    records: Iterator[Record],
    profile: str | None,
    run: str | None,
    seen: dict[Literal["profile", "run"], set[str]],
) -> Iterator[Record]:
    """What the options let through; ``seen`` gets the names that there are, a hundred at most."""
    name, _, digest = (profile or "").partition("@")
    for record in records:
        for kind, found in (("profile", record.profile), ("run", record.run)):
            names = seen["profile" if kind == "profile" else "run"]
            if len(names) < 100:
                names.add(found or "")
        if profile is not None and record.profile != name:
            continue
        if digest and record.profile_digest != digest:
            continue
        if run is None or (record.run or "") == run:
            yield record


def _refuse(
    reading: Reading,
    tally: Tally,
    profile: str | None,
    run: str | None,
    seen: dict[Literal["profile", "run"], set[str]],
) -> None:
    """Nothing to judge is a mistake somewhere: say which."""
    from service.alignment import page

    files = ", ".join(reading.files)
    if not reading.lines:
        raise StartupFault(f"{files}: no line in it; has the server scored anything since?")
    if reading.malformed == reading.lines:
        raise StartupFault(
            f"{files}: none of {reading.lines:,} lines is a scored item ({reading.examples[0]}); "
            "expected the log that [audit] path names, or JSONL with reward, status and step"
        )
    if not tally.records:
        wanted = [
            text
            for text, given in ((f"--profile {profile}", profile), (f"--run {run}", run))
            if given is not None
        ]
        kind: Literal["profile", "run"] = "profile" if profile is not None else "run"
        name = (profile or "").partition("@")[0] if profile is not None else (run or "")
        known = {page.printable(name) for name in seen[kind]}
        raise StartupFault(f"{files}: nothing of {' '.join(wanted)}{nearest(name, known)}")
    if not tally.curves:
        raise StartupFault(
            f"{files}: none of {tally.records:,} items has a step (e.g. "
            f"{tally.stepless_examples[0]}); send context = {{run, step, split}} with each request"
        )


def _json(report: Report) -> str:
    import msgspec

    plain: Any = json.loads(msgspec.json.encode(report))
    return json.dumps(plain, indent=2, ensure_ascii=True)


def _write(report: Report, folder: Path, *, png: bool) -> None:
    from service.alignment import figure, page

    try:
        folder.mkdir(parents=True, exist_ok=True)
        drawn = [folder / "report.svg", *([folder / "report.png"] if png else [])]
        left_out = figure.draw(report, drawn)
        text = page.markdown(report, "report.svg")
        if left_out:
            text += f"\nThe figure leaves out {left_out} curves with fewer items.\n"
        (folder / "report.md").write_text(text, encoding="utf-8")
        (folder / "report.json").write_text(_json(report) + "\n", encoding="utf-8")
    except OSError as error:
        raise StartupFault(f"--out {folder}: {error.strerror or error}") from error
    _ERRORS.print(f"wrote {folder}/report.md, .json, .svg{', .png' if png else ''}", markup=False)


def _show(console: Console, report: Report) -> None:
    from service.alignment import page

    for line in page.account(report):
        console.print(page.printable(line), markup=False, highlight=False, soft_wrap=True)
    table = Table("curve", *_SHOWN.values())
    for column in table.columns[1:]:
        column.justify = "right"
    for curve in report.curves:
        cells = dict(zip(page.COLUMNS, page.cells(curve), strict=True))
        table.add_row(escape(_name(curve)), *(_narrow(cells[name]) for name in _SHOWN))
    console.print(table)
    for curve in report.curves:
        colour = {"diverges": "red", "undecided": "yellow", "no divergence seen": "green"}
        console.print(
            f"{_name(curve)}: {curve.sentence}",
            style=colour.get(curve.verdict, ""),
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    for gap in report.gaps:
        console.print(
            f"{' − '.join(gap.of)}: reward {page.number(gap.reward_first, '+.3f')} → "
            f"{page.number(gap.reward_last, '+.3f')}, truth "
            f"{page.number(gap.truth_first, '+.3f')} → {page.number(gap.truth_last, '+.3f')}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def _narrow(cell: str) -> str:
    """A cell without its interval and without blanks."""
    return cell.partition(" [")[0].replace(" ", "")


def _name(curve: Any) -> str:
    from service.alignment import page
    from service.alignment.report import shown_recipe

    split = curve.split or "(no split)"
    if curve.truth_split != curve.split:
        split = f"{split} / truth of {curve.truth_split}"
    recipe = shown_recipe(curve.profile, curve.profile_digest)
    return page.printable(f"{curve.run or '(no run)'} {recipe} {split}")
