"""The extension's process: load beside the runtime's own start, then serve, then take events.

    listen ─► load (nice 10, 5 s at most waited for) ─► token ─► serve ─► /next
    listen ─► token ─► /next … first connection ─► load ─► serve        after a reset

The launcher has registered before this process started, because the runtime starts only then.
Whatever goes wrong here ends in `idle`, which keeps the function alive; when the process itself
ends, the launcher stands in for it.
"""

from __future__ import annotations

import _socket
import _thread
import posix
import sys

from lambda_runtime_api.extensions import ApiRefusedError, ExtensionClient
from lambdallm_extension import idle, standby
from lambdallm_wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from threading import Event
    from typing import Any

    from lambdallm_extension.engine import Engine

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

NICE = 10
"""Of the importing thread alone, so that on one CPU the runtime's own start goes first.

Beside a busy thread it has a tenth of the CPU; with 19 it would be a seventieth, and loading would
wait for whatever keeps the CPU busy (the kernel's `sched_prio_to_weight`: 110, 15 beside 1,024).
"""

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
    unclean, unwritable = _mark(directory)
    for sentence in filter(None, (problem, unwritable)):
        _log(sentence)
    if unwritable and listener is not None:
        listener.close()  # nobody could learn the token
        listener = None
    if problem and not unwritable:
        _leave_for_clients(directory, 0, "")
    managed = _environ("AWS_LAMBDA_INITIALIZATION_TYPE") == "lambda-managed-instances"
    starter = _Starter(directory, listener)
    first = b""
    if not unclean:
        starter.start()
        starter.wait(MANAGED_LOAD_MAX_SECONDS if managed else LOAD_MAX_SECONDS)
    elif listener is not None:
        starter.start_when_asked(listener)
        first = standby.run(client, starter.is_asked)
        if not starter.is_asked() and standby.is_shutdown(first):
            if SPINDOWN.encode() in first.lower():
                _unmark(directory)
            return True
    return _take_events(_Resumed(client, first), starter)


def _take_events(client: _Resumed, starter: _Starter) -> bool:
    import time

    from lambdallm_extension.lifecycle import Lifecycle
    from lambdallm_extension.settings import SystemClock

    shutdown = Lifecycle(client, starter.engine, SystemClock(), time.sleep, _log).run()
    if shutdown is not None and shutdown.reason == SPINDOWN:
        _unmark(starter.directory)
    return shutdown is not None


class _Resumed:
    """A client whose next event has been taken already, unless that is empty."""

    def __init__(self, client: ExtensionClient, first: bytes) -> None:
        self._client = client
        self._first = first

    def next_event(self) -> dict[str, Any]:
        first, self._first = self._first, b""
        return self._client.read_event(first) if first else self._client.next_event()


