"""What a call costs, whoever answered it: the user's own price, else the book's.

prepare(model)      beside the call: a newer book, the model behind a profile's ARN
cost_pico_usd(…)    when it is settled

asked  openai/gpt-5-mini ─┐
answered gpt-5-mini-2025… ┴─► names, the most exact first ─► cost.prices ─► the book ─► None
"""

from __future__ import annotations

from lambdallm_extension import price_book
from lambdallm_extension.price_book import reservations
from lambdallm_extension.price_book.own_prices import OwnPrices
from lambdallm_wire.model_names import bedrock_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from lambdallm_extension.aws.credentials import CredentialSource
    from lambdallm_extension.domain.call_bounds import Bound
    from lambdallm_extension.ports import Clock, Used
    from lambdallm_extension.price_book import Book, Price
    from lambdallm_extension.price_book.profiles import InferenceProfiles
    from lambdallm_extension.price_book.refresh import Refresh
    from lambdallm_extension.services.tasks import Workers
    from lambdallm_extension.settings import Settings
    from lambdallm_wire.chat import Usage
    from lambdallm_wire.prices import PriceReply

PROFILE_SECONDS = 0.25
"""For an ARN that is still being asked about when its model has answered, which is rare."""

ADMISSION_SECONDS = 2.0
"""For the same, where a budget would refuse the call: it is asked once in an environment."""

QUOTATION_SECONDS = 12.0
"""For an ARN too, and for a newer book, where somebody asks what a call would cost."""

DEARER_TIERS = ("priority", "fast", "ultrafast")
"""What a call may be billed on though its request does not say so: a project's setting does."""

REMEMBERED_MAX = 64
"""Prices that are kept as found; a function asks one or two models."""

_DAY_MS = 86_400_000
_PROFILE = ":application-inference-profile/"

_HOSTS = {
    "generativelanguage.googleapis.com": "gemini",
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
}
_MANTLE = "bedrock-mantle."


