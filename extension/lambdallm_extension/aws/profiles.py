"""Keys in `~/.aws/credentials` and `~/.aws/config`, for a developer's machine.

Static keys only. A profile that signs in or assumes a role needs AWS's own tools, and the error
says how to take their result.
"""

from __future__ import annotations

import configparser
from pathlib import Path

from lambdallm_extension.aws.signing import Credentials
from lambdallm_extension.errors import SettingError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_INDIRECT = ("role_arn", "sso_session", "sso_start_url", "credential_process", "login_session")


def load(environ: Mapping[str, str]) -> Credentials | None:
    """Return the keys of the profile that AWS_PROFILE names (`default` if none).

    Returns:
        None when nobody named a profile and the default one has no keys.

    Raises:
        SettingError: The named profile is missing, or its keys must be fetched by other means.
    """
    name = environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE") or ""
    profile = _read_profile(environ, name or "default")
    key_id, secret = profile.get("aws_access_key_id"), profile.get("aws_secret_access_key")
    if key_id and secret:
        return Credentials(key_id, secret, profile.get("aws_session_token", ""))
    if not name and not profile.keys() & set(_INDIRECT):
        return None
    name = name or "default"
    if not profile:
        message = f"AWS_PROFILE={name!r}: there is no such profile in ~/.aws."
    else:
        message = (
            f"The AWS profile {name!r} has no static keys. Run: "
            f'eval "$(aws configure export-credentials --profile {name} --format env)"'
        )
    raise SettingError(message)


def _read_profile(environ: Mapping[str, str], name: str) -> dict[str, str]:
    """Return the profile's settings; those in the credentials file win."""
    section = name if name == "default" else f"profile {name}"
    profile = _read(environ, "AWS_CONFIG_FILE", "config").get(section, {})
    keys = _read(environ, "AWS_SHARED_CREDENTIALS_FILE", "credentials").get(name, {})
    return profile | keys


def _read(environ: Mapping[str, str], variable: str, file: str) -> dict[str, dict[str, str]]:
    home = environ.get("HOME") or environ.get("USERPROFILE") or "~"
    path = environ.get(variable) or f"{home}/.aws/{file}"
    parser = configparser.RawConfigParser(default_section="", strict=False)
    try:
        parser.read(Path(path).expanduser(), encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        message = f"{path} cannot be read: {error} (see AWS_CONFIG_FILE)."
        raise SettingError(message) from error
    return {section: dict(parser.items(section)) for section in parser.sections()}
