"""An environment's secrets, what admits with them, and requests to be admitted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from lambda_runtime_api.http1 import Request
from lambdallm_extension.aws.credentials import CredentialSource
from lambdallm_extension.server.dropin.authentication import Authenticator
from lambdallm_extension.settings import Settings, SystemClock

if TYPE_CHECKING:
    from collections.abc import Mapping

CLIENT_KEY = "lambdallm-0123456789abcdef"
TOKEN = "the-token"
KEYS = {
    "AWS_ACCESS_KEY_ID": "ASIAOURS",
    "AWS_SECRET_ACCESS_KEY": "secret/+",
    "AWS_SESSION_TOKEN": "session==",
}
ENVIRON = {
    **KEYS,
    "AWS_REGION": "eu-central-1",
    "AWS_LAMBDA_FUNCTION_NAME": "f",
    "OPENAI_API_KEY": "sk-of-the-environment",
    "ANTHROPIC_API_KEY": "sk-ant-of-the-environment",
    "ANTHROPIC_AUTH_TOKEN": "oauth-of-the-environment",
    "AWS_BEARER_TOKEN_BEDROCK": "bedrock-key-of-the-environment",
}


def authenticator(
    environ: Mapping[str, str] = ENVIRON, clock: Any = None, source: CredentialSource | None = None
) -> Authenticator:
    clock = clock or SystemClock()
    source = source or CredentialSource(Settings.from_environ(environ), clock)
    return Authenticator(CLIENT_KEY, lambda: [TOKEN.encode()], environ, lambda: source, clock)


def request(*headers: tuple[str, str], target: str = "/x", method: str = "POST") -> Request:
    given = [("host", "127.0.0.1:2772"), *headers]
    return Request(method, target, given, keep_alive=True)


def signed_by_botocore(
    key_id: str, epoch_ms: int, secret: str = "secret/+"
) -> tuple[Request, bytes]:
    """Sign a request as of another time than now."""
    url, body = "http://127.0.0.1:2772/bedrock/model/a%3A0/converse", b"{}"
    prepared = AWSRequest("POST", url, data=body)
    timestamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(epoch_ms // 1_000))
    prepared.context["timestamp"] = timestamp
    prepared.headers["X-Amz-Date"] = timestamp
    prepared.headers["Host"] = "127.0.0.1:2772"
    signer = SigV4Auth(Credentials(key_id, secret), "bedrock", "eu-central-1")
    canonical = signer.canonical_request(prepared)
    signature = signer.signature(signer.string_to_sign(prepared, canonical), prepared)
    names = signer.signed_headers(signer.headers_to_sign(prepared))
    scope = signer.scope(prepared)
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature={signature}"
    )
    headers = [(name.lower(), value) for name, value in prepared.headers.items()]
    headers.append(("authorization", authorization))
    target = "/bedrock/model/a%3A0/converse"
    return Request("POST", target, headers, keep_alive=True), body
