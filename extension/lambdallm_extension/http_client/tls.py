"""TLS: one context per process and trust. Certificate and host name are always checked.

It is `ssl` without `ssl`: the C module that `ssl` is written over. There, and in OpenSSL, every
check is made; `ssl` adds names and enumerations, and loads `socket`, `base64` and more.

Building a context is what TLS costs at start, and most of that is parsing 140 certificates. A
directory whose files are named by hash is searched at the handshake instead: 17 ms of CPU
against 43 ms (CPython 3.11, 2026-11).
"""

from __future__ import annotations

import _ssl
from errno import EBADF
from os import path, scandir
from threading import Lock

from lambdallm_extension.errors import SettingError
from lambdallm_extension.http_client.sockets import block

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Mapping
    from typing import Any

_HASHED_DIRECTORIES = (
    "/etc/ssl/certs",  # Debian, Alpine
    "/etc/pki/ca-trust/extracted/pem/directory-hash",  # Amazon Linux 2023, Fedora
)

_BUNDLES = (
    "/etc/pki/tls/certs/ca-bundle.crt",  # Amazon Linux
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/cert.pem",  # macOS
)
"""Tried in turn where OpenSSL was built for paths that this machine does not have."""

RECORD_MAX_BYTES = 16_384
"""What one read can return: the room for more would be taken and given back each time.

Source: RFC 8446, 5.1.
"""

_contexts: dict[tuple[str, str, str], _ssl._SSLContext] = {}
_lock = Lock()


def tls_context(environ: Mapping[str, str], *, protocol: str = "http/1.1") -> _ssl._SSLContext:
    """Return the context for the trust that the environment names, made on first use.

    Args:
        environ: `AWS_CA_BUNDLE`, `SSL_CERT_FILE` (files) and `SSL_CERT_DIR` (hashed directory)
            are honoured, in this order; else the system's certificates.
        protocol: What is spoken inside, offered by ALPN; "" offers nothing.

    Raises:
        SettingError: A named file or directory cannot be read.
    """
    bundle = environ.get("AWS_CA_BUNDLE") or environ.get("SSL_CERT_FILE") or ""
    directory = environ.get("SSL_CERT_DIR", "")
    with _lock:
        context = _contexts.get((bundle, directory, protocol))
        if context is None:
            context = _make_context(bundle, directory, protocol)
            _contexts[bundle, directory, protocol] = context
    return context


def _make_context(bundle: str, directory: str, protocol: str) -> _ssl._SSLContext:
    context = _ssl._SSLContext(_ssl.PROTOCOL_TLS_CLIENT)  # noqa: SLF001 - as `ssl` does
    context.verify_mode = _ssl.CERT_REQUIRED  # as the protocol means already, and `ssl` relies on
    context.check_hostname = True
    context.minimum_version = _ssl.PROTO_TLSv1_2
    if protocol:
        offered = bytes([len(protocol)]) + protocol.encode()
        context._set_alpn_protocols(offered)  # type: ignore[attr-defined]  # noqa: SLF001
    if not bundle and not directory:
        _trust_system(context)
        return context
    try:
        context.load_verify_locations(cafile=bundle or None, capath=directory or None)
    except OSError as error:
        message = (
            f"The certificates in {bundle or directory!r} cannot be read ({error}): "
            "mend AWS_CA_BUNDLE, SSL_CERT_FILE or SSL_CERT_DIR."
        )
        raise SettingError(message) from None
    return context


def _trust_system(context: _ssl._SSLContext) -> None:
    for directory in _HASHED_DIRECTORIES:
        if _is_hashed(directory):
            context.load_verify_locations(capath=directory)
            return
    _, file, _, folder = _ssl.get_default_verify_paths()
    if not (path.isfile(file) or path.isdir(folder)):  # noqa: PTH112, PTH113 - pathlib loads urllib.parse
        for bundle in _BUNDLES:
            if path.isfile(bundle):  # noqa: PTH113
                context.load_verify_locations(cafile=bundle)
                return
    context.set_default_verify_paths()


class TlsStream:
    """TLS over a connected socket, with what a `Connection` needs of one.

    A read that would have to wait raises `QUIET`, where the socket's own raises BlockingIOError.
    """

    __slots__ = ("_session", "_socket", "settimeout")

    QUIET = (_ssl.SSLWantReadError, _ssl.SSLWantWriteError)

    def __init__(self, connected: socket, host: str, context: _ssl._SSLContext) -> None:
        """Shake hands, within the socket's timeout.

        Args:
            connected: Stays the owner's to close until this has succeeded. A weak reference to it
                must be possible.
            host: Whom the certificate must name.
            context: From `tls_context`.

        Raises:
            SSLCertVerificationError: The certificate is not trusted, or is of another host.
            OSError: The handshake failed.
        """
        name = host if host.isascii() else host.encode("idna").decode("ascii")
        self._socket = connected
        server_side = False
        self._session: Any = context._wrap_socket(  # type: ignore[attr-defined]  # noqa: SLF001
            connected, server_side, name
        )
        self._session.do_handshake()
        self.settimeout = connected.settimeout

    def block(self, seconds: float) -> None:
        """Let reads wait; see `sockets.block`."""
        block(self._socket, seconds)

    def recv(self, size: int) -> bytes:
        """Read up to so many bytes, none at the end, which a peer need not announce."""
        session = self._session
        try:
            received: bytes = (session or self._open_session()).read(min(size, RECORD_MAX_BYTES))
        except _ssl.SSLEOFError:
            return b""
        return received

    def sendall(self, payload: bytes) -> None:
        """Write all of it."""
        left = memoryview(payload)
        while left:
            left = left[self._open_session().write(left) :]

    def close(self) -> None:
        """Close the socket; never fails."""
        self._session = None
        self._socket.close()

    def _open_session(self) -> Any:
        """Return the session; OpenSSL would go on with whatever has the socket's number now."""
        session = self._session
        if session is None:
            raise OSError(EBADF, "The connection is closed.")
        return session


def _is_hashed(directory: str) -> bool:
    """Whether certificates stand there under the hash of their subject, such as 5ed36f99.0."""
    try:
        with scandir(directory) as entries:
            return any(
                len(entry.name) == len("5ed36f99.0")
                and entry.name.endswith(".0")
                and entry.name[:8].isalnum()
                for entry in entries
            )
    except OSError:  # Not this system's layout.
        return False
