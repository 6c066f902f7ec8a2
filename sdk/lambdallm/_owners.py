"""Whose an event is: the principal that an authorizer in front of the function has named.

    jwt:ISSUER|SUB        REST API with Cognito, HTTP API with JWT, AppSync with Cognito or OIDC
    cognito:IDENTITY      IAM with an identity pool's credentials, whose users share one role
    iam:ARN               any other signed request: API Gateway, function URL, AppSync, Lattice
    lambda:PRINCIPAL      what a Lambda authorizer has answered
    tenant:TENANT         a function with tenant isolation; before any of the above with `|`

Only what AWS's services put there themselves is looked at: no header, body, path or query. Each
part is escaped, so that nobody's name reads like another's.

Source: Lambda, API Gateway and AppSync developer guides, the events' and contexts' reference pages,
2026-11.
"""

from __future__ import annotations

from lambdallm import _errors, _handled, _settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

OWNER_MAX_BYTES = 512
"""Percent-quoted it is three times as long at most, and a partition key holds 2,048 bytes."""

_NAMES = ("principalId", "sub")
"""Where a Lambda authorizer says whom it let in: the field of its policy, or one of its context."""

_OIDC_HEADER = "x-amzn-oidc-identity"


AUTHORIZER, REQUIRED = "authorizer", "required"


class NobodyNamedError(_errors.ConfigurationError):
    """An authorizer has let the event in and does not say whom."""


def of_what_is_handled(rule: Any, before: str = "") -> str:
    """Return whose a session is that a handler, or a script, has made itself.

    Args:
        rule: `Session(owner=rule)`.
        before: Whose its object was before; in a script it stays so.

    Raises:
        ConfigurationError: As `of_event`; or several are being handled, or none in a function, or
            the thread may be another event's, so that nobody knows.
        UnauthorizedError: It has to be somebody's, and nothing says whose.
    """
    handled = _handled.here()
    owners = {owner_of(rule, each.event, each.context) for each in handled}
    if owners == {""} or (len(owners) == 1 and not _handled.may_be_of_another(handled)):
        return owners.pop()
    if rule is not None and (
        _handled.is_any_going_on() or _settings.Settings.from_environ().in_lambda
    ):
        raise _errors.ConfigurationError(_NOBODY_SAYS)
    if before or rule in (None, AUTHORIZER):
        return before
    raise nobody()


_NOBODY_SAYS = (
    "Nothing says whose session this is: it is not loaded in a function of @handler, or not in the "
    "thread of one of several, or in a thread that was there before the event. Load it in the "
    "handler, say it with load(id, owner=…), or keep one session for all who know its id with "
    "Session(owner=None)."
)

_NOT_TO_DROP = ("after", "principal", "store")
"""Parts of a session's rule."""


def dropped_of(rule: Mapping[str, Any] | None, reply: Mapping[str, Any]) -> str:
    """Return which part of a session's rule an engine has dropped: it is another one, or older."""
    understood = reply.get("understood", ())
    return next(
        (each for each in _NOT_TO_DROP if each in (rule or ()) and each not in understood), ""
    )


def check_rule(owner: object) -> None:
    """Refuse what `Session(owner=…)` cannot be.

    Raises:
        ConfigurationError: It is none of the two words, no function, and not None.
    """
    if not (owner is None or callable(owner) or owner in (AUTHORIZER, REQUIRED)):
        message = f"owner={owner!r}: use {AUTHORIZER!r}, {REQUIRED!r}, a function, or None."
        raise _errors.ConfigurationError(message)


def owner_of(rule: Any, event: Any, context: Any) -> str:
    """Return whose an event is by `Session(owner=rule)`, "" for nobody's.

    Raises:
        ConfigurationError: As `of_event`.
        UnauthorizedError: It has to be somebody's, and nothing says whose.
    """
    if rule is None:
        return ""
    owner = rule(event, context) if callable(rule) else of_event(event, context)
    if owner:
        return checked(owner)
    if rule == AUTHORIZER:
        return ""
    raise nobody()


def nobody() -> _errors.UnauthorizedError:
    """Make the error of an event that has to be somebody's."""
    return _errors.UnauthorizedError("Nothing in this event says whose session it is about.")


def of_event(event: Any, lambda_context: Any = None) -> str:
    """Return whose an event is, "" where nothing in front of the function says it.

    Args:
        event: As Lambda hands it over.
        lambda_context: Lambda's own, for its tenant and its Cognito identity.

    Raises:
        ConfigurationError: Somebody was let in, and it cannot be told who: sessions of all of them
            would be one.
    """
    principal = _of_event(event) if isinstance(event, dict) else ""
    principal = principal or _of_caller(lambda_context)
    tenant = getattr(lambda_context, "tenant_id", None)
    if isinstance(tenant, str) and tenant:
        of_tenant = _joined("tenant", tenant)
        principal = f"{of_tenant}|{principal}" if principal else of_tenant
    return principal


