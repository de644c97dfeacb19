"""A policy that learns in seconds: words for tokens, two layers of Qwen2, random weights.

Its vocabulary holds whole thoughts and whole answers, so that two tokens drawn at random are now
and then a well-formed completion. Nothing is read from a hub. Run in TRL's environment.
"""

from __future__ import annotations

from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

GENES = ("AARS1", "CALR", "CD3D", "CD3E", "TP53", "MDM2")
UNKNOWN = "NOBODY"
"""The test's world model does not know it: what is asked about it abstains."""
THOUGHTS = tuple(f"<think>{word}</think>" for word in ("starves", "binds", "stress", "nothing"))
ANSWERS = ("<answer>yes</answer>", "<answer>no</answer>")
SPECIAL = ("<pad>", "<eos>", "<unk>")
VOCABULARY = (*SPECIAL, "knockdown", "?", *GENES, UNKNOWN, *THOUGHTS, *ANSWERS)
TEMPLATE = "{% for message in messages %}{{ message['content'] + ' ' }}{% endfor %}"


def tokenizer() -> PreTrainedTokenizerFast:
    """One token for each word of the vocabulary."""
    words = Tokenizer(WordLevel({word: at for at, word in enumerate(VOCABULARY)}, "<unk>"))
    words.pre_tokenizer = WhitespaceSplit()
    pad, eos, unknown = SPECIAL
    made = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token=pad, eos_token=eos, unk_token=unknown
    )
    made.chat_template = TEMPLATE
    return made


def policy(seed: int = 0) -> Qwen2ForCausalLM:
    """Two random layers."""
    torch.manual_seed(seed)
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(VOCABULARY),
            hidden_size=64,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=64,
            pad_token_id=0,
            bos_token_id=None,
            eos_token_id=1,
        )
    )


def questions(conversational: bool = False, unknown: bool = False) -> Dataset:
    """A knockdown of each gene and its effect on CALR; ``unknown`` adds one that abstains."""
    genes = (*GENES, UNKNOWN) if unknown else GENES
    rows: list[dict[str, Any]] = []
    for gene in genes:
        text = f"knockdown {gene} ?"
        rows.append(
            {
                "prompt": [{"role": "user", "content": text}] if conversational else text,
                "task": {
                    "type": "perturbation.de",
                    "perturbation": gene,
                    "gene": "CALR",
                    "cell_line": "k562",
                },
            }
        )
    return Dataset.from_list(rows)
