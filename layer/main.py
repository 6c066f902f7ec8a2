"""Entry of the sidecar. Too small to fail; whatever fails behind it ends in `fallback`.

It is compiled at every cold start, so it holds nothing else, and it is read by any Python 3.
"""

import sys

HERE = __file__.rpartition("/")[0]

sys.path.insert(0, HERE)
try:
    if sys.version_info < (3, 10):  # noqa: UP036 - attached to a function of an older Python
        raise ImportError("Python 3.10 or newer is needed")  # noqa: TRY301
    from lambdallm_extension.__main__ import main

    STATUS = main()
except Exception as error:  # noqa: BLE001 - an exit here would take the function down
    import fallback

    STATUS = fallback.run(error)
sys.exit(STATUS)