class _Starter:
    """Loads and starts the engine and its server on threads, while the runtime starts too."""

    def __init__(self, directory: str, listener: _socket.socket | None) -> None:
        self.directory = directory
        self._listener = listener
        self._loaded: Engine | None = None
        self._engine: Engine | None = None
        self._started: Event | None = None
        self._failure = ""
        self._secret = ""
        self._asked = False
        self.client_key = ""

    def start(self) -> None:
        """Load and serve, beside the caller."""
        import threading

        self._leave_client_key()
        self._started = threading.Event()
        threading.Thread(target=self._start, name="lambdallm-start", daemon=True).start()

    def wait(self, seconds: float) -> None:
        """Wait until it serves, or cannot."""
        if self._started is not None:
            self._started.wait(seconds)

    def start_when_asked(self, listener: _socket.socket) -> None:
        """Load at the first connection: a function that asks for nothing pays for nothing.

        Who connects finds the token, and a file that says that nobody serves yet.
        """
        self._leave_token(listener)
        with open(self._starting_file, "w", encoding="ascii"):  # noqa: PTH123
            self._leave_client_key()  # not before: who finds it alone would connect, to be sure
            _thread.start_new_thread(self._await, (listener,))

    def is_asked(self) -> bool:
        """Say whether somebody has connected."""
        return self._asked

    def engine(self) -> Engine | None:
        """Return the engine, or None while it is still loading or when it cannot run."""
        return self._engine

    @property
    def _starting_file(self) -> str:
        return f"{self.directory}/{names.STARTING_FILE}"

    def _await(self, listener: _socket.socket) -> None:
        import os
        import select

        select.select([listener], [], [])
        self._asked = True
        self._start()
        os.unlink(self._starting_file)  # noqa: PTH108 - pathlib is not loaded

    def _leave_client_key(self) -> None:
        """Let clients that are made in Init find their key before anything is loaded."""
        from lambdallm_extension.server import token

        if self._listener is None:
            return
        self.client_key = token.make_client_key()
        _leave_for_clients(self.directory, self._listener.getsockname()[1], self.client_key)

    def _leave_token(self, listener: _socket.socket) -> None:
        from lambdallm_extension.server import token

        self._secret = token.make_token()
        token.write_token(self.directory, listener.getsockname()[1], self._secret)

    def _start(self) -> None:
        try:
            self._serve(self._load())
        except Exception as error:  # noqa: BLE001 - the loop over /next goes on without us
            _log(f"The sidecar cannot serve ({type(error).__name__}: {error}).")
            if self._listener is not None:
                _pass_on(self._listener, self.directory)
        finally:
            if self._started is not None:
                self._started.set()

    def _load(self) -> Engine:
        """Import on a thread of its own: its priority, once lowered, could not be raised again."""
        import threading

        loader = threading.Thread(target=self._import, name="lambdallm-load", daemon=True)
        loader.start()
        loader.join()
        if self._loaded is None:
            raise ImportError(self._failure)
        return self._loaded

    def _import(self) -> None:
        import gc
        import os
        import threading

        try:
            if sys.platform == "linux":
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
            gc.disable()  # what loads stays: to look through it for garbage takes 2 ms
            from lambdallm_extension import engine
            from lambdallm_extension.server import http

            del http
            built = engine.build(host="sidecar")
            built.open()
            self._loaded = built
        except Exception as error:  # noqa: BLE001 - told by `_load`, on the thread that waits
            self._failure = f"{type(error).__name__}: {error}"
        finally:
            gc.freeze()  # nor is it looked through later
            gc.enable()

    def _serve(self, engine: Engine) -> None:
        from lambdallm_extension.server import token
        from lambdallm_extension.server.http import Server

        if self._listener is None:
            engine.serve()
        else:
            port = self._listener.getsockname()[1]

            def hand_out(secret: str) -> None:
                token.write_token(self.directory, port, secret)

            def renew() -> None:
                try:
                    server.renew(token.make_token(), hand_out)
                except OSError as error:
                    _log(_unwritable(self.directory, error))

            if not self._secret:
                self._leave_token(self._listener)
            descriptor = self._listener.detach()
            listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0, descriptor)
            room = engine.settings.memory_mb << 17  # an eighth of the memory, for large bodies
            log = engine.telemetry.log
            server = Server(listener, self._secret, engine, log, room_bytes=room)
            engine.admit_clients(self.client_key, server.tokens)
            engine.serve(renew)
            server.start()
        self._engine = engine


def _pass_on(listener: _socket.socket, directory: str) -> None:
    """Let the requests of clients that know no other way be passed on; the SDK knows one.

    A socket that serves already has left this object, and goes on.
    """
    if listener.fileno() < 0:
        return
    try:
        _remove(directory, names.TOKEN_FILE)  # the SDK sees at once that nobody serves it
        from lambdallm_extension.raw_listener import read_client_key, start

        start(listener, read_client_key(directory)[1])
    except Exception as error:  # noqa: BLE001 - the last resort of all is nobody listening
        _log(f"Requests of clients cannot be passed on ({type(error).__name__}: {error}).")
        listener.close()


def _mark(directory: str) -> tuple[bool, str]:
    """Leave the marker; return whether one was there, and why none can be left.

    Then Lambda has reset the environment (after a timeout or a crash; /tmp is not cleared by that),
    and this start runs inside an invocation, under the function's own timeout and its few percent
    of a CPU.
    """
    import os

    from lambdallm_extension.server.token import listen_directory

    try:
        path = f"{listen_directory(directory)}/{names.RUNNING_FILE}"
        unclean = os.path.exists(path)  # noqa: PTH110 - pathlib is not loaded before /next
        with open(path, "w", encoding="ascii") as marker:  # noqa: PTH123
            marker.write(str(os.getpid()))
    except OSError as error:
        return False, _unwritable(directory, error)
    return unclean, ""


def _leave_for_clients(directory: str, port: int, client_key: str) -> None:
    """Leave what clients need, or word that there is nobody for them; a full disk is logged."""
    from lambdallm_extension.server import token

    try:
        if port:
            token.write_client_key(directory, port, client_key)
        else:
            token.write_nobody(directory)
    except OSError as error:
        _log(_unwritable(directory, error))


def _unwritable(directory: str, error: OSError) -> str:
    if error.strerror is None:  # our own words, which say what to do
        return f"{error}."
    variable = names.ENVIRONMENT_DIRECTORY
    return f"{directory} cannot be written ({error.strerror}); set {variable} to one that can."


def _unmark(directory: str) -> None:
    _remove(directory, names.RUNNING_FILE, names.STARTING_FILE)


def _remove(directory: str, *files: str) -> None:
    for name in files:
        try:
            posix.unlink(f"{directory}/{name}")
        except OSError:
            continue  # it is not there, or could not be written either, which was logged


def _log(sentence: str) -> None:
    sys.stdout.write(f"lambdallm: {sentence}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
