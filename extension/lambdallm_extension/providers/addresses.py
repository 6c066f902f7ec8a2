"""Where an API is: what the configuration says, else its variable, else its maker's own address."""

from __future__ import annotations

from lambdallm_extension.errors import SettingError
from lambdallm_extension.http_client.urls import parse_url
from lambdallm_extension.providers.keys import original

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.http_client.urls import Url
    from lambdallm_extension.settings import Settings

_OURSELVES = ("127.0.0.1", "localhost", "::1")


def find_address(settings: Settings, configured: str, variable: str, default: str) -> Url:
    """Return the base of an API's paths.

    Args:
        settings: Variables, and the port of our own API: whatever points there is left out, since
            that is where this request comes from.
        configured: What the configuration says, "" for nothing.
        variable: Where else it may stand.
        default: Its maker's own, "" where there is none.

    Raises:
        SettingError: There is none, or it is no URL.
    """
    candidates = (
        ("base_url in lambdallm.yaml", configured.strip()),
        (variable, original(settings.environ, variable)),
        (variable, default),
    )
    for setting, text in candidates:
        if text:
            url = parse_url(text, setting)
            if not (url.host in _OURSELVES and url.port == settings.port):
                return url
    message = (
        f"Nobody has said where this API is: set {variable}, or the provider's base_url in "
        "lambdallm.yaml."
    )
    raise SettingError(message)
