"""Loads and starts the engine and its server on threads, while the runtime starts too."""

from __future__ import annotations

import _socket
import _thread
import sys

from lambdallm_extension import left_files
from lambdallm_wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from lambda_runtime_api.extensions import ExtensionClient
    from lambda_runtime_api.telemetry import Report, RuntimeDone
    from lambdallm_extension.engine import Engine

NICE = 10
"""Of the importing thread alone, so that on one CPU the runtime's own start goes first.

Beside a busy thread it has a tenth of the CPU; with 19 it would be a seventieth, and loading would
wait for whatever keeps the CPU busy (the kernel's `sched_prio_to_weight`: 110, 15 beside 1,024).
"""


class Starter:
    """Loads and starts the engine and its server on threads, while the runtime starts too."""

    def __init__(
        self,
        directory: str,
        listener: _socket.socket | None,
        *,
        pass_on: Callable[[_socket.socket, str], None],
        log: Callable[[str], None],
    ) -> None:
        """Start nothing yet.

        Args:
            directory: Where tokens are left.
            listener: Of the localhost API; None where nobody can be served.
            pass_on: Serves that listener where the engine cannot.
            log: Gets a sentence about what went wrong.
        """
        self.directory = directory
        self._listener = listener
        self._pass_on = pass_on
        self._log = log
        self._billed = False
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

    def be_billed(self, client: ExtensionClient) -> None:
        """Ask Lambda to tell what invocations are billed for, beside the loading."""
        try:
            from lambdallm_extension.telemetry import platform

            self._billed = platform.subscribe(client, self._take_events, self._log)
        except Exception as error:  # noqa: BLE001 - nobody's start waits for a bill
            self._log(f"Bills cannot be taken ({type(error).__name__}: {error}).")

    def _take_events(self, events: list[Report | RuntimeDone]) -> None:
        if self._engine is not None:
            self._engine.bills.take(events)

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
        port = self._listener.getsockname()[1]
        problem = left_files.leave_for_clients(self.directory, port, self.client_key)
        if problem:
            self._log(problem)

    def _leave_token(self, listener: _socket.socket) -> None:
        from lambdallm_extension.server import token

        self._secret = token.make_token()
        token.write_token(self.directory, listener.getsockname()[1], self._secret)

    def _start(self) -> None:
        try:
            self._serve(self._load())
        except Exception as error:  # noqa: BLE001 - the loop over /next goes on without us
            self._log(f"The sidecar cannot serve ({type(error).__name__}: {error}).")
            if self._listener is not None:
                self._pass_on(self._listener, self.directory)
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
                    self._log(left_files.unwritable(self.directory, error))

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
        engine.bills.come(lambda: self._billed)
        self._engine = engine
