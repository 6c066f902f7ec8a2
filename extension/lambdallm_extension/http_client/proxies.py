"""Which proxy stands between us and a host: `HTTPS_PROXY` and `NO_PROXY`, in either case.

Plain `http` endpoints are local ones and are never sent through a proxy.
"""

from __future__ import annotations

from lambdallm_extension.errors import SettingError
from lambdallm_extension.http_client.urls import Url, parse_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def pick_proxy(url: Url, environ: Mapping[str, str]) -> Url | None:
    """Return the proxy to ask for a tunnel to `url`, None for a direct connection.

    Raises:
        SettingError: `HTTPS_PROXY` is not the URL of a plain HTTP proxy.
    """
    text = environ.get("https_proxy") or environ.get("HTTPS_PROXY") or ""
    if not text or url.scheme != "https" or _is_local(url.host):
        return None
    if _is_excluded(url, environ.get("no_proxy") or environ.get("NO_PROXY") or ""):
        return None
    proxy = parse_url(text if "://" in text else f"http://{text}", "HTTPS_PROXY")
    if proxy.scheme != "http":
        message = "HTTPS_PROXY must be an http:// URL: TLS to a proxy is not spoken."
        raise SettingError(message)
    return proxy


def _is_local(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _is_excluded(url: Url, no_proxy: str) -> bool:
    for entry in no_proxy.lower().replace(" ", ",").split(","):
        name, _, port = entry.partition(":")
        name = name.removeprefix("*").removeprefix(".") if entry != "*" else "*"
        if not name or (port and port != str(url.port)):
            continue
        if name in ("*", url.host) or url.host.endswith(f".{name}"):
            return True
    return False
