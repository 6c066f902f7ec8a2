"""Anthropic's API.

address    the provider's `base_url`, ANTHROPIC_BASE_URL, api.anthropic.com
key        the provider's `api_key`, ANTHROPIC_API_KEY, or ANTHROPIC_AUTH_TOKEN as a bearer token
"""

from __future__ import annotations

from lambdallm_extension.providers.addresses import find_address
from lambdallm_extension.providers.anthropic.messages import Messages
from lambdallm_extension.providers.keyed_api import KeyedApi
from lambdallm_extension.providers.keys import ApiKey, original

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambda_runtime_api.http1 import Headers
    from lambdallm_extension.providers import Surroundings

BASE_URL = "https://api.anthropic.com"

_VERSION = ("anthropic-version", "2023-06-01")
"""The only one there is. Source: platform.claude.com/docs, "Versions", 2026-11."""


def open_anthropic(name: str, around: Surroundings) -> KeyedApi:
    """Open Anthropic under a provider's name.

    Raises:
        SettingError: Its address is no URL.
    """
    settings, configured = around.settings, around.configured
    environ = settings.environ
    url = find_address(settings, configured.base_url, "ANTHROPIC_BASE_URL", BASE_URL)
    reference = configured.api_key or original(environ, "ANTHROPIC_API_KEY")
    header = _as_key
    if not reference:
        reference, header = original(environ, "ANTHROPIC_AUTH_TOKEN"), _as_token
    missing = (
        "There is no key for Anthropic: set ANTHROPIC_API_KEY to it, or to the ARN of a secret, "
        "or set the provider's api_key in lambdallm.yaml."
    )
    return KeyedApi(
        name,
        url._replace(path=url.path.removesuffix("/v1")),  # which the paths have themselves
        ApiKey(reference, around.secrets, header, missing),
        Messages(name),
        environ,
        around.clock,
        headers=[(header_name.lower(), value) for header_name, value in configured.headers.items()],
        defaults=[_VERSION],
    )


def _as_key(key: str) -> Headers:
    return [("x-api-key", key)]


def _as_token(key: str) -> Headers:
    return [("authorization", f"Bearer {key}")]
