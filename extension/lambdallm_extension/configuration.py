"""What `lambdallm.yaml` says, as the engine uses it: models by name, APIs, what to do on failure.

lambdallm.yaml ──packaging──► lambdallm.json ──► Configuration
"""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension.budget_settings import LIMIT_MAX_PICO_USD, Budget, SpendingRules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class ModelAlias(NamedTuple):
    """A model under a name of the user's.

    Attributes:
        model: `provider/model`.
        fallbacks: Asked one after the other when this one fails: `provider/model`, or aliases.
        region: Where to ask, "" for the environment's own.
        max_tokens, temperature, top_p: Of requests that do not say it; None leaves it to the API.
    """

    model: str
    fallbacks: tuple[str, ...] = ()
    region: str = ""
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None


class ProviderSettings(NamedTuple):
    """An API: one that is built in, or another one of its kind.

    Attributes:
        kind: `bedrock`, `openai`, `anthropic`, `openai-compatible`, `sagemaker`, `scripted`, or
            `own` for a class in the function's package.
        base_url: "" for the kind's own.
        api_key: The key, `env:NAME`, or the ARN of a secret or a parameter; "" for the kind's own
            variable.
        region: "" for the environment's own.
        role_arn: Assumed before AWS is asked; "" for the function's own role.
        headers: Sent with every request.
        hourly_usd: Of a SageMaker endpoint, a decimal; "" where nobody said.
        class_name: `package.module:Class` of a provider of the user's own.
    """

    kind: str
    base_url: str = ""
    api_key: str = ""
    region: str = ""
    role_arn: str = ""
    headers: Mapping[str, str] = {}
    hourly_usd: str = ""
    class_name: str = ""


class Resilience(NamedTuple):
    """What to do when a model does not answer.

    Attributes:
        max_retries: Further attempts, of requests that do not say it.
        retry_share: Of all calls, that may be retries; beyond it failures are returned at once.
        hedge_after_ms: After so much silence the next candidate is asked too; 0: never.
        call_ms_max: One call with its retries and fallbacks; 0: as long as the invocation.
        stall_seconds: A stream that says nothing for so long is cut.
        drain_seconds: So long a stream is read on for its usage when its reader has gone.
    """

    max_retries: int = 2
    retry_share: float = 0.1
    hedge_after_ms: int = 0
    call_ms_max: int = 0
    stall_seconds: float = 60.0
    drain_seconds: float = 10.0


class Configuration(NamedTuple):
    """All of it.

    Attributes:
        default_model: Asked when neither the handler nor the call names one; "" for the default.
        problems: Sentences about what was wrong in the file, to log once.
        default_region: AWS region where no variable names one, "" for none.
        budgets: What may be spent.
        spending: What to do with what cannot be bounded.
        prices: Of models whose price the user knows better, in USD for a million tokens by kind,
            as they are written; or `{"like": MODEL}`.
        cost_headers: Whose answers say what they have cost without being asked:
            `lambdallm_wire.cost_headers.CHOICES`, "" for nobody's.
    """

    models: Mapping[str, ModelAlias] = {}
    providers: Mapping[str, ProviderSettings] = {}
    resilience: Resilience = Resilience()
    default_model: str = ""
    problems: tuple[str, ...] = ()
    default_region: str = ""
    budgets: tuple[Budget, ...] = ()
    spending: SpendingRules = SpendingRules()
    prices: Mapping[str, Mapping[str, str | int]] = {}
    cost_headers: str = ""


EMPTY = Configuration()


def from_document(document: Mapping[str, Any], problems: tuple[str, ...] = ()) -> Configuration:
    """Make it from what holds of a document (`lambdallm_wire.configuration_rules.check`)."""
    defaults = document.get("defaults", {})
    return Configuration(
        models={name: _alias(alias) for name, alias in document.get("models", {}).items()},
        providers={
            name: _provider(name, provider)
            for name, provider in document.get("providers", {}).items()
        },
        resilience=_resilience(document.get("resilience", {})),
        default_model=defaults.get("model", ""),
        problems=problems,
        default_region=defaults.get("region", ""),
        prices=document.get("cost", {}).get("prices", {}),
        cost_headers=document.get("cost", {}).get("headers", ""),
        budgets=_budgets(document.get("cost", {})),
        spending=_spending(document.get("cost", {})),
    )


def _budgets(cost: Mapping[str, Any]) -> tuple[Budget, ...]:
    """Return the budgets of a file: two of the whole organisation, and any others by name."""
    if "broken_budget" in cost:
        why = (
            "Nothing is spent, because a budget in lambdallm.yaml cannot be read: "
            f"{cost['broken_budget']} `lambdallm check` names all that is wrong."
        )
        return (Budget("lambdallm.yaml", "organisation", "", "all", stopped=True, why=why),)
    zone = cost.get("time_zone", "UTC")
    reaction = cost.get("on_budget_exceeded", "block")
    made = [
        Budget(name, "organisation", "", window, _pico_usd(said), zone, reaction)
        for name, window in (("daily", "day"), ("monthly", "month"))
        if (said := cost.get("budget", {}).get(name)) is not None
    ]
    for name, said in cost.get("budgets", {}).items():
        made.append(
            Budget(
                name,
                said.get("scope", "organisation"),
                said.get("id", ""),
                said.get("window", "day"),
                _pico_usd(said["limit"]),
                said.get("time_zone", zone),
                said.get("on_exceeded", reaction),
                _pico_usd(said.get("outage_allowance", "0")),
            )
        )
    return tuple(made)


def _pico_usd(said: object) -> int:
    """Return USD as pico-USD; what is below one of them is dropped: a limit is never widened.

    Beyond `LIMIT_MAX_PICO_USD` stores could not count.
    """
    from decimal import Decimal

    return min(LIMIT_MAX_PICO_USD, int(Decimal(str(said)) * 1_000_000_000_000))


def _spending(cost: Mapping[str, Any]) -> SpendingRules:
    usual = SpendingRules()
    return SpendingRules(
        unpriced=cost.get("unpriced", usual.unpriced),
        unbounded=cost.get("unbounded", usual.unbounded),
        unmetered=cost.get("unmetered", usual.unmetered),
        downgrade_to=cost.get("downgrade_to", usual.downgrade_to),
    )


def _alias(alias: Mapping[str, Any]) -> ModelAlias:
    return ModelAlias(
        alias["model"],
        tuple(alias.get("fallbacks", ())),
        alias.get("region", ""),
        alias.get("max_tokens"),
        alias.get("temperature"),
        alias.get("top_p"),
    )


def _provider(name: str, provider: Mapping[str, Any]) -> ProviderSettings:
    return ProviderSettings(
        kind=provider.get("kind", name),
        base_url=provider.get("base_url", ""),
        api_key=provider.get("api_key", ""),
        region=provider.get("region", ""),
        role_arn=provider.get("role_arn", ""),
        headers=provider.get("headers", {}),
        hourly_usd=str(provider.get("hourly_usd", "")),
        class_name=provider.get("class", ""),
    )


def _resilience(resilience: Mapping[str, Any]) -> Resilience:
    usual = Resilience()
    return Resilience(
        max_retries=resilience.get("max_retries", usual.max_retries),
        retry_share=float(resilience.get("retry_share", usual.retry_share)),
        hedge_after_ms=resilience.get("hedge_after_ms", usual.hedge_after_ms),
        call_ms_max=round(resilience.get("call_seconds_max", 0) * 1_000),
        stall_seconds=float(resilience.get("stall_seconds", usual.stall_seconds)),
        drain_seconds=float(resilience.get("drain_seconds", usual.drain_seconds)),
    )
