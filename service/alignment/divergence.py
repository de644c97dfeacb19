"""Does the reward still rise when the truth no longer does? From which step on?

Steps x₁ < … < x_m; r the mean reward of a step in units of the rewards' own range, t the truth
metric. In a window of w consecutive steps, b(·) is the least-squares slope against x, weighted by
the items of each step, and L, U are its one-sided confidence bounds at ``level`` (Student's t with
w − 2 degrees of freedom; the standard error is widened by √((1+ρ)/(1−ρ)), ρ ≥ 0 the lag-1
autocorrelation of the residuals). A window is *parted* where

    L[b(r)] > 0   and   U[b(t − share·r)] ≤ 0,

that is, the reward surely rises, and the truth surely gains less than ``share`` (a quarter) of what
the reward gains: it falls, stands still, or hardly rises. Judging the difference t − share·r and
not each alone lets a run in which both level off pass, and asks for no scale on which "no longer
rises" would have to be stated. Windows have w, 2w and 4w steps (longer ones see through more noise,
shorter ones sooner). The run *diverges* where the windows that end at w/2 successive steps are all
parted. The step told is where it began: the knee of the continuous two-piece line that fits
t − share·r best from w steps before the first parted window to its length behind it, or that
window's first step where a knee fits no better than a straight line (BIC, Schwarz 1978).

Limits: a change that lasts less than about w steps is not seen, nor what hides in noise: where the
reward surely rose over the last window, and the truth does not surely gain more than ``share`` of
it over the last w, 2w or 4w steps, the verdict is ``undecided``, not that all is well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from service.alignment.statistics import Floats

LEAST: Final = 10
MOST: Final = 50
SCALES: Final = (1, 2, 4)
_ROWS: Final = 1 << 20
"""Cells of one block of windows, so that long runs take little memory."""

Verdict = Literal["diverges", "no divergence seen", "undecided", "too few steps"]


@dataclass(frozen=True, slots=True)
class Divergence:
    """What came of one curve."""

    verdict: Verdict
    step: int | None = None
    """Where it began."""
    seen: int | None = None
    """The step at which it could first be told."""
    until: int | None = None
    """The last step at which a window that ends there is parted."""
    window: int = 0
    needed: int = 0
    """Steps that a verdict takes."""
    reward_change: tuple[float, float] | None = None
    """Bounds of the change of the reward (in its range) from ``step`` to ``until``, where it
    diverges, else over the last window."""
    truth_change: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class _Slopes:
    """Slopes of windows, each shape (number of windows,)."""

    slope: Floats
    error: Floats
    """Half the width of the one-sided interval."""

    @property
    def low(self) -> Floats:
        return self.slope - self.error

    @property
    def high(self) -> Floats:
        return self.slope + self.error


def window_of(steps: int) -> int:
    """The window for a run of so many steps: a sixth of it, 10 to 50."""
    return min(max(steps // 6, LEAST), MOST)


def judge(
    x: Floats,
    reward: Floats,
    truth: Floats,
    weights: Floats,
    *,
    window: int | None = None,
    share: float = 0.25,
    level: float = 0.95,
) -> Divergence:
    """The verdict on one curve.

    Args:
        x: shape (m,), steps, ascending.
        reward: shape (m,), mean reward in units of the rewards' range, no NaN.
        truth: shape (m,), no NaN.
        weights: shape (m,), items of each step.
        window: w; None: ``window_of``.
        share: see above; 0 asks that the truth falls.
        level: confidence of each bound.
    """
    w = window or window_of(len(x))
    patience = max(w // 2, 1)
    needed = w + patience
    if len(x) < needed:
        return Divergence("too few steps", window=w, needed=needed)
    apart = truth - share * reward
    best: tuple[int, int, int] | None = None
    last = 0
    for scale in SCALES:
        size = w * scale
        if size + patience > len(x):
            break
        rises = slopes(x, reward, weights, size, level).low > 0
        lags = slopes(x, apart, weights, size, level).high <= 0
        parted = rises & lags
        stretch = _first_run(parted, patience)
        if stretch and (best is None or stretch[0] + size < best[0] + best[2]):
            best = (*stretch, size)
        if parted.any():
            last = max(last, int(np.flatnonzero(parted)[-1]) + size - 1)
    if best is None:
        return _not_parted(x, reward, truth, apart, weights, w, needed, level)
    first, until, size = best
    began = _onset(x, apart, max(first - w, 0), min(until + size, first + 2 * size), first)
    seen = first + size - 1 + patience - 1
    tail = slice(began, last + 1)
    return Divergence(
        "diverges",
        int(x[began]),
        int(x[seen]),
        int(x[last]),
        w,
        needed,
        _change(x[tail], reward[tail], weights[tail], level),
        _change(x[tail], truth[tail], weights[tail], level),
    )


def _not_parted(
    x: Floats,
    reward: Floats,
    truth: Floats,
    apart: Floats,
    weights: Floats,
    w: int,
    needed: int,
    level: float,
) -> Divergence:
    """No divergence, or no telling: the reward rises at the end and the truth is in the noise."""
    tail = slice(len(x) - w, None)
    changes = [_change(x[tail], y[tail], weights[tail], level) for y in (reward, truth)]
    sizes = [w * scale for scale in SCALES if w * scale <= len(x)]
    gains = any(slopes(x[-n:], apart[-n:], weights[-n:], n, level).low[0] > 0 for n in sizes)
    unclear = changes[0][0] > 0 and not gains
    verdict: Verdict = "undecided" if unclear else "no divergence seen"
    return Divergence(
        verdict, window=w, needed=needed, reward_change=changes[0], truth_change=changes[1]
    )


def _first_run(flags: np.ndarray, patience: int) -> tuple[int, int] | None:
    """First and last window of the first ``patience`` or more flags in a row."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end - start >= patience:
            return int(start), int(end) - 1
    return None


