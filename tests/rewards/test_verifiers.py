"""What each verifier asks, and how it scores the answer by what it learns."""

from __future__ import annotations

import msgspec
import pytest

from service.rewards.core import Query, Reason, Verdict
from service.rewards.profiles import build
from service.rewards.verifiers.english import ENGLISH
from service.rewards.verifiers.mention import could_be_english, is_prose, mentions, names_of
from worldmodels.core import ModelSpec, Status
from worldmodels.genes import GeneResolver

YES = "<think>a b c d e f g h i j</think> <answer>yes</answer>"
NO = YES.replace("yes", "no")
SPEC = ModelSpec(
    name="m", family="pair-mlp", version="2", digest="sha256:1", relations=("perturbation.de",)
)
OK = Verdict(Status.OK, 0.93, 0.41, 0.04, 0.8, SPEC, True)

SCORES = {
    "prob yes": ("rbio-mlp", YES, [OK], 0.93, 0.86),
    "prob no": ("rbio-mlp", NO, [OK], 0.07, 0.86),
    "raw yes": ("rbio-tf", YES, [OK], 0.8, 0.6),
    "raw no": ("rbio-tf", NO, [OK], 0.2, 0.6),
    "raw and p on two sides": ("rbio-tf", YES, [Verdict(Status.OK, 0.48, raw=0.9)], 0.9, 0.8),
    "raw level, p sure": ("rbio-tf", YES, [Verdict(Status.OK, 0.99, raw=0.5)], 0.5, 0.0),
    "measured yes": ("rbio-exp", YES, [Verdict(Status.OK, 1.0)], 1.0, 1.0),
    "measured no": ("rbio-exp", NO, [Verdict(Status.OK, 1.0)], 0.0, 1.0),
    "a soft model taken as hard": ("rbio-exp", YES, [OK], 1.0, 1.0),
    "both": ("rbio-mlp+exp", NO, [OK, Verdict(Status.OK, 0.0)], 0.535, 0.93),
    "one unmeasured": ("rbio-mlp+exp", NO, [OK, Verdict(Status.UNMEASURED)], 0.07, 0.86),
}


@pytest.mark.parametrize(
    ("profile", "text", "verdicts", "reward", "weight"), SCORES.values(), ids=SCORES
)
def test_scores(judge, item, profile, text, verdicts, reward, weight):
    result = judge(profile, item(text, truth=None), *verdicts)
    assert (result.status, result.reward, result.weight) == ("ok", reward, weight)


def test_the_example_of_the_interface(judge, item):
    result = judge("rbio-mlp", item(YES), OK)
    (component,) = result.components
    assert msgspec.to_builtins(component) == {
        "name": "perturbation.de", "score": 0.93, "weight": 1.0, "p": 0.93, "p0": 0.41,
        "uncertainty": 0.04, "status": "OK", "model": "m", "version": "2", "digest": "sha256:1",
        "cached": True,
    }  # fmt: skip


FAILED = {
    "reason beside a status": (Verdict(Status.MODEL_ERROR, reason=Reason.DEADLINE), "DEADLINE"),
    "reason outranks OK": (Verdict(Status.OK, 0.5, reason=Reason.OVERLOADED), "OVERLOADED"),
    "OK without p": (Verdict(Status.OK), "MODEL_ERROR"),
    "p is NaN": (Verdict(Status.OK, float("nan")), "MODEL_ERROR"),
    "p above 1": (Verdict(Status.OK, 1.5), "MODEL_ERROR"),
}


@pytest.mark.parametrize(("verdict", "reason"), FAILED.values(), ids=FAILED)
def test_failures_are_errors(judge, item, verdict, reason):
    result = judge("rbio-mlp", item(YES), verdict)
    assert (result.status, result.reward, result.reason) == ("error", None, reason)
    assert result.retryable


RAW = {
    "none": (Verdict(Status.OK, 0.9), "NO_RAW_SCORE", False),
    "a logit": (Verdict(Status.OK, 0.9, raw=2.2), "NO_RAW_SCORE", False),
    "NaN": (Verdict(Status.OK, 0.9, raw=float("nan")), "NO_RAW_SCORE", False),
    "no p beside it": (Verdict(Status.OK, None, raw=0.9), "MODEL_ERROR", True),
    "a failure": (Verdict(Status.MODEL_ERROR), "MODEL_ERROR", True),
}


@pytest.mark.parametrize(("verdict", "reason", "retryable"), RAW.values(), ids=RAW)
def test_no_retry_mends_a_model_without_a_raw_score(judge, item, verdict, reason, retryable):
    result = judge("rbio-tf", item(YES), verdict)
    assert (result.status, result.reward, result.reason) == ("error", None, reason)
    assert result.retryable is retryable