class Pricing:
    """Prices of one environment. Threads share it."""

    def __init__(
        self,
        settings: Settings,
        credentials: Callable[[], CredentialSource],
        resolve: Callable[[str, int], str],
        clock: Clock,
        workers: Workers,
        log: Callable[[str], None],
    ) -> None:
        """Load nothing but what the configuration says; see `Refresh` for the arguments."""
        self._settings = settings
        self._clock = clock
        self._own = OwnPrices(settings.configuration.prices)
        self._refresh: Refresh | None = None
        self._profiles: InferenceProfiles | None = None
        self._found: dict[tuple[object, ...], Price | None] = {}
        if settings.environ.get("LAMBDALLM_PRICES", "").strip():
            from lambdallm_extension.price_book.refresh import Refresh

            self._refresh = Refresh(settings, credentials, resolve, clock, workers, log)

        def open_profiles() -> InferenceProfiles:
            from lambdallm_extension.price_book.profiles import InferenceProfiles

            return InferenceProfiles(settings, credentials, clock, workers, log)

        self._open_profiles = open_profiles

    def prepare(self, model: str) -> None:
        """Look beside the call for what its price will be asked by. Never waits, never raises."""
        if self._refresh is not None:
            self._refresh.prepare()
        if _PROFILE in model and self._own.find((model,), "") is None:
            if self._profiles is None:
                self._profiles = self._open_profiles()
            self._profiles.prepare(_arn_in(model))

    def cost_pico_usd(
        self, model: str, answering: str, used: Used, *, epoch_ms: int, region: str
    ) -> int | None:
        """Return the exact cost of a call, or None when nobody knows the price; see `ports`."""
        raw: Mapping[str, Any] = used.raw_usage or {}
        tier = used.service_tier
        if self._family(model.partition("/")[0]) == "anthropic":
            region = str(raw.get("inference_geo") or "")
            if raw.get("speed") == "fast" and price_book.tier_of(tier) == price_book.STANDARD:
                tier = "fast"  # of which the service tier says nothing
        price = self.find(model, epoch_ms, region, answering=answering, tier=tier)
        return None if price is None else price_book.cost_pico_usd(price, used.usage, raw)

    def find(
        self, model: str, epoch_ms: int, region: str = "", *, answering: str = "", tier: str = ""
    ) -> Price | None:
        """Return a model's price, None when nobody knows it.

        Args:
            model: `provider/model`, an ARN, or an id alone.
            epoch_ms: When it is asked.
            region: Where, "" for the environment's own.
            answering: The provider's own id of who has answered, "" for who was asked.
            tier: In the provider's own words, "" for the standard one.
        """
        key = (model, epoch_ms // _DAY_MS, region, answering, tier, self.book.version)
        if key in self._found:
            return self._found[key]
        price = self._look(model, epoch_ms, region or self._settings.region, answering, tier)
        if price is not None or _PROFILE not in model:  # which may be known a moment later
            if len(self._found) >= REMEMBERED_MAX:
                self._found.clear()
            self._found[key] = price
        return price

    def most_pico_usd(self, model: str, bound: Bound, *, epoch_ms: int, region: str) -> int | None:
        """Return the most that a call within a bound can cost, on any tier it may be billed on.

        None where nobody knows its price on the standard one.
        """
        self._behind(model, ADMISSION_SECONDS)
        regions = (
            (region, "us") if self._family(model.partition("/")[0]) == "anthropic" else (region,)
        )
        known: list[int] = []
        for tier in ("", *DEARER_TIERS):
            for where in regions:
                price = self.find(model, epoch_ms, where, tier=tier)
                most = None if price is None else reservations.most_pico_usd(price, bound)
                if most is not None:
                    known.append(most)
                elif not tier and where == region:
                    return None
        return max(known)

    def quote(
        self, model: str, usage: Usage, epoch_ms: int | None, *, region: str, tier: str
    ) -> PriceReply:
        """Return what a call would cost, with the row that says so; None is now."""
        from lambdallm_extension.price_book import quotation

        self.prepare(model)
        if self._refresh is not None:
            self._refresh.wait(QUOTATION_SECONDS)
        self._behind(model, QUOTATION_SECONDS)
        at_ms = self._clock.epoch_ms() if epoch_ms is None else epoch_ms

        def find(tier: str) -> Price | None:
            return self.find(model, at_ms, region, tier=tier)

        return quotation.quote(find, model, usage, tier=tier, book=self.book)

    @property
    def book(self) -> Book:
        """The newest book there is."""
        return price_book.built_in() if self._refresh is None else self._refresh.book()

    def _look(
        self, model: str, epoch_ms: int, region: str, answering: str, tier: str
    ) -> Price | None:
        named = self._names(model, answering)
        own = self._own.find(named, tier)
        if isinstance(own, str):
            like = price_book.find(own, epoch_ms, region, tier=tier, book=self.book)
            said = f"cost.prices of lambdallm.yaml: it costs what {own} does"
            return None if like is None else like._replace(rule=said)
        names = named if own is not None else (*named, *self._behind(model))
        # Prices of one's own hold on every tier; what the model reads is known of its own one.
        sought = tier if own is None else ""
        found = (price_book.find(name, epoch_ms, region, tier=sought, book=self.book)
                 for name in names)  # fmt: skip
        price = next((price for price in found if price is not None), None)
        if own is None or price is None:
            return own or price
        return own._replace(
            input_limit=own.input_limit or price.input_limit,
            output_limit=own.output_limit or price.output_limit,
        )

    def _names(self, model: str, answering: str) -> tuple[str, ...]:
        """Return what a model may stand under, the most exact name first."""
        provider, slash, asked = model.partition("/")
        if model.startswith("arn:"):
            provider, asked = "bedrock", model
        elif not slash:
            return (f"bedrock/{bedrock_id(model)}", model)
        family = self._family(provider)
        given = f"{provider}/{answering}" if answering else model
        answered = f"{family}/{answering or asked}"
        published = f"{family}/{bedrock_id(asked) if family == 'bedrock' else asked}"
        return tuple(dict.fromkeys((given, model, answered, published)))

    def _family(self, provider: str) -> str:
        """Return whose prices a provider has: one that is configured has those of its API."""
        configured = self._settings.configuration.providers.get(provider)
        kind = configured.kind if configured is not None else provider
        url = configured.base_url if configured is not None else ""
        if kind == "openai-compatible" and not url:
            url = self._settings.environ.get("LAMBDALLM_OPENAI_COMPATIBLE_URL", "")
        host = url.partition("://")[2].partition("/")[0]
        if host.startswith(_MANTLE):
            return "mantle"
        if host in _HOSTS:
            return _HOSTS[host]
        return provider if kind in ("openai-compatible", "own", "sagemaker") else kind

    def _behind(self, model: str, seconds: float = PROFILE_SECONDS) -> tuple[str, ...]:
        """Return the names behind a profile's ARN, () where it is none or nobody has said."""
        if self._profiles is None or _PROFILE not in model:
            return ()
        return self._profiles.names(_arn_in(model), seconds)


def _arn_in(model: str) -> str:
    return model[model.find("arn:") :]
