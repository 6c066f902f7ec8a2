"""What a call costs by all that is known of it: who was asked, who answered, where, how."""

import pytest

from fakes.clocks import HandClock
from lambdallm_extension.configuration import Configuration, ProviderSettings
from lambdallm_extension.ports import Used
from lambdallm_extension.price_book.pricing import Pricing
from lambdallm_extension.services.tasks import Workers
from lambdallm_extension.settings import Settings
from lambdallm_wire.tokens import NO_USAGE

NOW_MS = 1_795_000_000_000
THOUSAND = {**NO_USAGE, "uncached_input_tokens": 1_000}


@pytest.fixture
def open_pricing():
    def make(environ=None, **configured):
        settings = Settings.from_environ({"AWS_REGION": "us-east-1", **(environ or {})})
        settings = settings._replace(configuration=Configuration(**configured))
        return Pricing(settings, refuse, refuse, HandClock(), Workers(), refuse)

    return make


def refuse(*_):
    pytest.fail("nothing is to be asked here")


def cost(pricing, model, answering="", region="", usage=THOUSAND, **used):
    """Return what a thousand tokens of input cost, in pico-USD for one."""
    pricing.prepare(model)
    found = pricing.cost_pico_usd(
        model, answering, Used(usage, **used), epoch_ms=NOW_MS, region=region
    )
    return None if found is None else found // 1_000


def test_who_answered_decides_and_who_was_asked_where_that_one_is_unknown(open_pricing):
    pricing = open_pricing()

    assert cost(pricing, "openai/gpt-5-mini", "gpt-5-mini-2025-08-07") == 250_000
    assert cost(pricing, "openai/gpt-5-mini", "gpt-5-mini-2031-01-01") == 250_000
    assert cost(pricing, "openai/gpt-5-mini", "gpt-5-nano") == 50_000
    assert cost(pricing, "openai/imaginary", "imaginary-2") is None


def test_a_tier_is_what_is_billed(open_pricing):
    pricing = open_pricing()

    assert cost(pricing, "openai/gpt-5-mini", service_tier="flex") == 125_000
    assert cost(pricing, "openai/gpt-5-mini", service_tier="default") == 250_000
    assert cost(pricing, "openai/gpt-5-mini", service_tier="scale") is None


def test_anthropics_own_words_count(open_pricing):
    pricing = open_pricing()
    model = "anthropic/claude-opus-5-5"

    prices = [
        cost(pricing, model, raw_usage=raw, service_tier="standard")
        for raw in (None, {"inference_geo": "us"}, {"speed": "fast"}, {"inference_geo": None})
    ]

    assert prices == [4_000_000, 4_400_000, 8_000_000, 4_000_000]
    both = {"inference_geo": "us", "speed": "fast"}
    assert cost(pricing, model, raw_usage=both) == 8_800_000


def test_on_bedrock_these_words_count_for_nothing(open_pricing):
    raw = {"inference_geo": "us", "speed": "fast"}
    model = "bedrock/anthropic.claude-haiku-5-5"

    assert cost(open_pricing(), model, raw_usage=raw, region="us-gov-west-1") == 120_000


def test_bedrocks_region_is_the_environments_own(open_pricing):
    model = "bedrock/anthropic.claude-haiku-5-5"

    assert cost(open_pricing(), model) == 110_000
    assert cost(open_pricing(), model, region="us-gov-west-1") == 120_000
    assert cost(open_pricing({"AWS_REGION": "us-gov-west-1"}), model) == 120_000


def test_a_prompt_routers_choice_is_what_is_paid(open_pricing):
    router = "bedrock/arn:aws:bedrock:us-east-1:1:default-prompt-router/anthropic.claude:1"
    chosen = "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-haiku-5-5"

    assert cost(open_pricing(), router, chosen) == 110_000
    assert cost(open_pricing(), router, router.partition("/")[2]) is None


def test_short_names_are_bedrocks(open_pricing):
    assert cost(open_pricing(), "bedrock/claude-haiku-5-5") == 100_000
    found = open_pricing().find("claude-haiku-5-5", NOW_MS)
    assert found.key == "global.anthropic.claude-haiku-5-5"


@pytest.mark.parametrize(
    ("provider", "model_id", "price"),
    [
        (ProviderSettings("bedrock", region="eu-west-1"), "eu.amazon.nova-lite-v1:0", 78_000),
        (ProviderSettings("openai"), "gpt-5-mini", 250_000),
        (
            ProviderSettings(
                "openai-compatible",
                base_url="https://generativelanguage.googleapis.com/v1beta/openai",
            ),
            "gemini-2.5-pro",
            1_250_000,
        ),
        (
            ProviderSettings(
                "openai-compatible", base_url="https://bedrock-mantle.us-east-1.api.aws/v1"
            ),
            "openai.gpt-oss-20b",
            70_000,
        ),
        (ProviderSettings("openai-compatible", base_url="http://localhost/v1"), "gpt-5-mini", None),
        (ProviderSettings("own", class_name="a:B"), "gpt-5-mini", None),
        (ProviderSettings("sagemaker"), "gpt-5-mini", None),
    ],
)
def test_a_provider_of_the_configuration_has_its_apis_prices(
    open_pricing, provider, model_id, price
):
    pricing = open_pricing(providers={"mine": provider})

    assert cost(pricing, f"mine/{model_id}", model_id) == price


def test_what_the_user_says_comes_first(open_pricing):
    arn = "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc"
    pricing = open_pricing(
        prices={
            "openai/gpt-5-mini": {"input": "0.2", "output": "1.6"},
            "mine/llama": {"input": "0.001", "output": "0"},
            arn: {"like": "us.anthropic.claude-haiku-5-5"},
            "nowhere": {"like": "imaginary"},
        }
    )

    assert cost(pricing, "openai/gpt-5-mini", "gpt-5-mini-2025-08-07", service_tier="x") == 200_000
    assert cost(pricing, "mine/llama") == 1_000
    assert cost(pricing, f"bedrock/{arn}", arn) == 110_000
    assert cost(pricing, "bedrock/nowhere") is None
    written = {**THOUSAND, "cache_write_5m_tokens": 1}
    assert cost(pricing, "openai/gpt-5-mini", usage=written) is None


def test_what_was_found_once_is_found_again_and_another_day_is_another_question(open_pricing):
    pricing = open_pricing()
    december = 1_796_083_200_000

    one, again = (pricing.find("gemini/gemini-4-argon", NOW_MS) for _ in range(2))

    assert again is one
    assert pricing.find("gemini/gemini-4-argon", december).rates.input == 2 * one.rates.input


def test_prices_of_ones_own_keep_the_books_limits_where_they_say_none(open_pricing):
    said = {"input": "1", "output": "2"}
    pricing = open_pricing(
        prices={
            "openai/gpt-5-mini": said,
            "openai/gpt-5-nano": {**said, "max_output_tokens": 500},
            "mine/llama": {**said, "max_input_tokens": 8_192},
            "mine/like": {"like": "openai/gpt-5-mini"},
        }
    )

    def limits(model, tier=""):
        price = pricing.find(model, NOW_MS, tier=tier)
        return price.rates.input, price.input_limit, price.output_limit

    assert limits("openai/gpt-5-mini") == (1_000_000, 400_000, 128_000)
    assert limits("openai/gpt-5-mini", "scale") == (1_000_000, 400_000, 128_000)
    assert limits("openai/gpt-5-nano") == (1_000_000, 400_000, 500)
    assert limits("mine/llama") == (1_000_000, 8_192, None)
    assert limits("mine/like") == (250_000, 400_000, 128_000)
