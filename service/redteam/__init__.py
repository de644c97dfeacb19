"""The red team: what would dishonesty earn under a profile, next to what honesty earns?

``suite.run`` takes a profile's examples and variations of them (``cases``), applies every family of
attacks to each (``grammar``, ``hedges``, ``reasoning``, …), has all of it judged in one shuffled
batch (``arena``) and gives a ``report``. ``rows`` names the rows of the project's table of attacks
on public rewards; a row that does not apply says why. ``fuzzing`` asks only that nothing crashes.

Limits: a world model's word is synthetic unless a running server is asked; what a verifier takes
for right is not questioned, only who can earn it; answers that are
calls of a tool are not attacked.
"""
