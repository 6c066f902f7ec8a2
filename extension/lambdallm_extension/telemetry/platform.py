"""Where Lambda tells what invocations are billed for: a listener of its own, never the gateway's.

    subscribe ─► PUT …/telemetry        listener: POST [{…}, …] ─► take ─► 200
        └─ refused, silent: no listener, and nothing that needs one

On Lambda the platform does not come from loopback, so this listens at the address that the
environment has for `sandbox.localdomain`, and there alone, under a path that only the platform is
told: whoever makes the function fetch an address of his choice does not guess it. Whatever comes is
small, short and checked; one connection is served at a time, for a second at most. Nobody waits.
"""

from __future__ import annotations

import _socket
import _thread
import posix
import time

from lambda_runtime_api import http1, telemetry
from lambda_runtime_api.extensions import ApiRefusedError
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambda_runtime_api.extensions import ExtensionClient
    from lambda_runtime_api.telemetry import Report, RuntimeDone

    Take = Callable[[list[Report | RuntimeDone]], None]
    Log = Callable[[str], None]

HOSTS_FILE = "/etc/hosts"
LOOPBACK = "127.0.0.1"
"""Where the name is nobody's: AWS's emulator, and ours, mean this machine by it."""

LAMBDA_API_PORT = 9_001
"""Of the Runtime API on Lambda, where no other may listen. With any other this is an emulator, and
no resolver is asked. Source: Lambda developer guide, "Telemetry API", destinations, 2026-10."""

RESOLVE_SECONDS = 0.05
"""For whom the hosts file does not say it: less than loading takes, which goes on beside this."""

BODY_MAX_BYTES = 4 * telemetry.BYTES_MAX
"""A batch is at most twice what was asked for, and what describes it. Source: the guide's
"Telemetry API", buffering, 2026-10."""

HEAD_MAX_BYTES = 8_192
SECONDS_MAX = 1.0
"""For one batch, from its first byte to the answer: the platform is on the same machine."""

PAUSE_SECONDS = 1.0
"""After a connection could not be taken, for want of a file descriptor: others need them more."""

PATH_BYTES = 16
"""Of chance, in the path."""

BACKLOG = 8
NOT_SUPPORTED = 202
"""Answered where there is no Telemetry API, as by AWS's Runtime Interface Emulator."""


def subscribe(client: ExtensionClient, take: Take, log: Log) -> bool:
    """Listen, and ask Lambda to tell. Before the first `/next`; never raises.

    Args:
        client: Registered.
        take: Gets what was told of invocations, on a thread of the listener's; may raise.
        log: Gets a sentence about what went wrong.

    Returns:
        Whether Lambda will tell.
    """
    try:
        listener = listen(address(client.api_port))
    except OSError as error:
        log(f"What invocations are billed for is not known ({error.strerror}).")
        return False
    try:
        port, path = listener.getsockname()[1], f"/{posix.urandom(PATH_BYTES).hex()}"
        client.subscribe(telemetry.PATH, telemetry.subscription(port, path))
        _thread.start_new_thread(serve, (listener, path, take, log))
    except (ApiRefusedError, OSError, http1.ProtocolError, RuntimeError) as error:
        listener.close()
        if not (isinstance(error, ApiRefusedError) and error.status == NOT_SUPPORTED):
            log(f"What invocations are billed for is not known: no telemetry ({error}).")
        return False
    return True


def address(api_port: int, hosts_file: str = HOSTS_FILE) -> str:
    """Return where the platform reaches this environment: by hosts file, else by the resolver."""
    name = telemetry.HOST
    try:
        with open(hosts_file, encoding="ascii", errors="replace") as hosts:  # noqa: PTH123
            for line in hosts:
                fields = line.partition("#")[0].split()
                if name in fields[1:] and ":" not in fields[0]:
                    return fields[0]
    except OSError:
        pass  # there is no such file, which is as good as one that does not say it
    return _resolved(name) if api_port == LAMBDA_API_PORT else LOOPBACK


def _resolved(name: str) -> str:
    """Ask the resolver, which may be one that never answers."""
    found: list[str] = []
    answered = _thread.allocate_lock()
    answered.acquire()

    def look() -> None:
        try:
            # In bytes: a str would load a codec for domain names.
            places = _socket.getaddrinfo(
                name.encode("ascii"), None, _socket.AF_INET, _socket.SOCK_STREAM
            )
            found.append(str(places[0][4][0]))
        except OSError:
            return  # nobody has that name
        finally:
            answered.release()

    _thread.start_new_thread(look, ())
    answered.acquire(timeout=RESOLVE_SECONDS)
    return found[0] if found else LOOPBACK


def listen(host: str) -> _socket.socket:
    """Listen on any free port of an address.

    Raises:
        OSError: The address is not this machine's.
    """
    listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    try:
        listener.bind((host, 0))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def serve(listener: _socket.socket, path: str, take: Take, log: Log) -> None:
    """Take batches that come to a path, one after the other, until the listener is closed."""
    while True:
        try:
            descriptor, _ = listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001 - as `socket` does
        except OSError:
            if listener.fileno() < 0:
                return
            time.sleep(PAUSE_SECONDS)
            continue
        connection = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0, descriptor)
        try:
            status = _answer(connection, take, path)
            connection.settimeout(SECONDS_MAX)
            connection.sendall(http1.encode_response(status, [("connection", "close")]))
        except OSError:
            pass  # whoever it was has gone, or was frozen meanwhile: the platform asks again
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end the thread
            log(f"A bill could not be read ({type(error).__name__}: {error}).")
        finally:
            connection.close()


def _answer(connection: _socket.socket, take: Take, path: str) -> int:
    """Read one batch, hand it on, and return the status to answer."""
    until = time.monotonic() + SECONDS_MAX

    def recv(size: int) -> bytes:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        return connection.recv(size)

    reader = http1.Reader(
        requests=True, head_max_bytes=HEAD_MAX_BYTES, body_max_bytes=BODY_MAX_BYTES
    )
    try:
        request, body = http1.receive(reader, recv)
        if not isinstance(request, http1.Request) or request.method != "POST":
            return 405
        if request.target != path:
            return 404
        events = telemetry.read_events(plain_json.loads(body))
    except http1.ProtocolError as error:
        return error.status
    except (ValueError, RecursionError):
        return 400
    if events:
        take(events)
    return 200
