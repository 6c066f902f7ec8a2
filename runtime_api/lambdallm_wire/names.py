"""Names that both sides must spell alike: addresses, headers, files and versions."""

from __future__ import annotations

WIRE_VERSION = 4
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

CLIENTS_FILE = "clients"
"""Beside the token, in the same form and for the same eyes: port, a space, and the client key.

Left before anything is loaded, because clients are made while the function's modules load. Empty
from the launcher's start until the sidecar listens.
"""

NOBODY = "none"
"""Stands in that file when the sidecar is not going to listen, so that nobody waits for it."""

CLIENT_KEY_BEGINNING = "lambdallm-"
"""Of the client key, which stands where other APIs' keys stand."""

DIRECTED_FILE = "directed"
"""Beside the token: clients of this environment have been pointed at the drop-in endpoints."""

TOKEN_HEADER = "lambdallm-token"  # noqa: S105 - a header's name
WIRE_HEADER = "lambdallm-wire"

SDK_PREFIX = "/v1/"
"""Of every route of ours; other paths belong to drop-in clients."""

ENVIRONMENT_PORT = "LAMBDALLM_PORT"
ENVIRONMENT_DIRECTORY = "LAMBDALLM_DIRECTORY"
ENVIRONMENT_STORE = "LAMBDALLM_STORE"
ENVIRONMENT_COMPUTE = "LAMBDALLM_COMPUTE"
ENVIRONMENT_PAYLOADS = "LAMBDALLM_PAYLOADS"
ENVIRONMENT_MODEL = "LAMBDALLM_MODEL"
ENVIRONMENT_EMBEDDING_MODEL = "LAMBDALLM_EMBEDDING_MODEL"
ENVIRONMENT_SUMMARY_MODEL = "LAMBDALLM_SUMMARY_MODEL"
ENVIRONMENT_PRICES = "LAMBDALLM_PRICES"
"""`s3://BUCKET/KEY` of a newer price book than the one that was shipped."""

ENVIRONMENT_PRICES_KEY = "LAMBDALLM_PRICES_KEY"
"""What that book is signed with: a key, or the reference of one, as of a provider."""

ENVIRONMENT_CONNECTIONS = "LAMBDALLM_CONNECTIONS_ENDPOINT"
"""Where connections of WebSocket APIs are written to, `https://ID.execute-api.REGION…/STAGE`.

For events that came by no WebSocket; with it, no other address is used.
"""

ENVIRONMENT_IDENTIFIER = "LAMBDALLM_EXTENSION_IDENTIFIER"
"""Set by the launcher for the sidecar alone: it has registered, and this came of it."""

ENVIRONMENT_SIDECAR = "LAMBDALLM_SIDECAR"
"""`off` makes the SDK use the embedded engine without looking for a sidecar."""

ENVIRONMENT_DROP_IN = "LAMBDALLM_DROP_IN"
"""Which clients the exec wrapper points at the sidecar: `off`, or services with commas between."""

UPSTREAM_BEGINNING = "LAMBDALLM_UPSTREAM_"
"""With a variable's name behind it: what that held before it was pointed at the sidecar."""

PAYLOAD_CLASSES_DAYS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024)
"""Lifecycle classes of a bucket: what lies under `d64/` is deleted 64 days after it was written.

S3 counts from the next midnight (UTC) and may take a day or two to delete. The rules stand in
template.yaml. Source: S3 user guide, "Lifecycle configuration elements", 2026-11.
"""

DEFAULT_MODEL = "bedrock/global.anthropic.claude-haiku-5-5"
"""Asked when neither the handler, the call, nor LAMBDALLM_MODEL names one."""

DEFAULT_EMBEDDING_MODEL = "bedrock/amazon.titan-embed-text-v2:0"
"""Turns texts into vectors when neither the call nor LAMBDALLM_EMBEDDING_MODEL names one."""
