"""A taskset of verifiers v1 and a harness that plays it: one question, one scripted answer.

Found by verifiers' own plugin loader, by this module's name. Each prompt names its answer in
brackets; the scripted model beside the evaluation gives it.
"""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import verifiers.v1 as vf
from scripted_model import task_about

__all__ = ["Pairs", "Scripted"]


class PairData(vf.TaskData):
    task: dict[str, str]


class PairTask(vf.Task[PairData]):
    """No reward of its own: the configuration plugs one in."""


class PairsConfig(vf.TasksetConfig):
    rows: list[str]
    """Each an answer, a gene, and maybe the seconds that scoring may take: ``yes CALR``."""
    task: vf.TaskConfig = vf.TaskConfig()


class Pairs(vf.Taskset[PairTask, PairsConfig]):
    def load(self) -> Iterator[PairTask]:
        for row in self.config.rows:
            answer, gene, *seconds = row.split()
            data = PairData(
                name=row,
                prompt=f"Does {gene} change? [{answer}]",
                task=task_about(gene),
                timeout=vf.TaskTimeout(scoring=float(seconds[0]) if seconds else None),
            )
            yield PairTask(data, self.config.task)


class Scripted(vf.Harness[vf.HarnessConfig]):
    """Asks the model once, within this process, through the address that verifiers gives it."""

    EXECUTES_CODE = NEEDS_CONTAINER = False
    SUPPORTS_MCP = True

    async def launch(
        self,
        ctx: vf.ModelContext,
        trace: vf.Trace,
        runtime: vf.Runtime,
        endpoint: str,
        secret: str,
        mcp_urls: dict[str, str],
        data: vf.TaskData,
    ) -> vf.ProgramResult:
        body = {"model": ctx.model, "messages": [{"role": "user", "content": data.prompt_text}]}
        head = {"authorization": f"Bearer {secret}"}
        async with httpx.AsyncClient(timeout=30, verify=False) as client:
            answer = await client.post(f"{endpoint}/chat/completions", json=body, headers=head)
            answer.raise_for_status()
        return vf.ProgramResult(0, "", "")
