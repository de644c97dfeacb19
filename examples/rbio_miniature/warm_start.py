"""The warm start: a policy learns the form of an answer, and nothing of what is true.

Supervised on prompts of the training perturbations, each with one of the thoughts and an answer
that a coin decides. Runs in the trainer's environment.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

import policy
import torch
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

BATCH: Final = 128
RATE: Final = 1e-3


def completion(coin: random.Random) -> str:
    """A well-formed answer at random."""
    thought, answer = coin.choice(policy.THOUGHTS), coin.choice(("yes", "no"))
    return f"<think> {thought} </think> <answer> {answer} </answer> {policy.END}"


def teach_form(
    model: Qwen2ForCausalLM,
    speech: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    *,
    steps: int,
    seed: int,
    tell: Callable[[int, float], None],
) -> None:
    """Some steps of cross-entropy on completions; ``tell`` hears step and loss."""
    coin = random.Random(seed)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.Adam(trained, RATE)
    # Falling to nothing: what is left of wrong forms costs a run more than wrong answers do.
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, steps)
    for step in range(1, steps + 1):
        asked = coin.choices(prompts, k=BATCH)
        ids, target = _batch(speech, asked, [completion(coin) for _ in asked])
        logits = model(input_ids=ids).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), target[:, 1:].flatten(), ignore_index=-100
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        falling.step()
        tell(step, float(loss.detach()))


def _batch(
    speech: PreTrainedTokenizerFast, prompts: Sequence[str], said: Sequence[str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens, and what is to be learnt: the completion. All prompts and thoughts are as long."""
    asked = speech(list(prompts), return_tensors="pt")["input_ids"]
    answered = speech(list(said), return_tensors="pt")["input_ids"]
    return (
        torch.cat([asked, answered], 1),
        torch.cat([torch.full_like(asked, -100), answered], 1),
    )
