"""`redis://[user:password@]HOST[:PORT][/DB][?prefix=…]`, taken apart; `rediss://` is over TLS.

prefix    what every key begins with; `lambdallm`
ca        a file of certificates to trust, with `rediss://`, instead of the system's
"""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote, urlsplit

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension.errors import SettingError

DEFAULT_PORT = 6379
DEFAULT_PREFIX = "lambdallm"
PREFIX_MAX = 64

FORM = "redis://[USER:PASSWORD@]HOST[:PORT][/DB][?prefix=PREFIX]"


class Target(NamedTuple):
    """A server, and who we are to it.

    Attributes:
        db: A number; a cluster has 0 alone.
        ca: File of the certificates to trust, "" for the system's.
    """

    host: str
    port: int
    tls: bool = False
    username: str = ""
    password: str = ""
    db: int = 0
    prefix: str = DEFAULT_PREFIX
    ca: str = ""

    @property
    def name(self) -> str:
        """Host and port, for errors."""
        return f"{self.host}:{self.port}"


def parse_url(url: str, shown: str) -> Target:
    """Take a URL apart.

    Args:
        url: As LAMBDALLM_STORE names it.
        shown: The same without its password, for the error.

    Raises:
        SettingError: It is none, or wants what there is not.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORT
        options = (
            parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)
            if parts.query
            else []
        )
    except ValueError:
        raise _wrong(shown, "it is no URL (in a password, %40 is a @, %3F a ?)") from None
    wanted = dict(options)
    db = parts.path.removeprefix("/") or "0"
    if not parts.hostname or parts.fragment:
        raise _wrong(shown, "it names no host, or has a '#' (write it as %23)")
    if not (db.isascii() and db.isdigit()):
        raise _wrong(shown, f"{db!r} is no number of a database")
    if len(wanted) < len(options) or wanted.keys() - {"prefix", "ca"}:
        raise _wrong(shown, "the options are prefix and ca, each once")
    tls = parts.scheme == "rediss"
    if "ca" in wanted and not tls:
        raise _wrong(shown, "ca goes with rediss://")
    prefix = wanted.get("prefix", DEFAULT_PREFIX)
    printable = prefix.isascii() and prefix.isprintable() and not set(prefix) & set("{} ")
    if not 1 <= len(prefix) <= PREFIX_MAX or not printable:
        raise _wrong(shown, f"a prefix has 1 to {PREFIX_MAX} ASCII characters, no braces")
    return Target(
        host=parts.hostname,
        port=port,
        tls=tls,
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        db=int(db),
        prefix=prefix,
        ca=wanted.get("ca", ""),
    )


def _wrong(shown: str, why: str) -> SettingError:
    return SettingError(f"LAMBDALLM_STORE={shown!r}: {why}. It may be {FORM}, or rediss://….")
