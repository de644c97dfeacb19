"""How much a key may still ask: a bucket of items a second and a count of items a day.

The bucket holds one second's worth (one item at least) and may be overdrawn by one request: who has
one item left is let in whole, and then waits until the debt is paid. So batches larger than a
second's worth pass, and the long run keeps to the rate. The day's count is never overdrawn; days
are UTC's, and a clock that is set back begins none anew. The same arithmetic stands here, for one
process and by its monotonic clock, and in the script that Redis runs, for all of them and by Redis'
clock. Limits: Redis has no monotonic clock: if its own is set ahead, buckets are full at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

from service.errors import OverLimit, TooLarge
from service.security.keys import Key

DAY_S: Final = 86_400
ENOUGH: Final = 1.0 - 1e-6
"""One item, less what rounding takes."""


class Verdict(NamedTuple):
    """Whether a request is let in."""

    refused: str
    """``""``, ``rate`` or ``quota``."""
    wait_s: float
    """After which asking again may make sense."""


ADMITTED: Final = Verdict("", 0.0)


@dataclass(slots=True)
class Bucket:
    """What one key has left, as this process knows it."""

    level: float = math.nan
    at: float = 0.0
    """When it was looked at last, by the monotonic clock."""
    day: int = 0
    used: int = 0

    def take(self, key: Key, items: int, now: float, today: float) -> Verdict:
        """Let a request in, or not; ``items`` below 0 gives back.

        Args:
            key: whose limits hold.
            items: of the request.
            now: seconds by a clock that is never set.
            today: seconds since 1970, UTC, for the day that is counted.
        """
        rate, quota = key.rate or 0.0, key.quota or 0
        most = max(rate, 1.0)
        if self.level != self.level:
            self.level, self.at = most, now
        self.level = min(most, self.level + (now - self.at) * rate)
        self.at = now
        day = int(today // DAY_S)
        self.used = 0 if day > self.day else self.used
        self.day = day
        if items > 0 and rate and self.level < ENOUGH:
            return Verdict("rate", (1.0 - self.level) / rate)
        if items > 0 and quota and self.used + items > quota:
            return Verdict("quota", (self.day + 1) * DAY_S - today)
        self.used = max(0, self.used + items)
        if rate:
            self.level = min(most, self.level - items)
        return ADMITTED


SCRIPT: Final = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local items, rate, quota = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local kept = redis.call('HMGET', KEYS[1], 'level', 'at', 'day', 'used')
local most = math.max(rate, 1)
local level, at = tonumber(kept[1]) or most, tonumber(kept[2]) or now
local day, used = tonumber(kept[3]) or 0, tonumber(kept[4]) or 0
level = math.min(most, level + math.max(0, now - at) * rate)
at = now
local today = math.floor(now / 86400)
if today > day then used = 0 end
day = today
local refused, wait = '', 0
if items > 0 and rate > 0 and level < 0.999999 then
  refused, wait = 'rate', (1 - level) / rate
elseif items > 0 and quota > 0 and used + items > quota then
  refused, wait = 'quota', (day + 1) * 86400 - now
else
  used = math.max(0, used + items)
  if rate > 0 then level = math.min(most, level - items) end
end
local exact = string.format
redis.call('HSET', KEYS[1], 'level', exact('%.17g', level), 'at', exact('%.17g', at),
  'day', day, 'used', used)
redis.call('EXPIRE', KEYS[1], 172800 + math.ceil(math.max(0, -level) / math.max(rate, 0.000001)))
return {refused, exact('%.17g', wait), exact('%.17g', level), day, used}
"""
"""One key, one round trip, Redis' own clock. Answers the verdict and the bucket after it."""


def check_possible(key: Key, items: int) -> None:
    """Refuse what will never fit, rather than let it be tried again for ever.

    Raises:
        TooLarge: more items than the key has in a day.
    """
    if key.quota is not None and items > key.quota:
        raise TooLarge(
            f"{items} items at once; API key {key.name!r} may ask {key.quota} a day: send fewer"
        )


def refusal(key: Key, verdict: Verdict) -> OverLimit:
    """What a client is told that has asked too much."""
    wait = max(1.0, math.ceil(verdict.wait_s))
    if verdict.refused == "rate":
        said = f"its rate of {key.rate:g} items a second"
    else:
        said = f"its quota of {key.quota} items a day (UTC)"
    return OverLimit(
        f"API key {key.name!r} has used up {said}; try again in {wait:.0f} s", retry_after=wait
    )
