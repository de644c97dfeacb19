"""Lists place by place, and rankings against relevance: what they earn, and what spraying does."""

# ruff: noqa: E501 - a table reads best in rows

from __future__ import annotations

import itertools
import math
import statistics

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.rewards.core import Item
from service.rewards.profiles import load_profiles
from service.rewards.verifiers.ranking import relevances, screen_of, spearman

CHEAP = settings(max_examples=150, deadline=None)
CELLS = ["B cell", "CD8 T cell", "NK cell", "monocyte"]
EXTRA = {
    "partial": 'extends = "cell-o1"\n[[component]]\nname = "cells"\nexact = 0.0\n',
    "exact": 'extends = "cell-o1"\n[[component]]\nname = "cells"\nexact = 1.0\n',
    "short": 'extends = "cell-o1"\n[[component]]\nname = "cells"\nmax_length = 3\n',
    "lexi": 'tasks = ["label_list"]\n[compose]\noperator = "lexi_sum"\n[[component]]\nname = "cells"\nverifier = "label_list"\nmax_length = 4\n'
    '[[component]]\nname = "format"\nverifier = "format"\nrole = "auxiliary"\nweight = 0.12\n',
    "hits": 'extends = "assaybench"\n[[component]]\nname = "ranking"\nmeasure = "hits"\n',
    "spearman": 'extends = "assaybench"\n[[component]]\nname = "ranking"\nmeasure = "spearman"\n',
    "stepped": 'extends = "assaybench"\n[[component]]\nname = "ranking"\nstep = 0.25\n',
}


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("profiles")
    for name, text in EXTRA.items():
        (folder / f"{name}.toml").write_text(text, "utf-8")
    return load_profiles(folder)


def cells(answer, truth=CELLS, **task):
    fields = {
        "completion": f"<think>CD3D.</think><answer>{answer}</answer>",
        "task": {"type": "label_list", "classes": CELLS, **task},
        "truth": truth,
    }
    return msgspec.convert(fields, Item)


RIGHT = " | ".join(CELLS)
SWAPPED = "CD8 T cell | B cell | NK cell | monocyte"
LISTS = {
    "all": ("cell-o1", RIGHT, {}, 1.0),
    "letter case": ("cell-o1", RIGHT.upper(), {}, 1.0),
    "half": ("cell-o1", SWAPPED, {}, 0.25),
    "one": ("cell-o1", "B cell | NK cell | monocyte | CD8 T cell", {}, 0.125),
    "none": ("cell-o1", "monocyte | NK cell | CD8 T cell | B cell", {}, 0.0),
    "lines": ("cell-o1", "\n".join(CELLS), {}, 1.0),
    "half, partial": ("partial", SWAPPED, {}, 0.5),
    "half, exact": ("exact", SWAPPED, {}, 0.0),
    "all, exact": ("exact", RIGHT, {}, 1.0),
    "repeats where they may stand": ("cell-o1", "B cell | B cell", {"unique": False, "truth": ["B cell", "B cell"]}, 1.0),
    "shifted": ("cell-o1", "monocyte | B cell | CD8 T cell | NK cell", {}, 0.0),
}  # fmt: skip


@pytest.mark.parametrize(("profile", "answer", "task", "score"), LISTS.values(), ids=LISTS)
def test_list(mine, judge, profile, answer, task, score):
    task = dict(task)
    result = judge(mine[profile], cells(answer, task.pop("truth", CELLS), **task))
    assert (result.status, result.reward) == ("ok", score)


MALFORMED = {
    "too few": "B cell | CD8 T cell", "too many": RIGHT + " | B cell", "repeated": "B cell | B cell | NK cell | monocyte",
    "one for all": " | ".join(["B cell"] * 4), "14 every order": " | ".join(CELLS * 2), "empty place": "B cell |  | NK cell | monocyte",
    "stranger": RIGHT.replace("NK", "mast"), "14 part of a name": RIGHT.replace("CD8 T cell", "T cell"),
    "two in a place": RIGHT.replace("NK cell", "NK cell or B cell"), "nothing": "", "21 hidden": RIGHT.replace("NK", "N\u200dK"),
}  # fmt: skip


