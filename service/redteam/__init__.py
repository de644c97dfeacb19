"""The red team: what would dishonesty earn under a profile, next to what honesty earns?

``suite.run`` takes a profile's examples and variations of them (``cases``), applies every attack
to each (``attacks``, ``claims``, ``mutations``), has all of it judged (``arena``) and gives a
``report``. Rows are those of the project's table of attacks on public rewards; ``rows`` names them.

Limits: a world model's word is synthetic unless a running server is asked, and what a verifier
takes for right is not questioned, only who can earn it.
"""
