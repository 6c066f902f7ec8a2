"""`lambdallm doctor`: what is wrong, and what to do about it.

A check is a function of the target that yields findings.

    target        what is examined: a deployed function, or this machine
    account       region, credentials, clock         functions    runtime, layer, memory, timeout
    stores        the table, the file, the Redis     permissions  simulated, or tried
    buckets       the bucket for large texts                 prices    the price book's place
    models        id, profile, access, one token     report       for people, programs, shells
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError, ConfigParseError

from lambdallm_cli.doctor import settings
from lambdallm_cli.doctor.account import check_credentials, check_region
from lambdallm_cli.doctor.buckets import check_bucket
from lambdallm_cli.doctor.functions import check_function
from lambdallm_cli.doctor.models import check_model
from lambdallm_cli.doctor.permissions import check_permissions
from lambdallm_cli.doctor.prices import check_prices
from lambdallm_cli.doctor.report import Finding
from lambdallm_cli.doctor.stores import check_store, table_of
from lambdallm_cli.doctor.target import (
    MissingFunctionError,
    OutsideError,
    Target,
    WrongSettingError,
    code_of,
    load_function,
    words_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["examine"]


def examine(
    function: str | None,
    region: str | None,
    *,
    call: bool,
    epoch_seconds: Callable[[], float] = settings.epoch_seconds,
) -> tuple[Target, list[Finding]]:
    """Make every check that makes sense after those before it.

    Args:
        function: Name or ARN of a deployed function, None for this machine.
        region: Where; None takes the ARN's, or what this machine is set to.
        call: Whether to ask the model for one token.
        epoch_seconds: This machine's clock.

    Returns:
        What was examined, and what was found.
    """
    if function is not None and function.startswith("arn:"):
        region = function.split(":")[3]
    environ = settings.environ()
    region = region or environ.get("AWS_REGION")  # which boto3 does not read
    findings: list[Finding] = []
    session: Any = None
    try:
        session = boto3.Session(region_name=region)
        region = session.region_name or ""
    except BotoCoreError as error:  # AWS_PROFILE names a profile that is not there
        broken = isinstance(error, ConfigParseError)
        advice = "Mend that file." if broken else "Set AWS_PROFILE right."
        findings.append(Finding("credentials", "fail", str(error), advice))
    target = Target(session, region or "", environ, None, call, epoch_seconds)
    if session is None:
        return target, findings
    if function is not None and not function.strip():
        findings.append(
            Finding("function", "fail", "--function is empty.", "Give a name or an ARN.")
        )
        return target, findings
    if not target.region or function is None:
        findings += check_region(target)
    if target.region:
        target = _examine_beyond(target, function, findings)
    return target, findings


def _examine_beyond(target: Target, function: str | None, findings: list[Finding]) -> Target:
    """Make the checks that ask AWS; return what was examined, a function with its settings."""
    _collect("credentials", lambda: check_credentials(target), findings)
    known = _is_known(findings)
    if function is not None:
        found = _find_function(target, function, findings) if known else None
        if found is None:
            return target
        target = found
        findings += check_region(target)
        _collect("function", lambda: check_function(target), findings)
    if known or table_of(target) is None:
        _collect("store", lambda: check_store(target), findings)
    if known:
        _collect("bucket", lambda: check_bucket(target), findings)
        _collect("price book", lambda: check_prices(target), findings)
        if function is not None or not _table_is_wrong(findings):
            _collect("permissions", lambda: check_permissions(target), findings)
        _collect("model", lambda: check_model(target), findings)
    return target


def _is_known(findings: list[Finding]) -> bool:
    """Whether AWS knows who we are; nothing else can be asked otherwise."""
    return not any(
        finding.check == "credentials" and finding.state in ("fail", "outside")
        for finding in findings
    )


def _table_is_wrong(findings: list[Finding]) -> bool:
    return any(each.check in ("table", "store") and each.state != "ok" for each in findings)


def _find_function(target: Target, name: str, findings: list[Finding]) -> Target | None:
    try:
        return load_function(target, name)
    except MissingFunctionError as error:
        advice = "Check the name, and --region."
        findings.append(Finding("function", "fail", str(error), advice))
    except ClientError as error:
        said = f"It cannot be read: {code_of(error)}: {words_of(error)}"
        advice = "Allow yourself lambda:GetFunctionConfiguration."
        findings.append(Finding("function", "fail", said, advice))
    except WrongSettingError as error:
        findings.append(Finding("function", "fail", str(error), _SETTING))
    except OutsideError as error:
        findings.append(Finding("function", "outside", str(error), _NETWORK))
    return None


_SETTING = "Set right AWS_REGION (--region), or the AWS_ENDPOINT_URL… that it names."


_NETWORK = "Check the network, a proxy, and in a VPC the endpoints; then ask again."


def _collect(name: str, check: Callable[[], Iterable[Finding]], findings: list[Finding]) -> None:
    """Add what a check finds; who does not answer ends that check, not the others."""
    try:
        findings.extend(check())
    except WrongSettingError as error:
        findings.append(Finding(name, "fail", str(error), _SETTING))
    except OutsideError as error:
        findings.append(Finding(name, "outside", str(error), _NETWORK))
