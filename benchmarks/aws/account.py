"""The AWS account that everything is deployed to, and who asks."""

from __future__ import annotations

from typing import Any, NamedTuple

import boto3
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError


class AccountError(Exception):
    """The account cannot be used; the message says what to do."""


class Account(NamedTuple):
    """Credentials that work."""

    session: Any
    region: str
    account_id: str
    arn: str

    def client(self, service: str) -> Any:
        """Make a client of a service."""
        return self.session.client(service)


def find_account(region: str | None) -> Account | None:
    """Return the account that boto3's own rules find; None where there are no credentials.

    Raises:
        AccountError: There are some, and they are refused; or no region is set.
    """
    session = boto3.Session(region_name=region)
    if session.get_credentials() is None:
        return None
    if session.region_name is None:
        raise AccountError("No region: set AWS_REGION, or give --region.")
    try:
        caller = session.client("sts").get_caller_identity()
    except NoCredentialsError:
        return None
    except (BotoCoreError, ClientError) as error:
        message = f"The credentials do not work ({error}). Sign in again, or set AWS_PROFILE."
        raise AccountError(message) from error
    return Account(session, session.region_name, caller["Account"], caller["Arn"])
