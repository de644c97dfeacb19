"""Terms of whole rows of readouts, exactly as training had them, on the CPU or an accelerator.

What ``screen_evidence`` gives of pairs and ``screen_inputs`` puts beside it, here for a few
perturbations of one line × every readout. Dense products are always of ``block`` perturbations,
filled up with zeros: a product of another shape may be summed in another order, and a row is to be
the same to the last bit whatever it is asked with. Whether its place in the block matters is tried
when a model is opened; where it does (small products on some processors), blocks are of one row.
Limits: memory by points² · 4 bytes for each
family; the CPU's and an accelerator's sums differ in the last bits.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from worldmodels.perturbation import screen_evidence, screen_inputs, screen_kernel, screen_points
from worldmodels.perturbation.screen_evidence import KINDS, Taught
from worldmodels.perturbation.screen_features import SUMMARY
from worldmodels.perturbation.screen_fitted import Fitted, Lesson
from worldmodels.perturbation.screen_nets import one_thread
from worldmodels.perturbation.screen_points import Codes, Points, Responses
from worldmodels.perturbation.screen_rows import Single

if TYPE_CHECKING:
    import torch

BLOCK: Final = 8
"""Perturbations at a time, where their places in a product do not matter."""


class Terms:
    """A model's lesson on a device."""

    def __init__(self, fitted: Fitted, device: str) -> None:
        """Put it there."""
        points = screen_points.of_rows(fitted.rows)
        place = {name: i for i, name in enumerate(fitted.perturbations)}
        readouts = [place.get(name, -1) for name in fitted.readouts]
        gene = {name: code for code, name in enumerate(fitted.rows.genes)}
        self._code = np.array([gene.get(name, -1) for name in fitted.perturbations], np.intp)
        near = {name: _rows_or_zeros(block, readouts) for name, block in fitted.blocks.items()}
        self._device, self._lines = device, len(fitted.lines)
        self._points, self._shares = points, fitted.shares
        self._blocks = {name: _put(block, device) for name, block in fitted.blocks.items()}
        self._near = {name: _put(block, device) for name, block in near.items()}
        self._families = {
            name: _Likeness(fitted, points, blocks) for name, blocks in fitted.families.items()
        }
        self._lessons = [_Taught(points, lesson, near, device) for lesson in fitted.lessons]
        self._lesson = fitted.lesson
        self.readouts = len(readouts)
        self.block = BLOCK
        if self._place_matters():
            self.block = 1

    def _place_matters(self) -> bool:
        """Whether a row's last bits depend on which rows it is computed with."""
        import torch

        some = np.arange(min(BLOCK, len(self._code)))
        with one_thread(), torch.inference_mode():
            for lesson in range(len(self._lessons)):
                line = self._lesson.index(lesson)
                rows = list(self.inputs(line, some))
                for other in (some[::-1].copy(), some[2:5], some[5:]):
                    for at, row in zip(other, self.inputs(line, other), strict=True):
                        if not torch.equal(row, rows[at]):
                            return True
        return False

    def inputs(self, line: int, perturbations: Codes) -> Iterator[torch.Tensor]:
        """Inputs of the ensembles for each perturbation in turn, shape (readouts, inputs).

        The columns come in the order of ``screen_inputs``; nets that are not told where the genes
        lie take the first of them.

        Args:
            line: of the model's lines, their number for the pooled one.
            perturbations: at most ``block`` codes into the model's perturbations.
        """
        import torch

        n = len(perturbations)
        if self._lines == 1:  # nothing to pool: any other line is taken for the one there is
            line = 0
        lesson = self._lessons[self._lesson[line]]
        habits = screen_evidence.habits(
            self._points, lesson.training, line if line < self._lines else -1
        )
        direction = _put(habits.direction, self._device)
        same = self._code[perturbations][:, None] == self._points.perturbation[lesson.at]
        same &= self._code[perturbations][:, None] >= 0
        elsewhere = (same & (self._points.line[lesson.at] != line)).astype(np.float32)
        columns: list[torch.Tensor] = []
        for name, likeness in self._families.items():
            kernel = self._kernel(likeness, lesson, line, perturbations, same)
            columns += lesson.of_family(kernel @ lesson.inverse[name], direction)
        columns += lesson.transferred(self._filled(elsewhere))
        shared, summary = self._shared(line, habits), self._near[SUMMARY]
        cosines = [
            self._asked(name, perturbations) @ near.T
            for name, near in self._near.items()
            if name != SUMMARY
        ]
        for i in range(n):
            own = self._blocks[SUMMARY][perturbations[i]].expand(self.readouts, -1)
            terms = torch.stack([column[i].expand(self.readouts) for column in columns], dim=1)
            places = [torch.stack([each[i] for each in cosines], dim=1), own, summary]
            yield torch.cat([terms, shared, *places], dim=1)

    def _asked(self, block: str, perturbations: Codes) -> torch.Tensor:
        """Features of some perturbations, shape (block, width)."""
        import torch

        of = self._blocks[block]
        rows = torch.zeros((self.block, of.shape[1]), device=self._device)
        rows[: len(perturbations)] = of[perturbations]
        return rows

    def _kernel(
        self,
        likeness: _Likeness,
        lesson: _Taught,
        line: int,
        perturbations: Codes,
        same: Any,
    ) -> torch.Tensor:
        """The kernel of some perturbations to the lesson's points, shape (block, points)."""
        import torch

        product = torch.zeros((self.block, len(likeness.trained)), device=self._device)
        for name in likeness.blocks:
            product += self._asked(name, perturbations) @ self._blocks[name][likeness.trained].T
        scaled = product / likeness.diagonal
        alike = torch.sign(scaled) * torch.abs(scaled) ** screen_kernel.POWER
        column = torch.from_numpy(likeness.column[lesson.at]).to(self._device)
        across = np.where(self._points.line[lesson.at] == line, 1, screen_kernel.ACROSS)
        kernel = alike[:, column] * _put(across.astype(np.float32), self._device)
        return kernel + self._filled(screen_kernel.SAME * same.astype(np.float32))

    def _filled(self, rows: Single) -> torch.Tensor:
        """Rows filled up with zeros to a block."""
        return _put(np.pad(rows, ((0, self.block - len(rows)), (0, 0))), self._device)

    def _shared(self, line: int, habits: screen_evidence.Habits) -> torch.Tensor:
        """What does not depend on the perturbation: habits and line."""
        known = screen_inputs.of_habits(habits, self._shares[line])
        which = screen_inputs.of_line(np.full(self.readouts, line), self._lines)
        return _put(np.concatenate([known, which], axis=1), self._device)


