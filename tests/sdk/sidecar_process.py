"""A sidecar as a process of its own, to be stopped, continued and killed.

It is the real engine behind the real server, without the Extensions API.
"""

import os
import sys
import time

from lambdallm_extension import engine
from lambdallm_extension.server.http import Server, listen
from lambdallm_extension.server.token import make_token, write_token
from lambdallm_extension.settings import Settings


def main() -> None:
    """Serve until standard input ends."""
    built = engine.build(Settings.from_environ(), host="sidecar")
    built.open()
    listener = listen(0)
    token = make_token()
    Server(listener, token, built, print).start()
    write_token(os.environ["LAMBDALLM_DIRECTORY"], listener.getsockname()[1], token)
    sys.stdout.write("serving\n")
    sys.stdout.flush()
    sys.stdin.read()
    until = time.monotonic() + 10
    while built.invocations._works and time.monotonic() < until:
        time.sleep(0.001)  # words that came while it stood still are being read
    built.finish(2.0)


if __name__ == "__main__":
    main()
