"""How the way to Bedrock is made from what was configured."""

from __future__ import annotations

from lambdallm_extension.aws.client import AwsClient
from lambdallm_extension.errors import SettingError
from lambdallm_extension.providers.bedrock.api import BedrockApi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.aws.client import KeySource
    from lambdallm_extension.configuration import ProviderSettings
    from lambdallm_extension.ports import Clock
    from lambdallm_extension.settings import Settings

BEARER_TOKEN = "AWS_BEARER_TOKEN_BEDROCK"  # noqa: S105 - a variable's name
"""Bedrock's API key; where it is set, boto3 sends it and signs nothing.

Source: Bedrock User Guide, "API keys"; botocore 1.43, `tokens.py`.
"""


def open_api(
    name: str,
    settings: Settings,
    credentials: KeySource,
    clock: Clock,
    configured: ProviderSettings,
) -> BedrockApi:
    """Make it; nothing is sent yet.

    Args:
        name: The provider's.
        settings: Region, endpoints, proxies, trust, and Bedrock's API key.
        credentials: Of the function's own role.
        clock: Deadlines.
        configured: Another region, address or role.

    Raises:
        SettingError: The API key cannot be sent.
    """
    if configured.region:
        settings = settings._replace(region=configured.region)
    if configured.base_url:
        endpoints = {**settings.endpoints, "bedrock-runtime": configured.base_url}
        settings = settings._replace(endpoints=endpoints)
    bearer = settings.environ.get(BEARER_TOKEN, "").strip()
    if not (bearer.isascii() and bearer.isprintable()):
        message = f"{BEARER_TOKEN} holds a line break, or another character that no key has."
        raise SettingError(message)
    source: KeySource = credentials
    if configured.role_arn:
        from lambdallm_extension.aws.roles import AssumedRole

        source = AssumedRole(configured.role_arn, settings, credentials, clock)
        bearer = ""

    def client_for(region: str) -> AwsClient:
        there = settings._replace(region=region) if region else settings
        return AwsClient(
            "bedrock-runtime",
            there,
            source,
            clock,
            signing_name="bedrock",
            bearer_token=bearer,
        )

    return BedrockApi(name, client_for)