QUESTIONS = {
    "pair": (
        "rbio-mlp",
        {"type": "perturbation.de", "perturbation": "A", "gene": "B", "cell_line": "k562"},
        Query("family:pair-mlp", "perturbation.de", "A", "B", "k562"),
    ),
    "combination": (
        "rbio-mlp",
        {"type": "perturbation.de", "perturbation": ["A", "C"], "gene": "B"},
        Query("family:pair-mlp", "perturbation.de", "A+C", "B", ""),
    ),
    "perturbation of co-expression": (
        "rbio-tf",
        {"type": "perturbation.de", "perturbation": "A", "gene": "B"},
        Query("family:coexpression", "gene.coexpression", "A", "B", ""),
    ),
    "two genes": (
        "rbio-tf",
        {"type": "gene.coexpression", "genes": ["A", "B"], "context": "PBMC"},
        Query("family:coexpression", "gene.coexpression", "A", "B", "PBMC"),
    ),
    "starter": (
        "starter",
        {"type": "gene.coexpression", "genes": ["A", "B"]},
        Query("starter", "gene.coexpression", "A", "B", ""),
    ),
}


@pytest.mark.parametrize(("profile", "task", "query"), QUESTIONS.values(), ids=QUESTIONS)
def test_questions_look_at_the_task_alone(profiles, item, profile, task, query):
    plans = {profiles[profile].queries(item(text, task=task)) for text in (YES, NO, "", None)}
    assert plans == {(query,)}


TRUTHS = {
    "label": ("yes", 1.0),
    "label in other case": ("No.", 0.0),
    "true": (True, 1.0),
    "zero": (0, 0.0),
    "one": (1.0, 1.0),
    "soft": ({"classes": ["No", "Yes"], "confidences": [0.2, 0.8]}, 1.0),
}


@pytest.mark.parametrize(("truth", "score"), TRUTHS.values(), ids=TRUTHS)
def test_truth_settles_a_hard_question_without_asking(judge, profiles, item, truth, score):
    thing = item(YES, truth=truth)
    assert profiles["rbio-exp"].queries(thing) == ()
    result = judge("rbio-exp", thing)
    assert (result.status, result.reward, result.weight) == ("ok", score, 1.0)


EVIDENCE = {
    "model before truth": (Verdict(Status.OK, 0.0), 0.0),
    "truth where unmeasured": (Verdict(Status.UNMEASURED), 1.0),
    "no truth in place of a failure": (Verdict(Status.MODEL_ERROR), None),
    "late is a failure": (Verdict(Status.MODEL_ERROR, reason=Reason.DEADLINE), None),
    "level": (Verdict(Status.OK, 0.5), 1.0),
}


@pytest.mark.parametrize(("verdict", "reward"), EVIDENCE.values(), ids=EVIDENCE)
def test_evidence_in_the_other_order(profiles, judge, item, verdict, reward):
    base = profiles["rbio-exp"]
    options = msgspec.structs.replace(base.recipe.options[0], evidence=("model", "truth"))
    recipe = msgspec.structs.replace(base.recipe, options=(options,))
    result = judge(build("x", recipe, base.library), item(YES, truth="yes"), verdict)
    assert result.reward == reward
    assert result.status == ("error" if reward is None else "ok")


def test_soft_labels_that_are_level_settle_nothing(judge, item):
    truth = {"classes": ["no", "yes"], "confidences": [0.5, 0.5]}
    assert judge("rbio-exp", item(YES, truth=truth)).reason == "LOW_CONFIDENCE"


@pytest.mark.parametrize(("text", "score"), [(YES, 0.8), (NO, 0.2)], ids=["yes", "no"])
def test_soft_labels_pay_the_claimed_class_and_state_p_of_yes(judge, item, text, score):
    truth = {"classes": ["no", "yes"], "confidences": [0.2, 0.8]}
    result = judge("rbio-released", item(text, truth=truth))
    answer = result.components[1]
    assert (answer.name, answer.score, answer.p) == ("answer", score, 0.8)
    assert result.weight == 0.6


BAD_ITEMS = {
    "no task": ({"task": None}, "TASK_MISMATCH", "task: missing"),
    "other task": (
        {"task": {"type": "gene.similarity", "genes": ["A", "B"]}},
        "TASK_MISMATCH",
        "task.type: 'gene.similarity'",
    ),
    "blank gene": (
        {"task": {"type": "perturbation.de", "perturbation": "A", "gene": " "}},
        "BAD_ITEM",
        "task.gene",
    ),
    "no perturbation": (
        {"task": {"type": "perturbation.de", "perturbation": [], "gene": "B"}},
        "BAD_ITEM",
        "task.perturbation",
    ),
}


