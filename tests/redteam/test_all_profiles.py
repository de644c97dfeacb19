"""No attack pays under any shipped profile, and each row of the table is tried or says why not."""

from __future__ import annotations

import pytest

from service.redteam.rows import ROWS
from service.rewards import files

SHIPPED = sorted(path.stem for path in files.SHIPPED.glob("*.toml"))
LEAST = 300
"""Attacks on a profile of one example."""


@pytest.fixture(scope="session")
def reports():
    """Reports by profile, made once for each process."""
    return {}


def report_on(name, profiles, attack, reports):
    if any("[chem]" in lack for lack in profiles[name].lacks):
        pytest.skip("; ".join(profiles[name].lacks))
    if name not in reports:
        reports[name] = attack(profiles[name])
    return reports[name]


def told(report):
    lines = [f"honesty: {fault}" for fault in report.faults]
    for found in report.failures[:20]:
        lines.append(
            f"{found.verdict}: {found.attack.name} [{found.case}] must be {found.attack.must}, "
            f"earned {found.earned} of {found.honest} ({found.said})\n"
            f"    {ascii(found.attack.completion)[:200]}"
        )
    return "\n".join([f"{len(report.failures)} attacks pay under {report.profile}", *lines])


@pytest.mark.parametrize("name", SHIPPED)
def test_honesty_pays_best(name, profiles, attack, reports):
    report = report_on(name, profiles, attack, reports)
    assert not report.skipped, f"the red team's library is to have it: {report.skipped}"
    assert report.cases > 0
    assert report.attacks > LEAST
    assert report.holds, told(report)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_row_is_tried_or_says_why_not(name, profiles, attack, reports):
    rows = report_on(name, profiles, attack, reports).rows()
    assert list(rows) == list(ROWS)
    for row in (2, 4, 10, 19, 20, 21, 22, 23):
        assert rows[row] == "", f"row {row} concerns every profile: {rows[row]}"
    untried = [line for line in reports[name].lines if not line.applies]
    assert all(line.reason for line in untried), [line.name for line in untried if not line.reason]


def test_every_row_is_tried_under_some_profile(profiles, attack, reports):
    tried = set()
    for name in SHIPPED:  # without the extra [chem] rows 17 and 18 cannot be tried: skipped
        report = report_on(name, profiles, attack, reports)
        tried |= {row for row, reason in report.rows().items() if not reason}
    assert sorted(tried) == list(ROWS)
