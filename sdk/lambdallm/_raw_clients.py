"""boto3 clients for those who want them, made once per process, service and region."""

from __future__ import annotations

import os

from lambdallm import _errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_clients: dict[tuple[int, str, str, str | None], Any] = {}


def client(service: str, region: str, endpoint: str | None = None) -> Any:
    """Return a client. boto3 is imported here and nowhere else.

    Args:
        service: As boto3 names it.
        region: Where.
        endpoint: Asked in AWS's place, and never through a proxy; None for boto3's own choice.

    Raises:
        ConfigurationError: boto3 is not installed, or no region is set.
    """
    key = (os.getpid(), service, region, endpoint)
    if key not in _clients:
        _clients[key] = _make(service, region, endpoint)
    return _clients[key]


def failures() -> tuple[Any, Any]:
    """Return the types of what clients raise: that AWS has refused, and that it was not asked."""
    from botocore.exceptions import BotoCoreError, ClientError

    return ClientError, BotoCoreError


def _make(service: str, region: str, endpoint: str | None) -> Any:
    try:
        import boto3  # type: ignore[import-untyped,unused-ignore]
        from botocore.config import Config
    except ModuleNotFoundError as error:
        message = "get_raw_client() needs boto3, which is not installed with this function."
        raise _errors.ConfigurationError(message) from error
    if not region:
        message = f"get_raw_client({service!r}) needs a region: set AWS_REGION."
        raise _errors.ConfigurationError(message)
    if endpoint is None:
        return boto3.client(service, region_name=region)
    config = Config(proxies={})  # those of the environment would be asked for 127.0.0.1
    return boto3.client(service, region_name=region, endpoint_url=endpoint, config=config)
