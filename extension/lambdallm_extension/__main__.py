"""The extension's process: load beside the runtime's own start, then serve, then take events.

    listen ─► load (nice 10, 5 s at most waited for) ─► token ─► serve ─► /next
    listen ─► token ─► /next … first connection ─► load ─► serve        after a reset

The launcher has registered before this process started, because the runtime starts only then.
Whatever goes wrong here ends in `idle`, which keeps the function alive; when the process itself
ends, the launcher stands in for it.
"""

from __future__ import annotations

import _socket
import posix
import sys

from lambda_runtime_api.extensions import ApiRefusedError, ExtensionClient
from lambdallm_extension import idle, left_files, standby
from lambdallm_wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_extension.starter import Starter

EXTENSION_NAME = "lambdallm"
"""The launcher's file name in /opt/extensions; any other would register an internal extension."""

LOAD_MAX_SECONDS = 5.0
"""Between register and the first `/next`, for loading, which takes 50 ms of CPU.

It yields to the runtime's own start, so it ends late where that imports for seconds. Without it
the first call would find nobody, and a small function has a few percent of a CPU once Init is over.
Source: of Init's 10 s (Lambda developer guide, "Execution environment lifecycle", 2026-10).
"""

MANAGED_LOAD_MAX_SECONDS = 30.0
"""The same on Managed Instances, of 130 s: many workers start beside it, and nobody waits."""

SPINDOWN = "spindown"
"""Why an environment ends that is no longer needed; after any other reason it is started again."""

BACKLOG = 128
PORT_MAX = 65_535


def main() -> int:
    """Run until SHUTDOWN. Return the process's exit code."""
    address = _environ("AWS_LAMBDA_RUNTIME_API")
    if not address:
        sys.stderr.write(
            "lambdallm-extension runs inside a Lambda execution environment, which sets "
            "AWS_LAMBDA_RUNTIME_API. Attach the layer to a function instead.\n"
        )
        return 2
    client = ExtensionClient(address, _environ(names.ENVIRONMENT_IDENTIFIER), loads=_loads)
    listener, problem = _listen()
    if not client.identifier:
        _register(client)
    try:
        if not _run(client, listener, problem):
            return 1  # nobody answers here; the launcher tries on, and gives up later
    except BaseException as error:  # noqa: BLE001 - an exit here would fail the function
        _log(f"The sidecar gives up ({type(error).__name__}: {error}); the function runs without.")
        if listener is not None:
            _pass_on(listener, _environ(names.ENVIRONMENT_DIRECTORY) or names.DEFAULT_DIRECTORY)
        client.close()
        idle.run(address, client.identifier)
    return 0


def _register(client: ExtensionClient) -> None:
    """Register, where the launcher has not done it already."""
    try:
        client.register(EXTENSION_NAME, ("INVOKE", "SHUTDOWN"))
    except ApiRefusedError as refusal:
        if refusal.error_type != "Extension.InvalidEventType":
            raise
        client.register(EXTENSION_NAME, ("SHUTDOWN",))  # Managed Instances have no INVOKE


def _loads(body: bytes) -> object:
    """Read JSON with what the engine uses as well."""
    from lambdallm_wire import plain_json

    return plain_json.loads(body)


def _environ(name: str) -> str:
    """Read one variable without `os`, whose import would delay the function's start."""
    return posix.environ.get(name.encode("ascii"), b"").decode("utf-8", "replace")


def _listen() -> tuple[_socket.socket | None, str]:
    """Listen on the port before anybody can ask; return the socket, or why there is none."""
    text = _environ(names.ENVIRONMENT_PORT)
    port = (
        int(text)
        if text.isascii() and text.isdecimal() and 0 < int(text) <= PORT_MAX
        else names.DEFAULT_PORT
    )
    listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    try:
        listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        listener.bind((names.HOST, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        return None, (
            f"Port {port} cannot be listened on ({error.strerror}); set {names.ENVIRONMENT_PORT} "
            "to a free one. The SDK uses its embedded engine until then."
        )
    return listener, ""


def _run(client: ExtensionClient, listener: _socket.socket | None, problem: str) -> bool:
    directory = _environ(names.ENVIRONMENT_DIRECTORY) or names.DEFAULT_DIRECTORY
    unclean, unwritable = left_files.mark(directory)
    for sentence in filter(None, (problem, unwritable)):
        _log(sentence)
    if unwritable and listener is not None:
        listener.close()  # nobody could learn the token
        listener = None
    if problem and not unwritable:
        failed = left_files.leave_for_clients(directory, 0, "")
        if failed:
            _log(failed)
    managed = _environ("AWS_LAMBDA_INITIALIZATION_TYPE") == "lambda-managed-instances"
    from lambdallm_extension.starter import Starter

    starter = Starter(directory, listener, pass_on=_pass_on, log=_log)
    first = b""
    if not unclean:
        starter.start()
        if not managed and _environ(names.ENVIRONMENT_COMPUTE).lower() != "off":
            starter.be_billed(client)  # Managed Instances have no bill of an invocation
        starter.wait(MANAGED_LOAD_MAX_SECONDS if managed else LOAD_MAX_SECONDS)
    elif listener is not None:
        starter.start_when_asked(listener)
        first = standby.run(client, starter.is_asked)
        if not starter.is_asked() and standby.is_shutdown(first):
            if SPINDOWN.encode() in first.lower():
                left_files.unmark(directory)
            return True
    return _take_events(_Resumed(client, first), starter)


def _take_events(client: _Resumed, starter: Starter) -> bool:
    import time

    from lambdallm_extension.lifecycle import Lifecycle
    from lambdallm_extension.settings import SystemClock

    shutdown = Lifecycle(client, starter.engine, SystemClock(), time.sleep, _log).run()
    if shutdown is not None and shutdown.reason == SPINDOWN:
        left_files.unmark(starter.directory)
    return shutdown is not None


class _Resumed:
    """A client whose next event has been taken already, unless that is empty."""

    def __init__(self, client: ExtensionClient, first: bytes) -> None:
        self._client = client
        self._first = first

    def next_event(self) -> dict[str, Any]:
        first, self._first = self._first, b""
        return self._client.read_event(first) if first else self._client.next_event()


def _pass_on(listener: _socket.socket, directory: str) -> None:
    """Let the requests of clients that know no other way be passed on; the SDK knows one.

    A socket that serves already has left this object, and goes on.
    """
    if listener.fileno() < 0:
        return
    try:
        left_files.remove(directory, names.TOKEN_FILE)  # the SDK sees at once that nobody serves it
        from lambdallm_extension.raw_listener import read_client_key, start

        start(listener, read_client_key(directory)[1])
    except Exception as error:  # noqa: BLE001 - the last resort of all is nobody listening
        _log(f"Requests of clients cannot be passed on ({type(error).__name__}: {error}).")
        listener.close()


def _log(sentence: str) -> None:
    sys.stdout.write(f"lambdallm: {sentence}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