def slopes(x: Floats, y: Floats, weights: Floats, size: int, level: float) -> _Slopes:
    """Slopes of all windows of ``size`` points with their one-sided bounds, in their order."""
    from scipy.special import stdtrit

    quantile = float(stdtrit(size - 2, level))
    views = [sliding_window_view(one, size) for one in (x, y, weights)]
    block = max(_ROWS // size, 1)
    slope, error = [], []
    for at in range(0, len(views[0]), block):
        b, e = _fit(*(view[at : at + block] for view in views))
        slope.append(b)
        error.append(quantile * e)
    return _Slopes(np.concatenate(slope), np.concatenate(error))


def _fit(x: Floats, y: Floats, w: Floats) -> tuple[Floats, Floats]:
    """Weighted least-squares slopes of rows, and their standard errors."""
    w = w / w.sum(axis=1, keepdims=True)
    x = x - (w * x).sum(axis=1, keepdims=True)
    y = y - (w * y).sum(axis=1, keepdims=True)
    spread = (w * x**2).sum(axis=1)
    slope = (w * x * y).sum(axis=1) / spread
    residual = np.sqrt(w) * (y - slope[:, None] * x)
    square = (residual**2).sum(axis=1)
    both = (residual[:, 1:] * residual[:, :-1]).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        rho = np.clip(np.where(square > 0, both / square, 0.0), 0.0, 0.9)
    error = np.sqrt(square / (x.shape[1] - 2) / spread * (1 + rho) / (1 - rho))
    return np.asarray(slope), np.asarray(error)


def _change(x: Floats, y: Floats, weights: Floats, level: float) -> tuple[float, float]:
    """One-sided bounds of how much y changes over all of x."""
    if len(x) < 3:
        return math.nan, math.nan
    found = slopes(x, y, weights, len(x), level)
    span = float(x[-1] - x[0])
    return float(found.low[0]) * span, float(found.high[0]) * span


def _onset(x: Floats, y: Floats, low: int, high: int, otherwise: int) -> int:
    """Where y turns within [low, high): the best knee, or ``otherwise`` where there is none.

    A line has residual sum RSS₁, one with a knee RSS₂ and two parameters more (its place and the
    second slope): it counts where n·ln(RSS₁/RSS₂) > 2·ln n and the slope falls at the knee.
    """
    x, y = x[low:high], y[low:high]
    n = len(x)
    flat = np.column_stack([np.ones(n), x - x[0]])
    straight = _rss(flat, y)[0]
    best, at = math.inf, -1
    for knee in range(2, n - 2):
        rss, found = _rss(np.column_stack([flat, np.maximum(x - x[knee], 0.0)]), y)
        if rss < best and found[2] < 0:
            best, at = rss, knee
    if at < 0 or n * math.log(max(straight, 1e-300) / max(best, 1e-300)) <= 2 * math.log(n):
        return otherwise
    return low + at


def _rss(design: Floats, y: Floats) -> tuple[float, Floats]:
    found, *_ = np.linalg.lstsq(design, y, rcond=None)
    return float(((y - design @ found) ** 2).sum()), np.asarray(found, np.float64)
