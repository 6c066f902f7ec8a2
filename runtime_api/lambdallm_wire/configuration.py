"""What may stand in `lambdallm.yaml`: every key, its kind and bounds, and what it means, as data.

    validation       lambdallm_wire.configuration_faults    at run time, and `lambdallm check`
    documentation    docs/configuration.md                  generated, a test compares
    for editors      docs/lambdallm.schema.json             generated, a test compares

A path is written with dots; `*` stands for a name that the user chooses.
"""

from __future__ import annotations

from lambdallm_wire import names
from lambdallm_wire.configuration_costs import COST_SETTINGS
from lambdallm_wire.configuration_kinds import (
    DECIMAL,
    DEPLOYING,
    HEADERS,
    INTEGER,
    LATER,
    NUMBER,
    SCALAR,
    TEXT,
    TEXTS,
    USD,
    USD_PER_MILLION,
    USED,
    Setting,
)

__all__ = [
    "BUILT_IN", "COMPILED_FILE", "COMPILED_FORMAT", "DECIMAL", "DEPLOYING", "ENVIRONMENTS", "FILE",
    "HEADERS", "INTEGER", "KINDS", "LATER", "NUMBER", "SCALAR", "SETTINGS", "SHORTHAND", "TEXT",
    "TEXTS", "USD", "USD_PER_MILLION", "USED", "Setting",
]  # fmt: skip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

FILE = "lambdallm.yaml"
COMPILED_FILE = "lambdallm.json"
"""Beside it, made by `lambdallm check --compile`: what the sidecar reads in a tenth of the time.

Shape: {"lambdallm": 1, "source": SHA-256 of the YAML's bytes, "digest": SHA-256 of the JSON of
        "environments", "environments": {"": {"defaults": {…}, …}, "dev": {"defaults": {…}, …}}}
What holds in each environment, checked and merged; "" where there is none of that name.
"""

COMPILED_FORMAT = 1

KINDS: Final = (
    "anthropic",
    "bedrock",
    "openai",
    "openai-compatible",
    "own",
    "sagemaker",
    "scripted",
)
"""Of providers. All but `openai-compatible` and `own` are there without being configured."""

BUILT_IN: Final = tuple(kind for kind in KINDS if kind not in ("openai-compatible", "own"))

_SECONDS_MAX = 900
"""The longest a Lambda invocation can last. Source: Lambda quotas, 2026-11."""

