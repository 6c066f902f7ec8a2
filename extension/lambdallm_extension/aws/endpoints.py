"""Which address a service has: configured, or derived from its region's partition.

Source: the endpoint rules that botocore 1.43 carries; the tests compare the two.
"""

from __future__ import annotations

from lambdallm_extension.errors import SettingError
from lambdallm_extension.http_client.urls import Url, parse_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.settings import Settings

_PARTITIONS = (
    # A region's first letters, its partition in ARNs, the domain, and that of the dual stack.
    ("cn-", "aws-cn", "amazonaws.com.cn", "api.amazonwebservices.com.cn"),
    ("us-gov-", "aws-us-gov", "amazonaws.com", "api.aws"),
    ("us-iso-", "aws-iso", "c2s.ic.gov", "api.aws.ic.gov"),
    ("us-isob-", "aws-iso-b", "sc2s.sgov.gov", "api.aws.scloud"),
    ("eu-isoe-", "aws-iso-e", "cloud.adc-e.uk", "cloud.adc-e.uk"),
    ("us-isof-", "aws-iso-f", "csp.hci.ic.gov", "csp.hci.ic.gov"),
    ("eusc-", "aws-eusc", "amazonaws.eu", "api.amazonwebservices.eu"),
    ("", "aws", "amazonaws.com", "api.aws"),
)

_FIPS_ALREADY = (
    "dynamodb.us-gov-west-1",
    "dynamodb.us-gov-east-1",
    "runtime.sagemaker.us-gov-west-1",
    "runtime.sagemaker.us-gov-east-1",
    "sts.us-gov-west-1",
    "sts.us-gov-east-1",
)
"""Where the ordinary host is the FIPS host, unless it is asked for with a dual stack."""

_IN_VARIABLES = {"secretsmanager": "secrets-manager", "runtime.sagemaker": "sagemaker-runtime"}
"""Services whose variable spells them otherwise than their host does."""


def resolve(service: str, settings: Settings) -> Url:
    """Return where a service is asked.

    Args:
        service: The host's name of it, such as `dynamodb` or `bedrock-runtime`.
        settings: With the configured endpoints, the region, and the FIPS and dual-stack flags.

    Raises:
        SettingError: No region is set, or an endpoint is not a URL.
    """
    region = require_region(settings)
    own = _IN_VARIABLES.get(service, service)
    for key, setting in ((own, variable(service)), ("", "AWS_ENDPOINT_URL")):
        if settings.endpoints.get(key):
            return parse_url(settings.endpoints[key], setting)
    _, domain, dual_stack_domain = _partition(region)
    dual_stack = _flag(settings, "AWS_USE_DUALSTACK_ENDPOINT")
    host = f"{service}.{region}"
    if _flag(settings, "AWS_USE_FIPS_ENDPOINT") and (dual_stack or host not in _FIPS_ALREADY):
        host = f"{_fips_name(service, region, dual_stack)}.{region}"
    return Url("https", f"{host}.{dual_stack_domain if dual_stack else domain}", 443)


def arn_partition(region: str) -> str:
    """Return what ARNs of a region begin with after `arn:`, such as `aws-us-gov`."""
    return _partition(region)[0]


def variable(service: str) -> str:
    """Return which variable names another address of a service."""
    name = _IN_VARIABLES.get(service, service)
    return f"AWS_ENDPOINT_URL_{name.upper().replace('-', '_')}"


def require_region(settings: Settings) -> str:
    """Return the region.

    Raises:
        SettingError: There is none, or it cannot be part of a host's name.
    """
    if not settings.region:
        message = "No AWS region: set AWS_REGION, for example AWS_REGION=us-east-1."
        raise SettingError(message)
    if not (settings.region.isascii() and settings.region.replace("-", "").isalnum()):
        message = f"AWS_REGION={settings.region!r} is not a region such as us-east-1."
        raise SettingError(message)
    return settings.region


def _fips_name(service: str, region: str, dual_stack: bool) -> str:
    if service == "runtime.sagemaker" and not dual_stack and _partition(region)[0] == "aws":
        return "runtime-fips.sagemaker"
    return f"{service}-fips"


def _partition(region: str) -> tuple[str, str, str]:
    return next(
        (name, domain, dual_stack_domain)
        for beginning, name, domain, dual_stack_domain in _PARTITIONS
        if region.startswith(beginning)
    )


def _flag(settings: Settings, name: str) -> bool:
    return settings.environ.get(name, "").lower() == "true"
