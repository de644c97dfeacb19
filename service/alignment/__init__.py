"""Rewards of a run beside a held-out truth: does the reward still rise when the truth does not?

``records`` reads logs, ``truths`` the truth, ``tally`` adds up, ``curves`` makes series of it,
``statistics`` and ``divergence`` judge them, ``report`` and ``figure`` say it.
"""
