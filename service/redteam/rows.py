"""The 23 rows: what was seen to work on public rewards and must not work here."""

from __future__ import annotations

from typing import Final

ROWS: Final[dict[int, str]] = {
    1: "glued think blocks",
    2: "hedges read as an answer",
    3: "both answers, or one inside another word",
    4: "an answer found in untagged prose",
    5: "an answer found in a gene's name",
    6: "reasoning that concludes the opposite",
    7: "a bare list of keywords",
    8: "keywords inside other names",
    9: "keywords under other names",
    10: "several, misplaced or unclosed answers",
    11: "what stands between reasoning and answer",
    12: "no opinion taken for one half",
    13: "truths that belong to other items",
    14: "every label listed; labels inside labels",
    15: "reference text repeated, shuffled, negated, boilerplate",
    16: "ontology roots, unrelated terms, sprays",
    17: "molecules compared as text",
    18: "empty and padded molecules",
    19: "inputs that take for ever",
    20: "strange characters",
    21: "look-alike and invisible characters",
    22: "a second answer after or beside the first",
    23: "one endless word",
}