def checked(owner: Any) -> str:
    """Return an owner that can be part of a key.

    Raises:
        InvalidRequestError: It is no text, empty, or too long.
    """
    if isinstance(owner, str) and owner:
        if len(owner.encode("utf-8", "surrogatepass")) <= OWNER_MAX_BYTES:
            return owner
        message = f"The owner of a session has at most {OWNER_MAX_BYTES} bytes."
        raise _errors.InvalidRequestError(message)
    message = f"The owner of a session is a text that is not empty, not {owner!r:.80}."
    raise _errors.InvalidRequestError(message)


def _of_event(event: Mapping[str, Any]) -> str:
    request = event.get("requestContext")
    if isinstance(request, dict):
        if "elb" in request:
            return _of_load_balancer(event)
        return _of_authorizer(request.get("authorizer")) or _of_identity(request.get("identity"))
    if isinstance(event.get("info"), dict) and "arguments" in event:
        return _of_app_sync(event.get("identity"))
    return ""


def _of_authorizer(authorizer: Any) -> str:
    """Read what API Gateway and function URLs hand on.

    Shape: {"jwt": {"claims": {…}}} | {"iam": {…}} | {"lambda": {…} | null} of HTTP APIs and URLs,
           {"claims": {…}} of Cognito, {"principalId": "…", …} of Lambda authorizers of REST APIs
    """
    if not isinstance(authorizer, dict) or not authorizer:
        return ""
    token = authorizer.get("jwt")
    if isinstance(token, dict):
        return _of_claims(token.get("claims"))
    if isinstance(authorizer.get("iam"), dict):
        return _of_iam(authorizer["iam"])
    if isinstance(authorizer.get("claims"), dict):  # a Lambda authorizer's context holds no objects
        return _of_claims(authorizer["claims"])
    return _of_lambda(authorizer.get("lambda", authorizer))


def _of_claims(claims: Any) -> str:
    subject = _text(claims, "sub")
    if not subject:
        raise _nobody_named("a JWT without the claim sub")
    return _joined("jwt", _text(claims, "iss"), subject)


def _of_iam(iam: Mapping[str, Any]) -> str:
    identity = iam.get("cognitoIdentity")
    pooled = _text(identity, "identityId")
    if pooled:
        return _joined("cognito", pooled)
    arn = _text(iam, "userArn")
    if not arn:
        raise _nobody_named("a signed request without userArn")
    return _joined("iam", arn)


def _of_lambda(answered: Any) -> str:
    """Read a Lambda authorizer's answer; one that says nothing at all names nobody on purpose."""
    if not isinstance(answered, dict) or not answered.keys() - {"integrationLatency"}:
        return ""
    principal = next((found for name in _NAMES if (found := _text(answered, name))), "")
    if not principal:
        raise _nobody_named("a Lambda authorizer without principalId or sub")
    return _joined("lambda", principal)


def _of_identity(identity: Any) -> str:
    """Read who has signed a request: REST and WebSocket APIs, and VPC Lattice."""
    pooled = _text(identity, "cognitoIdentityId")
    if pooled:
        return _joined("cognito", pooled)
    arn = _text(identity, "userArn")
    if not arn and _text(identity, "type") == "AWS_IAM":
        arn = _text(identity, "principal")
    return _joined("iam", arn) if arn else ""


def _of_app_sync(identity: Any) -> str:
    """Read AppSync's `identity`: null with an API key."""
    if not isinstance(identity, dict) or not identity:
        return ""
    if "resolverContext" in identity:
        return _of_lambda(identity["resolverContext"])
    if _text(identity, "sub"):
        return _joined("jwt", _text(identity, "issuer"), identity["sub"])
    found = _of_identity(identity)
    if not found:
        raise _nobody_named("an AppSync identity without sub and userArn")
    return found


def _of_load_balancer(event: Mapping[str, Any]) -> str:
    """Trust no header: a rule without authentication lets a client's own one pass.

    Who it is stands signed in `x-amzn-oidc-data`, which the handler's `owner` has to check.
    """
    for headers in (event.get("headers"), event.get("multiValueHeaders")):
        if isinstance(headers, dict) and any(str(n).lower() == _OIDC_HEADER for n in headers):
            what = f"a load balancer's header {_OIDC_HEADER}, which anybody can send"
            raise _nobody_named(what)
    return ""


def _of_caller(lambda_context: Any) -> str:
    """Read who has invoked the function itself with an identity pool's credentials."""
    identity = getattr(lambda_context, "identity", None)
    pooled = getattr(identity, "cognito_identity_id", None)
    return _joined("cognito", pooled) if isinstance(pooled, str) and pooled else ""


def _text(fields: Any, name: str) -> str:
    """Return a field as text: a number is one too, everything else is none."""
    value = fields.get(name) if isinstance(fields, dict) else None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else ""


def _joined(kind: str, *parts: str) -> str:
    return f"{kind}:" + "|".join([p.replace("%", "%25").replace("|", "%7C") for p in parts])


def _nobody_named(what: str) -> NobodyNamedError:
    return NobodyNamedError(
        f"The event carries {what}, so that nobody knows whose session this is. Say it with "
        "Session(owner=function of the event and the context), or keep one session for all who "
        "know its id with Session(owner=None)."
    )
