"""The engine in this very process: the one seam between the SDK and the sidecar's code.

Used where no sidecar answers: unit tests, scripts, container images without the layer, and
functions whose sidecar is absent or hung. The same routes and messages, without a socket.
"""

from __future__ import annotations

import atexit
import os
import sys

from lambdallm import _connection, _errors
from lambdallm_wire import codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Protocol

    from lambdallm._reply_stream import Source
    from lambdallm_wire.routes import Route

    class Engine(Protocol):
        """What the SDK needs of `lambdallm_extension.engine`."""

        def handle(
            self, method: str, path: str, body: bytes, *, connection: int
        ) -> tuple[int, bytes]:
            """Answer one request with a status and a JSON body."""
            ...

        def stream(self, path: str, body: bytes, *, connection: int) -> tuple[int, Source]:
            """Answer one request with a status and what reads its body."""
            ...

        def disconnected(self, connection: int) -> None:
            """Close the units of work of a connection that is gone."""
            ...

        def finish(self, seconds: float) -> None:
            """Store what was taken, as far as the time goes, and let go of everything."""
            ...

        def close(self) -> None:
            """Let go of the store."""
            ...


CONNECTION = 1
"""There is one caller: this process."""

PERSIST_SECONDS = 2.0
"""At the end of the process, for call records and `after_response` sessions on their way."""


class EmbeddedTransport:
    """Requests to an engine in this process."""

    def __init__(self, engine: Engine) -> None:
        """Serve from this engine."""
        self._engine = engine
        self._process = os.getpid()
        self.usable = True

    @classmethod
    def start(cls, environ: Mapping[str, str] | None = None) -> EmbeddedTransport:
        """Load the engine and build one.

        Args:
            environ: What it is told, the process's own environment if None.

        Raises:
            SidecarError: The engine is not installed beside the SDK.
        """
        engine = _load_engine()
        transport = cls(engine.build(engine.Settings.from_environ(environ)))
        atexit.register(transport.close)
        return transport

    def request(
        self,
        route: Route,
        message: Any,
        *,
        timeout_seconds: float,
    ) -> dict[str, Any]:
        """Hand one message to the engine and return its reply.

        Raises:
            LambdaLLMError: What the engine answered, rebuilt.
        """
        body = b"" if message is None else codec.encode(message)
        status, reply = self._engine.handle(route.method, route.path, body, connection=CONNECTION)
        return _connection.decode_reply(status, reply)

    def stream(self, route: Route, message: Any, *, timeout_seconds: float) -> Source:
        """Hand one message to the engine, and return the reply when it has begun.

        Raises:
            LambdaLLMError: What the engine answered, rebuilt.
        """
        body = codec.encode(message)
        status, reader = self._engine.stream(route.path, body, connection=CONNECTION)
        if status < _connection.FIRST_REFUSAL:
            return reader
        refusal = b"".join(iter(reader.read, b""))
        reader.close()
        raise _connection.refusal_of(refusal)

    def close(self) -> None:
        """Close what this process has left open, as the end of a connection would."""
        if not self.usable or os.getpid() != self._process:
            return
        self.usable = False
        atexit.unregister(self.close)
        self._engine.disconnected(CONNECTION)
        self._engine.finish(PERSIST_SECONDS)

    def abandon(self) -> None:
        """Let go of it after a restore: every clone of the snapshot would write the same."""
        self.usable = False
        atexit.unregister(self.close)
        self._engine.close()


def _load_engine() -> Any:
    try:
        from lambdallm_extension import engine
    except ModuleNotFoundError as error:
        if error.name != "lambdallm_extension":
            raise
    else:
        return engine
    _append_layer_path()
    try:
        from lambdallm_extension import engine
    except ModuleNotFoundError as error:
        if error.name != "lambdallm_extension":
            raise
        message = (
            "No sidecar answers, and lambdallm_extension is not installed beside the SDK: "
            "attach the layer, or install the whole lambdallm distribution."
        )
        raise _errors.SidecarError(message) from error
    return engine


def _append_layer_path() -> None:
    """Let the sidecar's own folder be searched last, so that it shadows nothing of the function.

    In the layer the SDK is /opt/python/lambdallm, and the sidecar's packages are in /opt/lambdallm.
    """
    opt = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120 - pathlib costs 6 ms
    path = f"{opt}/lambdallm"
    if path not in sys.path:
        sys.path.append(path)
