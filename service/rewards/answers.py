"""Which form the answers of a task have."""

from __future__ import annotations

from service.rewards.extract import Extraction
from service.rewards.forms import Form
from service.rewards.library import Library
from service.rewards.tasks import Task
from service.rewards.vocabulary import vocabulary_of


def form_of(task: Task | None, rules: Extraction, library: Library) -> Form:
    """The form of a task's answers under a profile's rules; yes/no where an item has no task.

    Raises:
        FormFault: the task's fields make no form.
    """
    return vocabulary_of(task)
