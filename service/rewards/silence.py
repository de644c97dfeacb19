"""Why a profile does not pay a probability that a world model gave, in words for people."""

from __future__ import annotations

from service.rewards.core import Component, Query, Reason


def silence(name: str, reason: Reason, component: Component, question: Query) -> str | None:
    """What is missing or too little, and what to do about it; None where ``reason`` says it.

    Args:
        name: the component's.
        reason: why it has no score.
        component: with the figures that the model gave.
        question: what the model was asked.
    """
    where = (
        f"{question.relation} in {question.context!r}" if question.context else question.relation
    )
    if reason is Reason.NO_BASELINE:
        return (
            f"{name}: {component.model} states no p0 for {where}, beyond which this profile pays; "
            "bind it to a model that does ([profiles.models])"
        )
    if reason is Reason.NO_CARD:
        return (
            f"{name}: no card that counts as evidence says how reliable {component.model} is for "
            f"{where}, and this profile answers only what one proves (coverage)"
        )
    if reason is Reason.LOW_CONFIDENCE:
        beside = "" if component.p0 is None else f" and p0 {component.p0:g}"
        return (
            f"{name}: p {component.p:g}{beside} say too little for this profile (min_gap, "
            "dead_zone, coverage)"
        )
    return None
