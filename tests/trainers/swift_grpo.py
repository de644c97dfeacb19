"""A real run of ms-swift's GRPO on a CPU, through its own command line's entry and plugin loader.

    python swift_grpo.py FOLDER PLUGIN STEPS [STEP…]

The model is a random Qwen2 of two layers whose tokenizer knows some letters, white space and whole
answers. Before it scores one of the STEPs (counted from 0) the run leaves a file ``at-STEP`` and
waits for ``go-STEP``, so that a test decides what dies when. What the trainer was given is in its
own log, ``completions.jsonl``. Run in ms-swift's environment.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from swift.pipelines import rlhf_main
from swift.rlhf_trainers.grpo_trainer import GRPOTrainer
from tokenizers import AddedToken
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

THOUGHTS = ("stress", "growth", "repair", "cycle", "decay")
BLANKS = ("\n\n", "\t", " \t", "\t\t", "\n\t")
TASK = {"type": "perturbation.de", "perturbation": "AARS1", "gene": "CALR", "cell_line": "k562"}
SETTINGS = {
    "rlhf_type": "grpo",
    "model_type": "qwen2",
    "template": "chatml",
    "tuner_type": "full",
    "torch_dtype": "float32",
    "check_model": "false",  # it would ask a hub for news of the model
    "reward_funcs": "soft_verifier",
    "max_completion_length": 2,
    "num_generations": 8,
    "per_device_train_batch_size": 32,
    "gradient_accumulation_steps": 1,
    "learning_rate": 1e-2,
    "lr_scheduler_type": "constant",
    "warmup_ratio": 0,
    "max_grad_norm": 1000,
    "scale_rewards": "none",
    "beta": 0,
    "log_completions": "true",
    "logging_steps": 1,
    "save_strategy": "no",
    "split_dataset_ratio": 0,
    "report_to": "none",
    "add_version": "false",
}


def make_model(folder: Path) -> None:
    """The policy and its tokenizer."""
    letters = sorted({*"userassistant?", "Ġ", "Ċ"})
    tokenizer = Qwen2Tokenizer(
        vocab={letter: at for at, letter in enumerate(letters)},
        merges=[],
        unk_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        extra_special_tokens=["<|im_start|>"],
    )
    said = [
        f"<think>{word}</think><answer>{x}</answer>" for word in THOUGHTS for x in ("yes", "no")
    ]
    tokenizer.add_tokens(
        [AddedToken(text, special=False, normalized=False) for text in (*said, *BLANKS)]
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)


def wait_at(folder: Path, gates: set[int]) -> None:
    """Stop before scoring at the gates."""
    scored = GRPOTrainer._compute_rewards_per_func

    def stopping(self: Any, *arguments: Any) -> Any:
        step = self.state.global_step
        if step in gates:
            (folder / f"at-{step}").touch()
            until = time.monotonic() + 120
            while not (folder / f"go-{step}").exists():
                if time.monotonic() > until:
                    raise SystemExit(f"nobody opened the gate of step {step}")
                time.sleep(0.01)
        return scored(self, *arguments)

    GRPOTrainer._compute_rewards_per_func = stopping


def main(folder: Path, plugin: str, steps: str, *gates: str) -> None:
    """Train."""
    make_model(folder / "model")
    row = {"messages": [{"role": "user", "content": "?"}], "task": json.dumps(TASK)}
    (folder / "rows.jsonl").write_text((json.dumps(row) + "\n") * 64)
    wait_at(folder, set(map(int, gates)))
    told = {
        **SETTINGS,
        "model": folder / "model",
        "dataset": folder / "rows.jsonl",
        "output_dir": folder / "out",
        "external_plugins": plugin,
        "max_steps": steps,
    }
    rlhf_main([str(word) for name, value in told.items() for word in (f"--{name}", value)])


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
