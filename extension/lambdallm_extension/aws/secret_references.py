"""Where an API key is kept, and which part of what is kept there it is; no I/O."""

from __future__ import annotations

from lambdallm_extension.errors import SettingError
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ARN_PARTS = 6
"""`arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE`, whose last part may hold colons."""


class Place:
    """Where a secret is kept: which API returns it, and what that needs."""

    __slots__ = ("action", "arn", "region", "service")

    def __init__(self, arn: str) -> None:
        """Take an ARN apart.

        Raises:
            SettingError: It is that of something else.
        """
        parts = arn.split(":", _ARN_PARTS - 1)
        self.arn = arn
        self.service = parts[2] if len(parts) == _ARN_PARTS else ""
        self.region = parts[3] if len(parts) == _ARN_PARTS else ""
        resource = parts[5] if len(parts) == _ARN_PARTS else ""
        if self.service == "secretsmanager" and resource.startswith("secret:"):
            self.action = "secretsmanager:GetSecretValue"
        elif self.service == "ssm" and resource.startswith("parameter/"):
            self.action = "ssm:GetParameter"
        else:
            message = (
                f"{arn!r} is the ARN of no secret: write arn:aws:secretsmanager:REGION:ACCOUNT:"
                "secret:NAME or arn:aws:ssm:REGION:ACCOUNT:parameter/NAME."
            )
            raise SettingError(message)

    def request(self) -> tuple[str, dict[str, Any]]:
        """Return the API's target and its arguments."""
        if self.service == "ssm":
            return "AmazonSSM.GetParameter", {"Name": self.arn, "WithDecryption": True}
        return "secretsmanager.GetSecretValue", {"SecretId": self.arn}

    def read(self, answer: Any) -> str:
        """Return the text that an answer holds.

        Raises:
            KeyError, TypeError, ValueError: It holds none.
        """
        if self.service == "ssm":
            return str(answer["Parameter"]["Value"])
        if "SecretString" in answer:
            return str(answer["SecretString"])
        from binascii import a2b_base64

        return a2b_base64(answer["SecretBinary"]).decode()


def pick(text: str, arn: str, field: str) -> str:
    """Return the key in a secret: all of it, or a field where it is a JSON object.

    Raises:
        SettingError: It is not there; the error shows nothing of the secret.
    """
    fields: Any = None
    if text.lstrip().startswith("{"):
        try:
            fields = plain_json.loads(text)
        except ValueError:  # a key that begins with a brace
            fields = None
    if not isinstance(fields, dict):
        if field:
            message = f"{arn} holds no JSON object, so there is no {field!r} in it."
            raise SettingError(message)
        return text
    if not field and len(fields) != 1:
        message = f"{arn} holds {len(fields)} values; put # and the name of one behind the ARN."
        raise SettingError(message)
    value = fields.get(field) if field else next(iter(fields.values()))
    if not isinstance(value, str):
        message = f"{arn} holds no text under {field or 'its only name'!r}."
        raise SettingError(message)
    return value


def header_value(text: str, source: str) -> str:
    """Return a key without the line break that files end with.

    Raises:
        SettingError: A header could not carry it; the error names `source` alone.
    """
    value = text.strip()
    if not value or not (value.isascii() and value.isprintable()):
        what = "holds a line break, or another character that no key has" if value else "is empty"
        message = f"{source} {what}."
        raise SettingError(message)
    return value
