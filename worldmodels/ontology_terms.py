"""Reading the terms of an ontology: OBO, or a table of terms and parents.

* OBO (``go-basic.obo``, ``cl-basic.obo``, ``mondo.obo``): ``is_a`` and the relationships asked
  for, synonyms with their scope, ``alt_id``, ``is_obsolete`` with ``replaced_by``, ``namespace``,
  and of the header ``data-version``;
* a table with the header ``term name obsolete parents``, parents parted by ``|``;
* a table of two columns, child and parent, where ids are names.

Parents by a relationship count within one namespace (as the CAFA evaluation has it), and only where
the file holds them: what another ontology owns (``CL:… part_of UBERON:…``) is left out. Tables
state no namespace: there it is the name of the one root above a term, if it is one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from worldmodels.core import ModelFault
from worldmodels.ontology import Ontology, Synonym, Term, in_order
from worldmodels.ontology_lines import Lines, kind_of

_HEADER: Final = ["term", "name", "obsolete", "parents"]
_MODIFIERS: Final = re.compile(r"\s*\{[^{}]*=\"[^{}]*\}$")  # a name may hold braces of its own
_SCOPES: Final = {"EXACT": "exact", "NARROW": "narrow", "BROAD": "broad", "RELATED": "related"}


@dataclass(slots=True)
class _Draft:
    """One term while its file is read."""

    line: int
    id: str = ""
    name: str = ""
    namespace: str = ""
    obsolete: bool = False
    parents: list[tuple[str, str]] = field(default_factory=list)
    """Relation and parent."""
    synonyms: list[Synonym] = field(default_factory=list)
    other_ids: list[str] = field(default_factory=list)
    replaced_by: list[str] = field(default_factory=list)


def read_ontology(path: Path, relations: Sequence[str] = ("is_a", "part_of")) -> Ontology:
    """The ontology of one file.

    Raises:
        ModelFault: see ``load``.
    """
    lines = Lines(path)
    kind = kind_of(lines)
    header: dict[str, str] = {}
    if kind == "obo":
        drafts = _obo(lines, header)
    elif kind == "table":
        drafts = _table(lines)
    else:
        lines.fault("annotations, not an ontology; give an OBO file or a table of parents")
    if not drafts:
        lines.fault("holds no term; expected OBO, or a table of terms and parents", 0)
    wanted = frozenset(relations)
    if unknown := [name for name in wanted if not name or " " in name]:
        raise ModelFault(f"relations: {unknown[0]!r} is no relation; write is_a, part_of, …")
    terms = {draft.id: _term(draft, drafts, wanted, lines) for draft in _in_use(drafts)}
    if not terms:
        lines.fault("holds obsolete terms only; fetch the file anew", 0)
    digest = hashlib.sha256(f"{lines.digest} {sorted(wanted)}".encode()).hexdigest()
    other_ids: dict[str, str] = {}
    for draft in drafts.values():
        if draft.obsolete:
            if len(draft.replaced_by) == 1:
                other_ids[draft.id] = draft.replaced_by[0]
        else:
            other_ids |= dict.fromkeys(draft.other_ids, draft.id)
    try:
        version = header.get("data-version") or None
        return Ontology(_with_namespaces(terms), f"sha256:{digest}", other_ids, version)
    except ModelFault as fault:
        raise ModelFault(f"{path}: {fault}") from None


def _in_use(drafts: Mapping[str, _Draft]) -> Iterator[_Draft]:
    return (draft for draft in drafts.values() if not draft.obsolete)


def _term(
    draft: _Draft, drafts: Mapping[str, _Draft], relations: frozenset[str], lines: Lines
) -> Term:
    parents: dict[str, None] = {}
    for relation, parent in draft.parents:
        if relation not in relations:
            continue
        found = drafts.get(parent)
        if found is None:
            if _owner(parent) == _owner(draft.id):
                lines.fault(
                    f"the parent {parent} of {draft.id} is no term of this file; it is cut off, "
                    "or the line is wrong",
                    draft.line,
                )
        elif found.obsolete:
            lines.fault(f"the parent {parent} of {draft.id} is obsolete", draft.line)
        elif relation == "is_a" or found.namespace == draft.namespace:
            parents[parent] = None
    return Term(draft.id, draft.name, tuple(parents), draft.namespace, tuple(draft.synonyms))


def _owner(term_id: str) -> str:
    """The ontology that an id is of: ``GO`` of ``GO:0006457``."""
    return term_id.partition(":")[0] if ":" in term_id else ""


def _with_namespaces(terms: Mapping[str, Term]) -> Mapping[str, Term]:
    """Terms of a file that states no namespace, with that of their root."""
    if any(term.namespace for term in terms.values()):
        return terms
    roots: dict[str, frozenset[str]] = {}
    made = {}
    for term_id in in_order(terms):
        term = terms[term_id]
        above = [roots[parent] for parent in term.parents]
        roots[term_id] = mine = frozenset().union(*above) or frozenset((term_id,))
        root = terms[next(iter(mine))].name if len(mine) == 1 else ""
        made[term_id] = dataclasses.replace(term, namespace=root)
    return made


def _obo(lines: Lines, header: dict[str, str]) -> dict[str, _Draft]:
    """The terms of an OBO file; the tags in front of them are added to ``header``."""
    drafts: dict[str, _Draft] = {}
    draft: _Draft | None = None
    stanza = ""
    for line in lines:
        if line[:1] == "[":
            stanza = line.strip()
            default = header.get("default-namespace", "")
            draft = _Draft(lines.number, namespace=default) if stanza == "[Term]" else None
            continue
        tag, colon, value = line.partition(":")
        if not colon:
            continue
        if draft is None:
            if not stanza:
                header[tag] = value.strip()
            continue
        if tag == "id":
            draft.id = value.strip()
            if draft.id in drafts:
                lines.fault(
                    f"term {draft.id} stands twice, first at line {drafts[draft.id].line}; take "
                    "one out"
                )
            drafts[draft.id] = draft
        elif read := _TAGS.get(tag):
            read(draft, value.strip(), lines)
    for found in drafts.values():
        if not found.name and not found.obsolete:
            found.name = found.id
    return drafts


def _name(draft: _Draft, value: str, lines: Lines) -> None:
    draft.name = _unescaped(_MODIFIERS.sub("", value))


def _namespace(draft: _Draft, value: str, lines: Lines) -> None:
    draft.namespace = _bare(value)


def _obsolete(draft: _Draft, value: str, lines: Lines) -> None:
    draft.obsolete = _bare(value) == "true"


def _is_a(draft: _Draft, value: str, lines: Lines) -> None:
    draft.parents.append(("is_a", _bare(value)))


def _relationship(draft: _Draft, value: str, lines: Lines) -> None:
    words = _bare(value).split()
    if len(words) < 2:
        lines.fault(f"expected relationship: RELATION TERM, got {value[:60]!r}")
    draft.parents.append((words[0], words[1]))


def _other_id(draft: _Draft, value: str, lines: Lines) -> None:
    draft.other_ids.append(_bare(value))


def _replaced_by(draft: _Draft, value: str, lines: Lines) -> None:
    draft.replaced_by.append(_bare(value))


def _synonym(draft: _Draft, value: str, lines: Lines) -> None:
    """``"text" SCOPE [TYPE] [references]``; RELATED where no scope is given (OBO 1.4)."""
    end = 1
    while end < len(value) and (value[end] != '"' or value[end - 1] == "\\"):
        end += 1
    if value[:1] != '"' or end >= len(value):
        lines.fault(f'expected synonym: "text" SCOPE […], got {value[:60]!r}')
    words = value[end + 1 :].split()
    scope = _SCOPES.get(words[0], "related") if words else "related"
    draft.synonyms.append(Synonym(_unescaped(value[1:end]), scope))  # type: ignore[arg-type]


_TAGS: Final[Mapping[str, Callable[[_Draft, str, Lines], None]]] = {
    "name": _name,
    "namespace": _namespace,
    "is_obsolete": _obsolete,
    "is_a": _is_a,
    "relationship": _relationship,
    "alt_id": _other_id,
    "replaced_by": _replaced_by,
    "synonym": _synonym,
}


def _bare(value: str) -> str:
    """A value without trailing modifiers and comment."""
    return value.partition("!")[0].partition("{")[0].strip()


def _unescaped(text: str) -> str:
    for escaped, plain in (('\\"', '"'), ("\\,", ","), ("\\:", ":"), ("\\!", "!"), ("\\W", " ")):
        text = text.replace(escaped, plain)
    return text.strip()


def _table(lines: Lines) -> dict[str, _Draft]:
    drafts: dict[str, _Draft] = {}
    described = False
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        if [cell.lower() for cell in cells] == _HEADER and not drafts:
            described = True
        elif described:
            _described(drafts, cells, lines)
        else:
            _edge(drafts, cells, lines)
    return drafts


def _described(drafts: dict[str, _Draft], cells: list[str], lines: Lines) -> None:
    if len(cells) == 3:  # an editor took the empty last column away
        cells = [*cells, ""]
    if len(cells) != 4 or not cells[0] or cells[2].lower() not in ("", "0", "1", "true", "false"):
        lines.fault("expected term, name, obsolete (0 or 1) and parents (A|B), parted by tabs")
    term_id, name, obsolete, parents = cells
    if term_id in drafts:
        lines.fault(f"term {term_id} stands twice, first at line {drafts[term_id].line}")
    made = _Draft(lines.number, term_id, name or term_id, obsolete=obsolete in ("1", "true"))
    made.parents = [("is_a", parent) for p in parents.split("|") if (parent := p.strip())]
    drafts[term_id] = made


def _edge(drafts: dict[str, _Draft], cells: list[str], lines: Lines) -> None:
    if len(cells) != 2 or not all(cells):
        lines.fault(
            "expected child and parent, parted by a tab (or the header term name obsolete parents)"
        )
    if [cell.lower() for cell in cells] == ["child", "parent"] and not drafts:
        return
    child, parent = (drafts.setdefault(cell, _Draft(lines.number, cell, cell)) for cell in cells)
    if ("is_a", parent.id) in child.parents:
        lines.fault(f"{child.id} has the parent {parent.id} twice; take one line out")
    child.parents.append(("is_a", parent.id))