SETTINGS: Final = (
    Setting("project.name", TEXT, "The project's name.", example="my-chat", effect=DEPLOYING),
    Setting("project.version", SCALAR, "Its version.", example="0.1.0", effect=DEPLOYING),
    Setting(
        "project.runtime", TEXT, "The function's runtime.", example="python3.13", effect=DEPLOYING
    ),
    Setting(
        "defaults.model",
        TEXT,
        "Asked when neither the handler nor the call names a model: `provider/model`, an alias, "
        "or a model's short name.",
        default=names.DEFAULT_MODEL,
        example="fast",
    ),
    Setting(
        "defaults.region",
        TEXT,
        "AWS region, where no variable names one: in Lambda one always does.",
        example="eu-central-1",
    ),
    Setting(
        "defaults.timeout",
        INTEGER,
        "The function's timeout in seconds.",
        least=1,
        most=_SECONDS_MAX,
        example="30",
        effect=DEPLOYING,
    ),
    Setting(
        "defaults.memory",
        INTEGER,
        "The function's memory in MB.",
        least=128,
        most=32_768,
        example="256",
        effect=DEPLOYING,
    ),
    Setting(
        "defaults.state.provider",
        SCALAR,
        "Where sessions are kept; today `LAMBDALLM_STORE` says it.",
        example="dynamodb",
        effect=LATER,
    ),
    Setting(
        "defaults.state.table_prefix",
        TEXT,
        "What tables' names begin with; today `LAMBDALLM_STORE` names the table.",
        example="lambdallm-",
        effect=LATER,
    ),
    Setting(
        "defaults.state.ttl",
        INTEGER,
        "How long sessions are kept, in seconds; today `Session(ttl_hours=…)` says it.",
        least=1,
        example="86400",
        effect=LATER,
    ),
    Setting(
        "models.*.model",
        TEXT,
        "What the alias stands for: `provider/model`. It, or `model_id`, must be there.",
        example="bedrock/global.anthropic.claude-haiku-5-5",
    ),
    Setting(
        "models.*.provider",
        TEXT,
        "With `model_id`: whose model it is.",
        default="bedrock",
        example="openai",
    ),
    Setting(
        "models.*.model_id",
        TEXT,
        "The provider's own id of the model, in place of `model`.",
        example="global.anthropic.claude-haiku-5-5",
    ),
    Setting(
        "models.*.region",
        TEXT,
        "Where it is asked, of AWS's providers.",
        default="the environment's own",
        example="eu-west-1",
    ),
    Setting(
        "models.*.max_tokens",
        INTEGER,
        "Bound of one answer, of calls that do not say it.",
        least=1,
        example="2000",
    ),
    Setting(
        "models.*.temperature",
        NUMBER,
        "Of calls that do not say it. Left out where the model takes none.",
        least=0,
        most=2,
        example="0.2",
    ),
    Setting(
        "models.*.top_p",
        NUMBER,
        "Of calls that do not say it. Left out where the model takes none.",
        least=0,
        most=1,
        example="0.9",
    ),
    Setting(
        "models.*.fallbacks",
        TEXTS,
        "Asked one after the other when this one fails: aliases, or `provider/model`.",
        example="[careful, openai/gpt-5-mini]",
    ),
    Setting(
        "providers.*.kind",
        TEXT,
        "Which API it speaks. Left out where the provider's name says it.",
        choices=KINDS,
        example="openai-compatible",
    ),
    Setting(
        "providers.*.base_url",
        TEXT,
        "Where it is asked; `openai-compatible` needs it.",
        default="the kind's own",
        example="https://llm.example.com/v1",
    ),
    Setting(
        "providers.*.api_key",
        TEXT,
        "`env:NAME`, or the ARN of a secret or a parameter, with `#KEY` behind it for a field of "
        "its JSON.",
        default="the kind's own variable",
        example="env:OPENAI_API_KEY",
    ),
    Setting(
        "providers.*.region",
        TEXT,
        "Where it is asked, of AWS's providers.",
        default="the environment's own",
        example="us-east-1",
    ),
    Setting(
        "providers.*.role_arn",
        TEXT,
        "A role to assume before AWS is asked.",
        default="the function's own role",
        example="arn:aws:iam::123456789012:role/models",
    ),
    Setting(
        "providers.*.headers",
        HEADERS,
        "Sent with every request.",
        example="{x-team: search}",
    ),
    Setting(
        "providers.*.hourly_usd",
        DECIMAL,
        "What a SageMaker endpoint costs an hour, in USD: its calls are priced by their time.",
        least=0,
        example="1.408",
    ),
    Setting(
        "providers.*.class",
        TEXT,
        "`package.module:Class` of a provider of your own; `kind: own` needs it.",
        example="app.models:MyProvider",
    ),
    Setting(
        "resilience.max_retries",
        INTEGER,
        "Further attempts after a failure, of calls that do not say it; handlers do, and say 3 "
        "without `@handler(max_retries=…)`.",
        least=0,
        most=10,
        default="2",
        example="3",
    ),
    Setting(
        "resilience.retry_share",
        NUMBER,
        "Of all calls, that may be retries; beyond it failures are returned at once.",
        least=0,
        most=1,
        default="0.1",
        example="0.2",
    ),
    Setting(
        "resilience.hedge_after_ms",
        INTEGER,
        "After so much silence the next model, or the same one where there is no other, is asked "
        "beside it, which may bill two answers; 0: never.",
        least=0,
        most=_SECONDS_MAX * 1_000,
        default="0",
        example="2000",
    ),
    Setting(
        "resilience.call_seconds_max",
        NUMBER,
        "One call with its retries and fallbacks; 0: as long as the invocation.",
        least=0,
        most=_SECONDS_MAX,
        default="0",
        example="20",
    ),
    Setting(
        "resilience.stall_seconds",
        NUMBER,
        "A stream that says nothing for so long is cut.",
        least=1,
        most=_SECONDS_MAX,
        default="60",
        example="30",
    ),
    Setting(
        "resilience.drain_seconds",
        NUMBER,
        "So long a stream is read on for its usage when its reader has gone.",
        least=0,
        most=_SECONDS_MAX,
        default="10",
        example="5",
    ),
    *COST_SETTINGS,
    Setting(
        "cost.routing.strategy",
        SCALAR,
        "How a model is picked.",
        example="cost-optimized",
        effect=LATER,
    ),
    Setting(
        "cost.routing.quality_threshold",
        NUMBER,
        "How good it must be.",
        least=0,
        most=1,
        example="0.85",
        effect=LATER,
    ),
    Setting("observability.tracing", SCALAR, "Where traces go.", example="xray", effect=LATER),
    Setting(
        "observability.metrics",
        SCALAR,
        "Where metrics go; today `LAMBDALLM_TELEMETRY` says whether they are written.",
        example="cloudwatch",
        effect=LATER,
    ),
    Setting("observability.log_level", SCALAR, "How much is logged.", example="INFO", effect=LATER),
    Setting(
        "observability.log_prompts",
        SCALAR,
        "Whether prompts are logged.",
        example="false",
        effect=LATER,
    ),
)
"""Every key there is, in the order of the documentation.

`environments.NAME` holds any of them again, and those of `defaults` without it; they replace the
others where `LAMBDALLM_ENV` is NAME.
"""

ENVIRONMENTS = "environments"

SHORTHAND = "defaults"
"""Whose keys may stand directly under an environment, as the earlier package's files have them."""
