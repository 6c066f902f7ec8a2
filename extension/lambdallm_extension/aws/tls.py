"""One TLS context per process and trust: certificate checks are always on.

Building a context is what TLS costs at start, and most of that is parsing 140 certificates. A
directory whose files are named by hash is searched at the handshake instead: 17 ms of CPU
against 43 ms (CPython 3.11, 2026-11).
"""

from __future__ import annotations

import ssl
from os import scandir
from threading import Lock
from typing import TYPE_CHECKING

from lambdallm_extension.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping

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

_contexts: dict[tuple[str, str], ssl.SSLContext] = {}
_lock = Lock()


def tls_context(environ: Mapping[str, str]) -> ssl.SSLContext:
    """Return the context for the trust that the environment names, made on first use.

    Args:
        environ: `AWS_CA_BUNDLE`, `SSL_CERT_FILE` (files) and `SSL_CERT_DIR` (hashed directory)
            are honoured, in this order; else the system's certificates.

    Raises:
        SettingError: A named file or directory cannot be read.
    """
    bundle = environ.get("AWS_CA_BUNDLE") or environ.get("SSL_CERT_FILE") or ""
    directory = environ.get("SSL_CERT_DIR", "")
    with _lock:
        context = _contexts.get((bundle, directory))
        if context is None:
            context = _contexts[bundle, directory] = _make_context(bundle, directory)
    return context


def _make_context(bundle: str, directory: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # Checks certificate and host name.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
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


def _trust_system(context: ssl.SSLContext) -> None:
    for directory in _HASHED_DIRECTORIES:
        if _is_hashed(directory):
            context.load_verify_locations(capath=directory)
            return
    defaults = ssl.get_default_verify_paths()
    if not (defaults.cafile or defaults.capath):
        from pathlib import Path  # It loads urllib.parse.

        for bundle in _BUNDLES:
            if Path(bundle).is_file():
                context.load_verify_locations(cafile=bundle)
                return
    context.load_default_certs()


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
