"""What the sidecar does when it cannot be imported or cannot register: nothing, without exiting.

It shares no code with the sidecar, because that is what may be broken. Any Python 3 reads it.
"""

import _socket
import sys
import time

REGISTER = (
    "POST /2020-01-01/extension/register HTTP/1.1\r\nHost: {address}\r\n"
    "Lambda-Extension-Name: lambdallm\r\nContent-Type: application/json\r\n"
    'Content-Length: 13\r\nConnection: close\r\n\r\n{{"events":[]}}'
)
NEXT = (
    "GET /2020-01-01/extension/event/next HTTP/1.1\r\nHost: {address}\r\n"
    "Lambda-Extension-Identifier: {identifier}\r\n\r\n"
)


def run(error):
    """Register for no events and wait until the environment ends."""
    import posix

    address = posix.environ.get(b"AWS_LAMBDA_RUNTIME_API", b"").decode()
    sys.stdout.write(
        "lambdallm: the sidecar cannot start ({}: {}); the function runs without it.\n".format(
            type(error).__name__, error
        )
    )
    sys.stdout.flush()
    if not address:
        return 2
    try:
        identifier = _identifier(_ask(address, REGISTER.format(address=address), whole=False))
        _ask(address, NEXT.format(address=address, identifier=identifier), whole=True)
    except OSError as second:
        sys.stdout.write("lambdallm: waiting without events ({}).\n".format(second))
        sys.stdout.flush()
    while True:
        time.sleep(86400)


def _identifier(reply):
    for line in reply.split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "lambda-extension-identifier":
            return value.strip()
    return ""


def _ask(address, request, whole):
    """Send a request and read its reply: the head, or until the connection ends."""
    host, _, port = address.rpartition(":")
    connection = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    connection.connect((host, int(port)))
    connection.sendall(request.encode("ascii"))
    reply = b""
    while whole or b"\r\n\r\n" not in reply:
        data = connection.recv(65536)
        if not data:
            break
        reply += data
    connection.close()
    return reply.decode("latin-1")
