"""Names that both sides must spell alike: addresses, headers, files and versions."""

from __future__ import annotations

WIRE_VERSION = 2
"""Version of the localhost API, exchanged in `begin`; neighbours understand each other.

Raised when a message gets a field that its receiver acts upon. Such a field is optional: without
it, or without its receiver knowing it, everything means what it meant one version before.
"""

ITEM_SCHEMA_VERSION = 1
"""Version written into every stored item. A reader refuses items that are newer than itself."""

HOST = "127.0.0.1"
"""The only address the sidecar listens on."""

DEFAULT_PORT = 2772
"""Port of the localhost API; 2773 is taken by AWS's parameters-and-secrets extension."""

DEFAULT_DIRECTORY = "/tmp/lambdallm"  # noqa: S108 - shared by two processes of one user, opened with 0700
"""Where the sidecar leaves its token and its marker of a running process."""

RUNNING_FILE = "running"
"""Beside the token: the sidecar's process id. Left until the environment itself ends."""

STARTING_FILE = "starting"
"""Beside the token of a sidecar that loads only when somebody connects, as after a reset."""

TOKEN_FILE = "token"  # noqa: S105 - a file's name
"""Inside the directory, readable by its user alone: port, a space, and the token in hex."""

TOKEN_HEADER = "lambdallm-token"  # noqa: S105 - a header's name
WIRE_HEADER = "lambdallm-wire"

ENVIRONMENT_PORT = "LAMBDALLM_PORT"
ENVIRONMENT_DIRECTORY = "LAMBDALLM_DIRECTORY"
ENVIRONMENT_STORE = "LAMBDALLM_STORE"
ENVIRONMENT_MODEL = "LAMBDALLM_MODEL"
ENVIRONMENT_IDENTIFIER = "LAMBDALLM_EXTENSION_IDENTIFIER"
"""Set by the launcher for the sidecar alone: it has registered, and this came of it."""

ENVIRONMENT_SIDECAR = "LAMBDALLM_SIDECAR"
"""`off` makes the SDK use the embedded engine without looking for a sidecar."""

DEFAULT_MODEL = "bedrock/global.anthropic.claude-haiku-5-5"
"""Asked when neither the handler, the call, nor LAMBDALLM_MODEL names one."""
