"""Entry of the sidecar, as small as can be: when it ends, the launcher stands in for it.

It is compiled at every cold start, and any Python 3 must be able to read it.
"""

import sys

SHUT_DOWN, OTHER_PYTHON, CANNOT_START = 85, 86, 87
"""What the launcher is told: the environment ends; look for another Python; the sidecar cannot
start, which was said."""

if sys.version_info < (3, 10):  # noqa: UP036 - attached to a function of an older Python
    sys.exit(OTHER_PYTHON)
sys.path.insert(0, __file__.rpartition("/")[0])
try:
    from lambdallm_extension.__main__ import main

    status = main() or SHUT_DOWN
except Exception as error:  # noqa: BLE001 - one line says more than a traceback in a log of events
    sys.stdout.write(
        "lambdallm: the sidecar cannot start ({}: {}); the function runs without it.\n".format(
            type(error).__name__, error
        )
    )
    status = CANNOT_START
sys.exit(status)
