"""The way to the sidecar: HTTP/1.1 over TCP on 127.0.0.1, with connections kept open.

    token file ──► connect ──► health, 50 ms ──► the sidecar serves this process
       none          refused       silent ─────► SidecarAbsentError: the embedded engine does

A unit of work has a *line*, the connection on which it begins, speaks and ends: its end tells the
sidecar that this process has died. Calls use a small pool beside the lines. A sidecar that ends or
stands still later is noticed within 50 ms as well; a model call is sent only to one that has just
answered, and what was sent is never sent again.
"""

from __future__ import annotations

import os

from lambda_runtime_api import http1
from lambdallm import _errors, _settings
from lambdallm._connection import (
    SLICES,
    Connection,
    SidecarLostError,
    SilentError,
    Unsent,
    decode_reply,
    describe_loss,
    refusal_of,
)
from lambdallm._lines import Lines
from lambdallm._pool import Pool
from lambdallm._token import SidecarAbsentError, absence, read_pid, read_token
from lambdallm_wire import codec, names, routes, windows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm._connection import Reply
    from lambdallm._reply_stream import SidecarStream
    from lambdallm._settings import Settings

WATCH_SLICES = SLICES - 2
"""Asked after 20 ms of silence, so that both make 50 ms."""

_AT_ONCE = (routes.APPEND.path, routes.HEALTH.path)
"""Answered without waiting for a store or a model."""

HERE_SECONDS = 0.005
"""For the rest of a reply whose beginning has come."""

_CALLS = (routes.CHAT, routes.EMBED, routes.PERFORMED)
"""What may be billed, and takes as long as a model."""

_OK, _UNAUTHORIZED = 200, 401