@pytest.mark.parametrize(("changes", "reason", "message"), BAD_ITEMS.values(), ids=BAD_ITEMS)
def test_bad_items(judge, item, changes, reason, message):
    result = judge("rbio-mlp", item(YES, **changes))
    assert (result.status, result.reward, result.reason) == ("error", None, reason)
    assert message in result.message
    assert [component.name for component in result.components] == ["perturbation.de"]


LABEL_TASKS = {
    "one class": ({"classes": ["a"]}, "task.classes: expected two"),
    "same class twice": ({"classes": ["A", "a."]}, "task.classes[1]"),
    "blank class": ({"classes": ["a", " "]}, "task.classes[1]"),
    "synonym of nothing": ({"classes": ["a", "b"], "synonyms": {"c": ["d"]}}, "task.synonyms: 'c'"),
    "synonym of two": ({"classes": ["a", "b"], "synonyms": {"a": ["B"]}}, "task.synonyms['a'][0]"),
    "too many": ({"classes": [f"c{i}" for i in range(2000)]}, "more than 1000"),
}


@pytest.mark.parametrize(("task", "message"), LABEL_TASKS.values(), ids=LABEL_TASKS)
def test_label_tasks_that_make_no_vocabulary(judge, item, task, message):
    result = judge("rbio-released", item(YES, task={"type": "label", **task}, truth="a"))
    assert (result.status, result.reason) == ("error", "BAD_ITEM")
    assert message in result.message


KEYWORDS = {
    "blank": (["AARS", " "], "keywords[1]"),
    "overlong": (["a" * 500], "keywords[0]"),
    "too many": (["AARS"] * 100, "at most 64"),
}


@pytest.mark.parametrize(("keywords", "message"), KEYWORDS.values(), ids=KEYWORDS)
def test_bad_keywords(judge, item, keywords, message):
    result = judge("rbio-released", item(YES, keywords=keywords))
    assert (result.status, result.reason) == ("error", "BAD_ITEM")
    assert message in result.message


def test_an_empty_list_of_keywords_is_all_of_them(judge, item):
    assert judge("rbio-released", item(YES, keywords=[])).components[2].score == 1.0


NAMES = {
    "WAS is not was": ("WAS", "this was not seen", False),
    "WAS is WAS": ("WAS", "loss of WAS was not seen", True),
    "REST is not rest": ("REST", "the rest is silence", False),
    "REST is NRSF": ("REST", "loss of nrsf is silence", True),
    "AR is not a knockdown": ("AR", "the KD cells grow", False),
    "AR is not in PARP1": ("AR", "PARP1 and MAR", False),
    "AR by its full name": ("AR", "the Androgen Receptor binds", True),
    "hyphens bound": ("CALR", "in CALR-deficient cells", True),
    "brackets bound": ("CALR", "calreticulin (CALR)", True),
    "underscore does not": ("CALR", "CALR_2", False),
    "later as a token": ("CALR", "CALR2 and xCALR and CALR", True),
    "Chinese bounds": ("CALR", "影响CALR的", True),
    "Cyrillic joins": ("CALR", "яCALR", False),
    "Chinese name": ("应激", "细胞应激反应", True),
    "phrase": ("protein folding", "it slows Protein Folding down", True),
    "unknown gene stands for itself": ("XYZ9", "loss of xyz9", True),
}


@pytest.mark.parametrize(("keyword", "text", "found"), NAMES.values(), ids=NAMES)
def test_names(genes, keyword, text, found):
    assert mentions(names_of(keyword, genes), text, text.lower()) is found


@pytest.mark.data
def test_names_of_the_real_table(data_folder):
    table = GeneResolver.from_files([next(data_folder.glob("ncbi/*gene_info*"))])
    for keyword, text in {
        "AARS": "loss of alanyl-tRNA synthetase stalls ribosomes",
        "CALR": "the chaperone Calreticulin is raised",
        "TP53": "p53 is stable",
    }.items():
        assert mentions(names_of(keyword, table), text, text.lower())
    for keyword in ("WAS", "SET", "CAT", "REST", "IMPACT", "MET", "KIT"):
        text = "it was set that the cat may rest, met with no impact on the kit; knockdown (KD)"
        assert not mentions(names_of(keyword, table), text, text.lower())


def test_english_words_are_lower_case_and_long_enough_to_need_a_list():
    assert all(word.islower() and word.isalpha() and len(word) > 3 for word in ENGLISH)
    assert could_be_english("IMPACT")
    assert not could_be_english("AARS")


@pytest.mark.parametrize("blanks", range(60))
def test_7_a_bare_list_is_no_prose_however_long(genes, blanks):
    """Not even where a piece of the text that is looked at first ends within a keyword."""
    names = [names_of(keyword, genes) for keyword in ("AARS", "CALR")]
    assert not is_prose(" " * blanks + "aars calr " * 50, names, 1)
    assert is_prose(" " * blanks + "aars calr " * 50 + "bind", names, 1)