@pytest.mark.parametrize("length", [4, None], ids=["length stated", "length of the truth"])
@pytest.mark.parametrize("answer", MALFORMED.values(), ids=MALFORMED)
def test_malformed_lists_cost(judge, answer, length):
    result = judge("cell-o1", cells(answer, length=length))
    assert (result.status, result.reward) == ("invalid", -1.0)


LIST_FAULTS = {
    "text": ("B cell", {}, "expected a list of names"),
    "empty": ([], {}, "expected a list of names"),
    "numbers": ([1, 2], {}, "expected names, got 1"),
    "stranger": (["B cell", "mast cell"], {}, "'mast cell' is none of the task's names"),
    "twice": (["B cell", "b cell"], {}, "stands twice"),
    "another length": (["B cell"], {"length": 2}, "1 names, but task.length is 2"),
    "soft labels": (
        {"classes": CELLS, "confidences": [1, 0, 0, 0]},
        {},
        "expected a list of names",
    ),
}


@pytest.mark.parametrize(("truth", "task", "message"), LIST_FAULTS.values(), ids=LIST_FAULTS)
def test_list_faults(judge, truth, task, message):
    result = judge("cell-o1", cells(RIGHT, truth, **task))
    assert (result.status, result.reason) == ("error", "BAD_TRUTH")
    assert message in result.message


def test_no_true_list_no_opinion(judge, mine):
    assert judge("cell-o1", cells(RIGHT, None)).reason == "NO_TRUTH"
    assert "this profile takes 3" in judge(mine["short"], cells(RIGHT)).message


def test_a_screen_is_read_once_for_a_group(judge):
    """Each answer comes with twenty thousand genes of its own, the same ones."""
    profile = load_profiles()["assaybench"]
    screens = profile.composition.parts[0].judge._screen
    before = screens.cache_info()
    truth = {f"A{at}": float(at % 7) for at in range(20_000)}
    for at in range(4):
        thing = ranking(f"A6, A{13 + at}", dict(truth), candidates=[], k=2)
        assert (judge(profile, thing).reward == 1.0) == (at == 0)
    after = screens.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (1, 7)


def test_a_bounded_list_may_carry_style(mine, judge):
    """One place of at most four is worth 0.125, so that 0.12 of style cannot outrank it."""
    assert mine["lexi"].composition.parts[0].judge.gap == 0.125
    better = cells("B cell | NK cell | monocyte | CD8 T cell")
    worse = cells("monocyte | NK cell | CD8 T cell | B cell")
    untidy = msgspec.structs.replace(better, completion=better.completion.replace("CD3D.", "a"))
    assert judge(mine["lexi"], untidy).reward > judge(mine["lexi"], worse).reward


@CHEAP
@given(st.permutations(CELLS), st.permutations(CELLS))
def test_lists_are_shares_and_only_the_truth_is_whole(mine, answer, truth):
    profile = mine["cell-o1"]
    item = cells(" | ".join(answer), truth)
    (component,) = profile.compose(item, profile.read(item), ()).components
    assert 0.0 <= component.score <= 1.0
    assert (component.score == 1.0) == (answer == truth)


def test_a_random_order_of_cells_earns_little(mine):
    """Of n! orders one place in n is right in the mean, and all of them once."""
    profile = mine["cell-o1"]
    earned = []
    for order in itertools.permutations(CELLS):
        item = cells(" | ".join(order))
        earned.append(profile.compose(item, profile.read(item), ()).reward)
    assert statistics.fmean(earned) == pytest.approx((1 / 4 + 1 / 24) / 2)


