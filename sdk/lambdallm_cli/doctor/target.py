"""What is examined: a deployed function, or this machine's own settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError as UnreachableError,
    HTTPClientError,
    NoCredentialsError,
)

from lambdallm_wire import names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CONNECT_SECONDS, READ_SECONDS = 4, 20

_NOT_OURS = frozenset(
    ("ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded")
)
_SERVER_ERROR = 500

EXPIRED = frozenset(("ExpiredToken", "ExpiredTokenException", "RequestExpired"))
DENIED = frozenset(("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403"))
"""The last: a page in place of AWS's words, as endpoints' policies and firewalls send it."""
SKEWED = frozenset(("RequestTimeTooSkewed", "SignatureDoesNotMatch", "InvalidSignatureException"))


class OutsideError(Exception):
    """Somebody outside did not answer, or had no time for us: nothing is known."""


class WrongSettingError(Exception):
    """A region or an endpoint that AWS's client cannot even begin with; it says which."""


class MissingFunctionError(Exception):
    """There is no function of that name; the message says where."""


class Target(NamedTuple):
    """What the checks look at.

    Attributes:
        session: A `boto3.Session`: whose eyes we see with.
        environ: The function's variables, or this machine's.
        configuration: What `GetFunctionConfiguration` says, None for this machine.
        call: Whether the model may be asked, which costs a token.
        epoch_seconds: This machine's clock.
    """

    session: Any
    region: str
    environ: Mapping[str, str]
    configuration: Mapping[str, Any] | None
    call: bool
    epoch_seconds: Callable[[], float]

    @property
    def subject(self) -> str:
        """What is examined, in words."""
        if self.configuration is None:
            return "this machine"
        return f"function {self.configuration['FunctionName']}"

    @property
    def store_url(self) -> str:
        """`LAMBDALLM_STORE`."""
        return self.environ.get(names.ENVIRONMENT_STORE, "").strip()

    @property
    def model(self) -> str:
        """`LAMBDALLM_MODEL`, else the default."""
        return self.environ.get(names.ENVIRONMENT_MODEL) or names.DEFAULT_MODEL

    @property
    def partition(self) -> str:
        """What the region's ARNs begin with: `aws`, `aws-cn`, `aws-us-gov`.

        Raises:
            WrongSettingError: There is no such region.
        """
        try:
            return str(self.session.get_partition_for_region(self.region))
        except BotoCoreError as error:
            raise WrongSettingError(str(error)) from error

    def client(self, service: str, *, region: str = "") -> Any:
        """Open a client that gives up soon.

        Raises:
            WrongSettingError: A region or an endpoint that cannot be.
        """
        config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"total_max_attempts": 2, "mode": "standard"},
        )
        try:
            return self.session.client(service, region_name=region or self.region, config=config)
        except (BotoCoreError, ValueError) as error:
            raise WrongSettingError(str(error)) from error


def ask(call: Callable[..., Any], **parameters: Any) -> Any:
    """Ask AWS.

    Raises:
        ClientError: It said no, or botocore did before it; `code_of` tells why.
        NoCredentialsError: Nothing was sent, for want of credentials.
        OutsideError: It did not answer, or is throttling.
    """
    try:
        return call(**parameters)
    except ClientError as error:
        if code_of(error) in _NOT_OURS or status_of(error) >= _SERVER_ERROR:
            raise OutsideError(str(error)) from error
        raise
    except NoCredentialsError:
        raise
    except (HTTPClientError, UnreachableError) as error:
        raise OutsideError(str(error)) from error
    except BotoCoreError as error:  # a sign-in that ended, a name that cannot be
        refusal: Any = {"Error": {"Code": type(error).__name__, "Message": str(error)}}
        raise ClientError(refusal, getattr(call, "__name__", "")) from error


def code_of(error: ClientError) -> str:
    """Return AWS's own name of an error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: ClientError) -> int:
    """Return the HTTP status, 0 when there is none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def words_of(error: ClientError) -> str:
    """Return AWS's own sentence."""
    return str(error.response.get("Error", {}).get("Message", "")) or str(error)


def load_function(target: Target, name: str) -> Target:
    """Read a deployed function's configuration.

    Raises:
        MissingFunctionError: There is none, here.
        ClientError, NoCredentialsError, OutsideError: See `ask`.
    """
    client = target.client("lambda")
    try:
        configuration = ask(client.get_function_configuration, FunctionName=name)
    except ClientError as error:
        if code_of(error) == "ResourceNotFoundException":
            message = f"There is no function {name!r} in {target.region}."
            raise MissingFunctionError(message) from error
        raise
    variables = (configuration.get("Environment") or {}).get("Variables") or {}
    return target._replace(configuration=configuration, environ=variables)