class _Likeness:
    """What a family compares perturbations by."""

    def __init__(self, fitted: Fitted, points: Points, blocks: Sequence[str]) -> None:
        self.blocks = tuple(blocks)
        place = {name: i for i, name in enumerate(fitted.perturbations)}
        codes = np.unique(points.perturbation)
        self.trained = np.array([place[fitted.rows.genes[code]] for code in codes], np.intp)
        self.column = np.searchsorted(codes, points.perturbation)
        self.diagonal = screen_kernel.diagonal(fitted.blocks, self.blocks, self.trained)


@dataclass(frozen=True, slots=True)
class _Sparse:
    """Responses on a device, both ways round."""

    values: torch.Tensor
    transposed: torch.Tensor
    centre: torch.Tensor
    inverse: torch.Tensor
    lines: torch.Tensor
    """Which line each point is of, shape (points, lines)."""

    def under(self, left: torch.Tensor) -> torch.Tensor:
        """Left · R, left of shape (m, points)."""
        return (self.transposed @ left.T).T - (left @ self.lines) @ self.centre

    def alike(self, found: torch.Tensor) -> torch.Tensor:
        """Each readout's response carried to readouts that answer to the same perturbations."""
        right = (found * self.inverse).T
        times = self.values @ right - self.lines @ (self.centre @ right)
        return self.under(times.T) * self.inverse


class _Taught:
    """One lesson on a device."""

    def __init__(
        self, points: Points, lesson: Lesson, near: dict[str, Single], device: str
    ) -> None:
        self.training = np.isin(points.line, lesson.lines)
        self.at = np.flatnonzero(self.training)
        taught: Taught = screen_evidence.taught(points, self.training, near)
        lines = np.eye(len(points.rows.lines), dtype=np.float32)[points.line[self.at]]
        self._by_kind = {
            kind: _sparse(taught.by_kind[kind], self.at, lines, device) for kind in KINDS
        }
        self._near = {
            name: (_put(block, device), _put(taught.square[name], device))
            for name, block in taught.near.items()
        }
        self._strength = _put(taught.strength[self.at], device)
        self.inverse = {name: _put(table, device) for name, table in lesson.inverse.items()}

    def of_family(self, influence: torch.Tensor, direction: torch.Tensor) -> list[torch.Tensor]:
        """A family's terms, each of shape (block, readouts) or (block, 1)."""
        columns: list[torch.Tensor] = []
        for of in self._by_kind.values():
            own = of.under(influence)
            alike = of.alike(own)
            columns += [own, alike, own.mean(dim=1, keepdim=True)]
            for block, square in self._near.values():
                columns.append((own @ block) @ block.T - own * square)
        columns += [own * direction, alike * direction]
        return columns + list((influence @ self._strength).T[:, :, None])

    def transferred(self, elsewhere: torch.Tensor) -> list[torch.Tensor]:
        """What other lines say of the very same perturbations, of the same shapes."""
        columns = [of.alike(of.under(elsewhere)) for of in self._by_kind.values()]
        columns += list((elsewhere @ self._strength).T[:, :, None])
        return [*columns, elsewhere.sum(dim=1, keepdim=True)]


def _sparse(of: Responses, at: Codes, lines: Single, device: str) -> _Sparse:
    values = of.values[at]
    return _Sparse(
        _csr(values, device),
        _csr(values.T.tocsr(), device),
        _put(of.centre, device),
        _put(of.inverse, device),
        _put(lines, device),
    )


def _csr(table: Any, device: str) -> torch.Tensor:
    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
        return torch.sparse_csr_tensor(
            torch.from_numpy(table.indptr.astype(np.int64)),
            torch.from_numpy(table.indices.astype(np.int64)),
            torch.from_numpy(table.data.astype(np.float32)),
            size=table.shape,
            device=device,
            check_invariants=True,
        )


def _put(table: Single, device: str) -> torch.Tensor:
    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(table)).to(device)


def _rows_or_zeros(block: Single, at: Sequence[int]) -> Single:
    return np.concatenate([block, np.zeros((1, block.shape[1]), np.float32)])[list(at)]