GENES = ["A1", "B1", "C1", "D1", "E1", "F1"]
TRUTH = {"A1": 3.0, "B1": 2.0, "C1": 1.0, "D1": 0.0, "E1": -1.0}


def ranking(answer, truth=TRUTH, **task):
    fields = {
        "completion": f"<answer>{answer}</answer>",
        "task": {"type": "ranking", "candidates": GENES, **task},
        "truth": truth,
    }
    return msgspec.convert(fields, Item)


def dcg(*gains):
    return sum(gain / math.log2(at + 2) for at, gain in enumerate(gains))


def adjusted(gains, ideal, mean, places):
    chance = mean * sum(1 / math.log2(at + 2) for at in range(places)) / ideal
    return (gains / ideal - chance) / (1 - chance)


BEST = dcg(3, 2, 1)
RANKINGS = {
    "best": ("A1, B1, C1", {"k": 3}, 1.0),
    "best of all": ("A1, B1, C1, D1, E1", {}, adjusted(dcg(3, 2, 1, 0, -1), BEST, 1.0, 5)),
    "nothing against the phenotype": ("A1, B1, C1", {}, 1.0),
    "two swapped": ("B1, A1, C1", {"k": 3}, adjusted(dcg(2, 3, 1), BEST, 1.0, 3)),
    "beyond k does not count": ("B1, A1, C1, D1", {"k": 3}, adjusted(dcg(2, 3, 1), BEST, 1.0, 3)),
    "not assayed is taken out": ("F1, A1, B1", {"k": 3}, adjusted(dcg(3, 2), BEST, 1.0, 3)),
    "nobody moves up from beyond k": (
        "F1, A1, B1, C1",
        {"k": 3},
        adjusted(dcg(3, 2), BEST, 1.0, 3),
    ),
    "the opposite phenotype": ("E1, D1, C1, B1, A1", {}, 0.0),
    "nothing of the screen": ("F1", {}, 0.0),
}


@pytest.mark.parametrize(("answer", "task", "score"), RANKINGS.values(), ids=RANKINGS)
def test_adjusted_ndcg(judge, answer, task, score):
    result = judge("assaybench", ranking(answer, **task))
    assert (result.status, result.reward) == ("ok", pytest.approx(score, abs=1e-6))


@pytest.mark.parametrize("k", [1, 2, 3, 5, 9])
@pytest.mark.parametrize(
    "truth",
    [{"a": 3, "b": 2, "c": 1, "d": 0, "e": 0}, {"a": 1, "b": 1, "c": 0, "d": -0.5, "e": 0}],
    ids=["hits", "directions"],
)
def test_chance_is_the_mean_over_all_orders(truth, k):
    """The closed form against every one of the 120 orders."""
    known = {name: float(value) for name, value in truth.items()}
    ideal = dcg(*sorted((max(v, 0) for v in known.values()), reverse=True)[:k])
    found = [dcg(*(known[n] for n in order[:k])) / ideal for order in itertools.permutations(known)]
    chance = statistics.fmean(found)
    best = max(itertools.permutations(known), key=lambda order: dcg(*(known[n] for n in order[:k])))
    for order, ndcg in zip(itertools.permutations(known), found, strict=True):
        expected = max((ndcg - chance) / (1 - chance), 0.0)
        assert screen_of(known, k).andcg(list(order)) == pytest.approx(expected, abs=1e-12)
    assert screen_of(known, min(k, 2)).andcg(list(best)) == pytest.approx(1.0)


def test_where_most_are_opposite_naming_nothing_earns_nothing():
    known = {"a": 1.0, "b": -1.0, "c": -1.0, "d": -1.0}
    assert screen_of(known, 2).andcg([]) == screen_of(known, 2).andcg(["not assayed"]) == 0.0
    assert screen_of(known, 2).andcg(["a"]) == 1.0


