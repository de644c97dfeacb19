"""A module that takes 0.3 s of CPU time to import, as chemistry does."""

import os
import time

IMPORTED_IN = os.getpid()
_until = time.process_time() + 0.3
while time.process_time() < _until:
    pass
