"""The questions of a request's items, put once where one item asks what the item before it asked.

The completions of a group come one after the other and are about one task, which alone decides what
is asked (and whether a truth was given, where a profile believes it first). To see that two tasks
are equal takes a fraction of what putting the question does; and who looks answers up sees one plan
where there was one for each completion. Limits: only neighbours are compared.
"""

from __future__ import annotations

from service.rewards.core import Item, Query
from service.rewards.profiles import Profile


class Questions:
    """Of one profile, for items in turn."""

    def __init__(self, profile: Profile):
        self._profile = profile
        self._last: Item | None = None
        self._plan: tuple[Query, ...] = ()

    def of(self, item: Item) -> tuple[Query, ...]:
        """What to ask about an item; the same object for neighbours that ask the same."""
        last = self._last
        if last is None or item.task != last.task or (item.truth is None) != (last.truth is None):
            self._last, self._plan = item, self._profile.queries(item)
        return self._plan