MEASURES = {
    "hits, all": ("hits", "C1, B1, A1", {"k": 3}, 1.0),
    "hits, some": ("hits", "A1, F1, E1", {"k": 3}, 1 / 3),
    "hits, fewer places": ("hits", "B1, C1", {"k": 2}, 0.5),
    "hits beyond k": ("hits", "F1, E1, A1", {"k": 2}, 0.0),
    "spearman, best": ("spearman", "A1, B1, C1, D1, E1", {}, 1.0),
    "spearman, worst": ("spearman", "E1, D1, C1, B1, A1", {}, 0.0),
    "spearman, the rest tied": ("spearman", "A1", {}, 0.5 + math.sqrt(0.5) / 2),
    "spearman, nothing assayed": ("spearman", "F1", {}, 0.5),
    "steps": ("stepped", "B1, A1, C1", {"k": 3}, 0.75),
}


@pytest.mark.parametrize(("profile", "answer", "task", "score"), MEASURES.values(), ids=MEASURES)
def test_measures(mine, judge, profile, answer, task, score):
    result = judge(mine[profile], ranking(answer, **task))
    assert (result.status, result.reward) == ("ok", pytest.approx(score, abs=1e-6))


SPRAYS = {
    "14 repeated": "A1, A1, A1", "14 repeated late": "A1, B1, C1, A1", "stranger": "A1, Z1", "prose": "all of them",
    "greater than": "A1 > B1", "slashes": "A1/B1/C1", "nothing": "", "21 homoglyph": "\u04101, B1", "22 comment": "A1 <!-- B1 -->",
}  # fmt: skip


@pytest.mark.parametrize("answer", SPRAYS.values(), ids=SPRAYS)
def test_sprayed_candidates_are_invalid(judge, answer):
    assert judge("assaybench", ranking(answer)).status == "invalid"


RANKING_FAULTS = {
    "text": ("assaybench", "A1", {}, "expected relevances by candidate"),
    "stranger": ("assaybench", {"A1": 1, "Z1": 0}, {}, "'z1' is none of task.candidates"),
    "stranger in order": ("assaybench", ["A1", "Z1"], {}, "'z1' is none of task.candidates"),
    "twice": ("assaybench", ["A1", "a1"], {}, "stands twice"),
    "twice by case": ("assaybench", {"A1": 1, "a1": 0}, {}, "stands twice"),
    "boolean": ("assaybench", {"A1": True, "B1": 0}, {}, "expected a number"),
    "NaN": ("assaybench", {"A1": math.nan, "B1": 0}, {}, "is not between"),
    "infinite": ("assaybench", {"A1": math.inf, "B1": 0}, {}, "is not between"),
    "empty": ("assaybench", {}, {}, "truth: empty"),
    "all alike": ("assaybench", dict.fromkeys(GENES, 1), {}, "every order earns the same"),
    "one candidate": ("assaybench", {"A1": 1}, {}, "every order earns the same"),
    "nothing relevant": (
        "assaybench",
        {"A1": 0, "B1": -1},
        {},
        "no candidate has a relevance above 0",
    ),
    "places for everybody": ("hits", TRUTH, {"k": 5}, "5 places hold every candidate"),
    "not names": ("assaybench", [1, 2], {}, "truth[0]: expected a name, got 1"),
    "one that is no name": ("assaybench", ["A1", 3], {}, "truth[1]: expected a name, got 3"),
}


@pytest.mark.parametrize(
    ("profile", "truth", "task", "message"), RANKING_FAULTS.values(), ids=RANKING_FAULTS
)
def test_ranking_faults(mine, judge, profile, truth, task, message):
    result = judge(mine[profile], ranking("A1, B1", truth, **task))
    assert (result.status, result.reason) == ("error", "BAD_TRUTH")
    assert message in result.message


OPEN = {
    "best": ("CALR, AARS1, AR", 1.0),
    "09 previous symbol": ("CALR, AARS, AR", 1.0),
    "09 alias": ("cC1qR, AlaRS, AR", 1.0),
    "not assayed ones take places": ("GENE1, GENE2, GENE3", 0.0),
    "prose is no gene": ("whichever genes are relevant", 0.0),
}


