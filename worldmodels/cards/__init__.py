"""Cards: what a world model has shown on data that it did not learn from.

``record`` is the card as it is stored, ``evaluation`` makes one, ``evidence`` says whether the data
are any, ``folder`` puts it beside the model with its figures and its Markdown.
"""

from worldmodels.cards.record import Card, read, summary

__all__ = ["Card", "read", "summary"]
