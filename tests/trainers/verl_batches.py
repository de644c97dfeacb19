"""What verl hands to its rewards: its own configuration, a tokenizer, and rollouts of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from verl import DataProto

LONGEST = 160
PROMPT = "Does it change?"


def tokenizer_in(folder: Path) -> PreTrainedTokenizerFast:
    """A token for each character, written where verl's own loader will read it."""
    characters = ["<pad>", "<eos>", *map(chr, range(32, 127))]
    tokenizer = Tokenizer(models.WordLevel({c: i for i, c in enumerate(characters)}, "?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="?"
    )
    made.save_pretrained(folder)
    return made


def configuration(tokenizer: Path, *typed: str) -> DictConfig:
    """verl's own, with what a user types behind ``python -m verl.trainer.main_ppo``."""
    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose(
            "ppo_trainer",
            [
                f"actor_rollout_ref.model.path={tokenizer}",
                "reward.custom_reward_function.path=pkg://softverifier.trainers.verl",
                *typed,
            ],
        )


def rollouts(
    tokenizer: PreTrainedTokenizerFast, said: Sequence[str], genes: Sequence[str]
) -> DataProto:
    """Prompts padded on the left, responses on the right, as verl's rollout leaves them."""
    asked = tokenizer(PROMPT)["input_ids"]
    prompts = [[tokenizer.pad_token_id] * 3 + asked] * len(said)
    written = [[*tokenizer(one)["input_ids"], tokenizer.eos_token_id] for one in said]
    assert max(map(len, written)) <= LONGEST
    responses = [one + [tokenizer.pad_token_id] * (LONGEST - len(one)) for one in written]
    mask = [[0] * 3 + [1] * len(asked) + [1] * len(w) + [0] * (LONGEST - len(w)) for w in written]
    tensors = {
        "prompts": torch.tensor(prompts),
        "responses": torch.tensor(responses),
        "input_ids": torch.tensor([p + r for p, r in zip(prompts, responses, strict=True)]),
        "attention_mask": torch.tensor(mask),
    }
    return DataProto.from_dict(tensors=tensors, non_tensors=_columns(genes))


def _columns(genes: Sequence[str]) -> dict[str, np.ndarray]:
    """As its data set reads Parquet: lists are arrays of objects, and much is nobody's business."""
    columns: dict[str, list[object]] = {"data_source": [], "reward_model": [], "extra_info": []}
    for at, gene in enumerate(genes):
        task = {"type": "perturbation.de", "perturbation": "AARS1", "gene": gene}
        truth = {"task": {**task, "cell_line": "k562"}}
        columns["data_source"].append("perturbqa")
        columns["reward_model"].append({"style": "rule", "ground_truth": json.dumps(truth)})
        columns["extra_info"].append(
            {
                "index": np.int64(at),
                "split": "train",
                "keywords": np.array(["AARS1", gene], dtype=object),
                "tools": np.array([{"name": "search", "call": object()}], dtype=object),
                "nothing": float("nan"),
            }
        )
    made = {name: np.empty(len(genes), dtype=object) for name in columns}
    for name, values in columns.items():
        made[name][:] = values
    made["uid"] = np.array(["one"] * len(genes), dtype=object)
    return made