@pytest.mark.parametrize(("answer", "score"), OPEN.values(), ids=OPEN)
def test_open_rankings_resolve_genes(judge, answer, score):
    truth = {"CALR": 3, "AARS": 2, "NR3C4": 1, "WAS": 0, "REST": 0}
    result = judge("assaybench", ranking(answer, truth, candidates=[], k=3))
    assert (result.status, result.reward) == ("ok", score)


def test_candidates_are_found_under_a_genes_other_names(judge):
    truth = {"AARS": 3, "CALR": 1, "AR": 0}
    named = {"candidates": ["AARS", "CALR", "AR"], "k": 2}
    for answer in ("AARS, CALR", "AARS1, CALR", "alars | CALR"):
        assert judge("assaybench", ranking(answer, truth, **named)).reward == 1.0
    for answer in ("AARS, AARS1, CALR", "CALR, WAS", "CALR, M\u0410RCH1"):
        assert judge("assaybench", ranking(answer, truth, **named)).status == "invalid"


def test_one_gene_under_two_names_stands_twice(judge):
    truth = {"CALR": 3, "AARS": 2, "WAS": 0}
    doubled = ranking("CALR, AARS, AARS1", truth, candidates=[])
    assert (judge("assaybench", doubled).status, judge("assaybench", doubled).reason) == (
        "invalid",
        "MALFORMED",
    )
    twice = judge("assaybench", ranking("CALR", {"AARS": 1, "AARS1": 0}, candidates=[]))
    assert (twice.reason, "stands twice" in twice.message) == ("BAD_TRUTH", True)


def test_a_genome_is_ranked_in_time(judge):
    """A screen of 20,000 genes and 100 answers; more genes than there are is a fault."""
    genome = {f"GENE{n}": float(n % 7 == 0) for n in range(20_000)}
    best = ", ".join(f"GENE{7 * n}" for n in range(100))
    assert judge("assaybench", ranking(best, genome, candidates=[])).reward == 1.0
    genome |= {f"OTHER{n}": 0.0 for n in range(10_001)}
    assert "at most 30000" in judge("assaybench", ranking(best, genome, candidates=[])).message


def test_no_true_ranking_no_opinion(judge):
    assert judge("assaybench", ranking("A1", None)).reason == "NO_TRUTH"


def test_a_truth_in_order_is_linear_relevance():
    found = relevances(["A1", "b1"], {"a1", "b1", "c1"}, str.lower)
    assert found == {"a1": 1.0, "b1": 0.5, "c1": 0.0}


VALUES = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(-1e9, 1e9), min_size=2)


@CHEAP
@given(VALUES, st.lists(st.sampled_from("abcdefghz"), unique=True, max_size=9), st.integers(1, 12))
def test_every_measure_is_a_share(known, said, k):
    if len(set(known.values())) < 2 or max(known.values()) <= 0:
        return
    assert 0.0 <= screen_of(known, k).andcg(said) <= 1.0
    assert 0.0 <= screen_of(known, k).hits(said) <= 1.0
    assert -1.0 <= spearman(said, known) <= 1.0
    best = sorted((name for name in known if known[name] > 0), key=known.get, reverse=True)
    assert screen_of(known, k).andcg(best) >= screen_of(known, k).andcg(said) - 1e-9
    assert screen_of(known, k).hits(best) == 1.0


def test_spearman_is_scipys():
    from scipy.stats import spearmanr

    known = {"a": 3.0, "b": 1.0, "c": 1.0, "d": -2.0, "e": 0.5}
    for order in itertools.permutations(known):
        ranks = [-order.index(name) for name in known]
        expected = spearmanr(ranks, list(known.values())).statistic
        assert spearman(list(order), known) == pytest.approx(expected)
