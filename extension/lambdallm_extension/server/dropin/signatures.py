"""Signatures of version 4 on requests of others: taken apart, and made again to compare."""

from __future__ import annotations

from hashlib import sha256
from hmac import compare_digest

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension.aws.signing import ALGORITHM, TERMINATOR, signature_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambda_runtime_api.http1 import Headers
    from lambdallm_extension.aws.signing import Credentials

_HASH = "x-amz-content-sha256"


class Signed(NamedTuple):
    """A signature of version 4, taken apart.

    Shape: AWS4-HMAC-SHA256 Credential=KEYID/20261121/eu-central-1/bedrock/aws4_request,
           SignedHeaders=content-type;host;x-amz-date, Signature=64 hexadecimal digits

    Attributes:
        scope: What follows the key id.
        names: Of the signed headers, in lower case.
    """

    access_key_id: str
    scope: str
    names: tuple[str, ...]
    signature: str

    @classmethod
    def parse(cls, authorization: str) -> Signed | None:
        """Take the header's value apart; None when it is something else."""
        algorithm, _, rest = authorization.partition(" ")
        fields = {}
        for field in rest.split(","):
            name, _, value = field.strip().partition("=")
            fields[name] = value
        access_key_id, _, scope = fields.get("Credential", "").partition("/")
        parts = scope.split("/")
        names_signed = fields.get("SignedHeaders", "")
        whole = (
            algorithm == ALGORITHM
            and access_key_id
            and all(parts)
            and len(parts) == len(["day", "region", "service", "terminator"])
            and parts[-1] == TERMINATOR
        )
        if not whole:
            return None
        signed = tuple(names_signed.lower().split(";"))
        return cls(access_key_id, scope, signed, fields.get("Signature", ""))

    def is_by(
        self, credentials: Credentials, method: str, target: str, headers: Headers, body: bytes
    ) -> bool:
        """Say whether these credentials have signed this request, its body included.

        Args:
            credentials: Those of the key id.
            method: Of the request.
            target: As it came, percent-encoded.
            headers: As they came, with names in lower case.
            body: All of it.
        """
        path, _, query = target.partition("?")
        timestamps = [value for name, value in headers if name == "x-amz-date"]
        headers = [header for header in headers if header[0] in self.names]
        hashes = [value for name, value in headers if name == _HASH]
        if hashes and hashes != [sha256(body).hexdigest()]:
            return False
        signed_names, signature = signature_of(
            method,
            path,
            query,
            headers,
            body,
            secret_access_key=credentials.secret_access_key,
            scope=self.scope,
            timestamp=timestamps[0] if timestamps else "",
        )
        return signed_names == ";".join(self.names) and compare_digest(
            signature.encode("ascii"), self.signature.encode("utf-8")
        )
