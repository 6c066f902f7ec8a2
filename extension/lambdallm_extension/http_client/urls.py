"""URLs of remote APIs, taken apart."""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension.errors import SettingError

_DEFAULT_PORTS = {"http": 80, "https": 443}

_PORT_MAX = 65_535


class Url(NamedTuple):
    """An `http` or `https` URL, taken apart.

    Attributes:
        host: Without the brackets of an IPv6 address.
        path: Without a slash at its end; "" for the root.
        userinfo: `user:password`, percent-encoded, as a proxy's URL may carry it.
    """

    scheme: str
    host: str
    port: int
    path: str = ""
    query: str = ""
    userinfo: str = ""

    @property
    def authority(self) -> str:
        """Value of the `host` header: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def parse_url(text: str, setting: str) -> Url:
    """Take a URL apart.

    Args:
        text: The URL.
        setting: Name of the variable it stands in, for the error.

    Raises:
        SettingError: It is not a URL of a host that speaks HTTP.
    """
    scheme, separator, rest = text.strip().partition("://")
    scheme = scheme.lower()
    rest = rest.partition("#")[0]
    rest, _, query = rest.partition("?")
    authority, slash, path = rest.partition("/")
    userinfo, _, address = authority.rpartition("@")
    host, port = _split_address(address)
    number = _port(port) if port else _DEFAULT_PORTS.get(scheme, 0)
    if not separator or scheme not in _DEFAULT_PORTS or not _is_host(host) or not number:
        message = f"{setting}={text!r} is not a URL such as https://host:port."
        raise SettingError(message)
    return Url(scheme, host.lower(), number, (slash + path).rstrip("/"), query, userinfo)


def _split_address(address: str) -> tuple[str, str]:
    if address.startswith("["):
        host, _, port = address[1:].partition("]")
        return host, port.removeprefix(":")
    host, _, port = address.partition(":")
    return host, port


def _port(text: str) -> int:
    """Return the number, or 0 when it is not one of a port."""
    number = int(text) if text.isascii() and text.isdigit() else 0
    return number if number <= _PORT_MAX else 0


def _is_host(text: str) -> bool:
    return bool(text) and text.isascii() and text.translate(_HOST_CHARACTERS) == ""


_HOST_CHARACTERS = dict.fromkeys(
    map(ord, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:%")
)
