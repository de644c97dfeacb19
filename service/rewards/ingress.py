"""What happens to a completion's text before it is read.

Length first: a text over ``max_chars`` is refused unread. Then NFC, never NFKC (which would turn
"ｙｅｓ" and "ʸᵉˢ" into answers). What the chat template writes is not the policy's doing: a leading
byte-order mark and a trailing run of end tokens (``END_TOKENS``, letter for letter) are taken away.
Linear in the text.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

END_TOKENS: Final = (
    "<|im_end|>",  # Qwen
    "<|endoftext|>",  # GPT, Qwen
    "</s>",  # Llama 2, Mistral
    "<|eot_id|>",  # Llama 3
    "<|eot|>",  # Llama 4
    "<|end_of_text|>",  # Llama 3, Granite
    "<end_of_turn>",  # Gemma
    "<eos>",  # Gemma
    "<|end|>",  # Phi
    "<|return|>",  # gpt-oss
    "<|END_OF_TURN_TOKEN|>",  # Command
    "<\uff5cend\u2581of\u2581sentence\uff5c>",  # DeepSeek
)
"""How chat templates end an answer, where they are decoded too."""
_MARKS: Final = 30
"""Combining marks in a row (Unicode's Stream-Safe limit): CPython sorts longer runs in quadratic
time, 0.8 s for 32,000 characters."""
_NO_WORDS: Final = re.compile(rf"[^\w\0-\u02ff]{{{_MARKS + 1},}}")
"""Where such runs can be: no combining mark is a letter or a digit."""


def composed(text: str) -> str | None:
    """The text in NFC; None where more than ``_MARKS`` combining marks follow each other."""
    if text.isascii():
        return text
    if _many_marks(text):
        return None
    return unicodedata.normalize("NFC", text)


def _many_marks(text: str) -> bool:
    for found in _NO_WORDS.finditer(text):
        run = 0
        for character in found.group():
            run = run + 1 if unicodedata.combining(character) else 0
            if run > _MARKS:
                return True
    return False


def without_end_tokens(text: str) -> str:
    """``text`` up to the run of end tokens, blanks between them included, that ends it."""
    if not text.rstrip().endswith(END_TOKENS):
        return text
    end = len(text)
    while end:
        if text[end - 1].isspace():
            end -= 1
            continue
        for token in END_TOKENS:
            if text.endswith(token, 0, end):
                end -= len(token)
                break
        else:
            break
    return text[:end]