class SidecarTransport:
    """Requests to a sidecar that has answered once. Belongs to the process that made it."""

    def __init__(self, port: int, token: str, directory: str = "") -> None:
        """Keep the address; nothing is opened yet.

        Args:
            port: Where it listens.
            token: What it asks for.
            directory: Where a token is found that took the place of this one; "" for nowhere.
        """
        self._port = port
        self._directory = directory
        self._use(token)
        self._says_ahead = True  # not where the token may change between a request and its reply
        self._pool = Pool(port)
        self._lines = Lines()
        self._asked: dict[str, Connection] = {}
        self.broken = False
        self._silent = False

    @classmethod
    def find(cls, settings: Settings) -> SidecarTransport:
        """Find the sidecar and make sure that it serves.

        Raises:
            SidecarAbsentError: There is none, or it does not answer.
        """
        port, token = read_token(settings.directory)
        transport = cls(port, token, settings.directory)
        transport._says_ahead = not settings.snap_start
        if os.path.exists(f"{settings.directory}/{names.STARTING_FILE}"):  # noqa: PTH110
            raise SidecarAbsentError("it has not loaded since a reset", asleep=True)
        transport._probe()
        return transport

    def request(self, route: routes.Route, message: Any, *, timeout_seconds: float) -> Any:
        """Send one message and return the reply.

        Args:
            route: Where to.
            message: The route's request, None for a route without one.
            timeout_seconds: For a reply that waits for a store or a model.

        Raises:
            LambdaLLMError: What the sidecar answered, rebuilt.
            SidecarLostError: It has ended or stands still.
            SidecarError: It lives, and no reply came in time, so that the call may have happened;
                or too many were under way, and it was not made.
        """
        data = self._encode(route, message)
        try:
            reply = self._exchange(route, message, data, timeout_seconds)
        except (Unsent, OSError, http1.ProtocolError) as error:
            raise self._failed(error, timeout_seconds) from error
        if reply[0] == _UNAUTHORIZED and self._renew_token():
            if route is routes.BEGIN:
                self._lines.leave(message["work_id"])
            return self.request(route, message, timeout_seconds=timeout_seconds)
        return decode_reply(*reply)

    def stream(self, route: routes.Route, message: Any, *, timeout_seconds: float) -> SidecarStream:
        """Send one message, and return the reply when it has begun; errors as of `request`."""
        from lambdallm._reply_stream import SidecarStream

        data = self._encode(route, message)
        until = _settings.monotonic() + timeout_seconds
        self._pool.begin_call(timeout_seconds)
        stream = SidecarStream(self._pool)
        try:
            reply = self._fault_of(message["work_id"])
            if reply is None:
                self._look_at(stream.connect())
                if stream.open(route.method, data, until - _settings.monotonic()):
                    return stream
                reply = stream.refusal()
        except (Unsent, OSError, http1.ProtocolError) as error:
            raise self._failed(error, timeout_seconds) from error
        finally:
            if not stream.begun:
                stream.close()
        if reply[0] == _UNAUTHORIZED and self._renew_token():
            return self.stream(route, message, timeout_seconds=timeout_seconds)
        raise refusal_of(reply[1])

    @property
    def usable(self) -> bool:
        """Whether nothing has shown yet that the sidecar is gone. Waits for nobody."""
        self.broken = self.broken or self._lines.has_stale()
        return not self.broken

    @property
    def url(self) -> str:
        """Base of the APIs that unmodified clients speak."""
        return f"http://{names.HOST}:{self._port}/"

    def retire(self) -> None:
        """Use it for nothing more; units of work that are open are given up one by one."""
        self.broken = True
        self._pool.close()
        for connection in self._lines.close_unused():
            self._pool.discard(connection)

    def close(self) -> None:
        """Close every connection on which nothing is under way."""
        self.retire()
        for connection in (*self._lines.close_silent(), *self._asked.values()):
            self._pool.discard(connection)

    def give_up(self, work_id: str) -> None:
        """Close the line of a unit of work that goes on elsewhere, and leave word of that."""
        self._forget_window(work_id)
        farewell = self._encode(routes.END, {"work_id": work_id, "outcome": "moved"})
        connection, farewells = self._lines.give_up(work_id, farewell)
        if connection is not None:
            self._pool.forget(connection)
            connection.say(farewells)

    def abandon(self) -> None:
        """In a forked child or a clone: close the sockets, which the other one does not notice.

        Were they left open here, the sidecar would not see the parent's death.
        """
        self.broken = True
        self._pool.abandon()

    def _use(self, token: str) -> None:
        self._token = token
        self._head = [
            ("host", f"{names.HOST}:{self._port}"),
            (names.TOKEN_HEADER, token),
            (names.WIRE_HEADER, str(names.WIRE_VERSION)),
            ("content-type", "application/json"),
        ]
        self._health = self._encode(routes.HEALTH, None)

    def _renew_token(self) -> bool:
        """Look whether another token has taken the place of ours, as after a restore.

        What was refused for its token was not processed, so it may be sent again.
        """
        try:
            port, token = read_token(self._directory)
        except SidecarAbsentError:
            return False  # the refusal stands, and is told
        if port != self._port or token == self._token:
            return False
        self._use(token)
        return True

    def _encode(self, route: routes.Route, message: Any) -> bytes:
        if route is routes.BEGIN and windows.is_read_at_once(message.get("session")):
            message = {**message, "window_follows": True}
        body = None if message is None else codec.encode(message)
        return http1.encode_request(route.method, route.path, self._head, body)

    def _probe(self) -> None:
        """Ask for its health on what becomes the first line; a slow one is waited for."""
        self._pool.pid = read_pid(self._directory)
        try:
            connection = self._lines.add(self._pool.connect()).connection
            status, body = connection.exchange_at_once(routes.HEALTH.method, self._health)
            health = decode_reply(status, body)
            health["sidecar_version"]
            self._pool.pid = connection.pid = health.get("pid", 0)
        except (Unsent, OSError, ValueError, KeyError, _errors.LambdaLLMError) as error:
            self.close()
            raise absence(error) from error

    def _exchange(
        self, route: routes.Route, message: Any, data: bytes, timeout_seconds: float
    ) -> Reply:
        if self.broken:
            raise Unsent
        work_id = message.get("work_id", "") if message else ""
        if route is routes.BEGIN:
            return self._begin(work_id, data, windows.is_read_at_once(message.get("session")))
        if route is routes.END:
            return self._end(work_id, data, timeout_seconds)
        line = self._lines.of(work_id)
        if route is routes.APPEND and self._says_ahead and line is not None and line.works == 1:
            line.say(work_id, route.method, data)
            return _OK, b"{}"
        fault = self._fault_of(work_id)
        if fault is not None:
            return fault
        if route in _CALLS:
            until = _settings.monotonic() + timeout_seconds
            self._pool.begin_call(timeout_seconds)
            try:  # what is lost of a run is in its store, and asked again: it is watched instead
                looks = "run" not in message
                return self._pooled(route, data, until - _settings.monotonic(), looks=looks)
            finally:
                self._pool.end_call()
        return self._ask(route, work_id, data, timeout_seconds)

    def _ask(self, route: routes.Route, work_id: str, data: bytes, timeout_seconds: float) -> Reply:
        asked = self._asked.pop(work_id, None) if route is routes.WINDOW else None
        if asked is not None:
            reply = self._pooled(route, data, timeout_seconds, asked)
            if reply[0] != _UNAUTHORIZED:
                return reply  # else the token has changed since it was asked for
        return self._pooled(route, data, timeout_seconds)

    def _begin(self, work_id: str, data: bytes, with_session: bool) -> Reply:
        line = self._lines.take(work_id, self._pool.connect)
        try:
            with line.lock:
                line.read_replies(routes.APPEND.method)  # of another unit that is on it, too
                reply = line.connection.exchange_at_once(routes.BEGIN.method, data)
            if with_session and reply[0] == _OK:
                self._ask_window(work_id)
        except BaseException:
            self._spoil(work_id)
            raise
        return reply

    def _ask_window(self, work_id: str) -> None:
        """Ask for the session right away; the reply waits until the handler wants it.

        On a connection of its own, so that the line is free for the end. The sidecar reads the
        session in that connection's thread: nobody has to be woken for it.
        """
        self._asked[work_id] = connection = self._pool.take()
        try:
            connection.send(self._encode(routes.WINDOW, {"work_id": work_id}))
        except BaseException:
            self._forget_window(work_id)
            raise

    def _forget_window(self, work_id: str) -> None:
        """Let go of a session that the handler did not want."""
        connection = self._asked.pop(work_id, None)
        if connection is None:
            return
        try:
            if connection.is_stale():  # it has come, so that the connection is good for others
                connection.read(routes.WINDOW.method, HERE_SECONDS)
                self._pool.give_back(connection)
                return
        except (OSError, http1.ProtocolError):
            pass  # not all of it, or the end: either way nobody wants it
        self._pool.discard(connection)

    def _end(self, work_id: str, data: bytes, timeout_seconds: float) -> Reply:
        line = self._lines.of(work_id)
        if line is None:
            raise Unsent
        try:
            with line.lock:
                line.connection.send(data)
                line.read_replies(routes.APPEND.method)
                reply = line.connection.read(routes.END.method, timeout_seconds, self._watch)
        except (Unsent, SilentError, http1.ProtocolError):
            raise  # it is lost, and given up with word of that
        except BaseException:  # it is at work, and nobody waits any longer
            self._spoil(work_id)
            raise
        self._lines.leave(work_id)
        self._forget_window(work_id)
        fault = line.take_fault(work_id)
        return fault if fault is not None and reply[0] == _OK else reply

    def _fault_of(self, work_id: str) -> Reply | None:
        """Make sure that all was taken that a unit of work has said; return the first refusal.

        Raises:
            Unsent: The sidecar is gone. What comes next was not sent.
        """
        if self.broken:
            raise Unsent
        line = self._lines.of(work_id)
        if line is None:
            return None
        if line.unread:
            try:
                with line.lock:
                    line.read_replies(routes.APPEND.method)
            except (OSError, http1.ProtocolError) as error:
                raise Unsent from error
        return line.take_fault(work_id)

    def _spoil(self, work_id: str) -> None:
        """Close a line; what was not read from it is void."""
        self._forget_window(work_id)
        connection = self._lines.spoil(work_id)
        if connection is not None:
            self._pool.discard(connection)

    def _pooled(
        self,
        route: routes.Route,
        data: bytes,
        timeout_seconds: float,
        asked: Connection | None = None,
        looks: bool = False,
    ) -> Reply:
        """Ask on a connection that is free, or read from one on which this was asked already."""
        connection = asked or self._pool.take()
        try:
            if asked is not None:
                reply = connection.read(route.method, timeout_seconds, self._watch)
            elif route.path in _AT_ONCE:
                reply = connection.exchange_at_once(route.method, data)
            elif looks:
                self._look_at(connection)
                reply = connection.exchange(route.method, data, timeout_seconds)
            else:
                reply = connection.exchange(route.method, data, timeout_seconds, self._watch)
        except BaseException:
            self._pool.discard(connection)
            raise
        self._pool.give_back(connection)
        return reply

    def _look_at(self, connection: Connection, slices: int = SLICES) -> None:
        """Make sure that the sidecar lives, by asking for its health; else raise `Unsent`."""
        try:
            connection.exchange_at_once(routes.HEALTH.method, self._health, slices)
        except (OSError, http1.ProtocolError) as error:
            raise Unsent from error

    def _watch(self) -> None:
        """Look whether the sidecar lives, beside a call that waits for its reply.

        Raises:
            SilentError: It does not.
        """
        try:
            connection = self._pool.take()
            try:
                self._look_at(connection, WATCH_SLICES)
            except BaseException:
                self._pool.discard(connection)
                raise
        except Unsent as error:
            raise SilentError from error
        self._pool.give_back(connection)

    def _failed(self, error: Exception, timeout_seconds: float) -> _errors.SidecarError:
        """Make the error that a caller gets, and use the sidecar no more if it is lost."""
        told = describe_loss(error, timeout_seconds, silent=self._silent)
        if isinstance(told, SidecarLostError):
            self.broken, self._silent = True, told.silent
        return told
