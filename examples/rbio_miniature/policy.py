"""A policy that fits a CPU: a Qwen2 of two layers that reads words and genes and writes words.

Each gene is one token, and its embedding is the gene's vector from the graphs, frozen: what a
policy learns of a gene applies to its neighbours, also to those that no prompt ever asked about.
Words are learnt. The head has the words alone, so that a step costs what forty tokens cost, not
what the genes of a genome do. Limits: one tokenizer per set of genes; answers are two words.

Runs in the trainer's environment (torch, transformers).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

PROMPT: Final = "does losing {a} in {line} cells change {b} ?"
"""rbio's question in few words; the verifier reads the row's task, not this."""
THOUGHTS: Final = ("it may reach it", "it might reach it", "it could reach it")
"""What the warm start puts between the think tags: it claims nothing."""
PAD, END = "<pad>", "<end>"
TAGS: Final = ("<think>", "</think>", "<answer>", "</answer>")
LAYERS: Final = 2
HEADS: Final = 4
LENGTH: Final = 64


def words(line: str) -> list[str]:
    """Every token that is no gene, the padding first."""
    text = [PROMPT.format(a="", b="", line=line), *THOUGHTS, "yes no", *TAGS]
    return [PAD, END, *sorted({word for part in text for word in part.split()})]


def tokenizer(line: str, genes: Sequence[str]) -> PreTrainedTokenizerFast:
    """One token a word and one a gene, words first.

    Raises:
        ValueError: a gene is called like a word.
    """
    known = words(line)
    if twice := set(known) & set(genes):
        raise ValueError(f"genes called like words of the prompt: {', '.join(sorted(twice))}")
    vocabulary = {token: number for number, token in enumerate([*known, *genes])}
    made = Tokenizer(models.WordLevel(vocabulary))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token=PAD,
        eos_token=END,
        padding_side="left",
        model_max_length=LENGTH,
        clean_up_tokenization_spaces=False,
    )


def build(speech: PreTrainedTokenizerFast, line: str, vectors: NDArray[Any]) -> Qwen2ForCausalLM:
    """A policy that knows nothing yet; seed torch before.

    Args:
        speech: its tokenizer.
        line: the cell line, a word of the prompt.
        vectors: shape (genes, width), in the order of the tokenizer's genes; width divides by 8.
    """
    spoken, width = len(words(line)), vectors.shape[1]
    config = Qwen2Config(
        vocab_size=len(speech),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=LENGTH,
        initializer_range=width**-0.5,
        tie_word_embeddings=False,
        pad_token_id=speech.pad_token_id,
        eos_token_id=speech.eos_token_id,
        bos_token_id=None,
    )
    model = Qwen2ForCausalLM(config)
    model.lm_head = torch.nn.Linear(width, spoken, bias=False)
    torch.nn.init.normal_(model.lm_head.weight, std=width**-0.5)
    freeze_genes(model, spoken, vectors)
    return model


def freeze_genes(model: Qwen2ForCausalLM, spoken: int, vectors: NDArray[Any]) -> None:
    """Genes' rows become the graphs' vectors and take no gradient."""
    table = model.model.embed_tokens.weight
    with torch.no_grad():
        table.normal_(0, 1)
        table[spoken:] = torch.from_numpy(np.ascontiguousarray(vectors, np.float32))

    def of_words(gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient.clone()
        gradient[spoken:] = 0
        return gradient

    table.register_hook(of_words)


def probabilities(
    model: Qwen2ForCausalLM,
    speech: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    batch: int = 1024,
) -> NDArray[np.float32]:
    """p(yes) against no where the answer stands, behind the first of ``THOUGHTS``; shape (n,)."""
    said = f" <think> {THOUGHTS[0]} </think> <answer>"
    yes, no = speech.convert_tokens_to_ids(["yes", "no"])
    found = [np.zeros(0, np.float32)]
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(prompts), batch):
            texts = [prompt + said for prompt in prompts[start : start + batch]]
            tokens = speech(texts, return_tensors="pt", padding=True)
            last = model.model(
                input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
            ).last_hidden_state[:, -1]
            logits = model.lm_head(last)
            found.append(torch.sigmoid(logits[:, yes] - logits[:, no]).numpy())
    model.train()
    return np.concatenate(found)


def save(model: Qwen2ForCausalLM, path: Path) -> None:
    """Every weight, as safetensors."""
    from safetensors.torch import save_file

    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, path)


def load(model: Qwen2ForCausalLM, path: Path) -> None:
    """Weights that ``save`` wrote, of the same tokenizer."""
    from safetensors.torch import load_file

    model.load_state_dict(load_file(path))
