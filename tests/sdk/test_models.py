"""Models by name."""

import pytest

from lambdallm import ConfigurationError, Model, ModelConfig, ModelResponse
from lambdallm._models import DefaultModel, resolve
from lambdallm_wire import names
from lambdallm_wire.model_names import SHORT_NAMES


def test_the_default_model_is_one_of_them_or_named_in_full() -> None:
    assert names.DEFAULT_MODEL.startswith("bedrock/")
    assert resolve(names.DEFAULT_MODEL).qualified_id == names.DEFAULT_MODEL


@pytest.mark.parametrize("member", Model)
def test_every_member_has_an_alias(member: Model) -> None:
    alias = member.name.lower().replace("_", "-")

    for given in (alias, f"bedrock/{alias}", member, member.value):
        assert resolve(given).qualified_id == f"bedrock/{member.value}"


@pytest.mark.parametrize(
    ("given", "qualified"),
    [
        ("openai-compatible/llama", "openai-compatible/llama"),
        ("openai/gpt-5-mini", "openai/gpt-5-mini"),
        ("us.amazon.nova-pro-v1:0", "bedrock/us.amazon.nova-pro-v1:0"),
        (
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.x",
            "bedrock/arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.x",
        ),
        ("claude-3.5-sonnet", f"bedrock/{Model.CLAUDE_3_5_SONNET.value}"),
    ],
)
def test_ids_get_their_provider(given: str, qualified: str) -> None:
    assert resolve(given).qualified_id == qualified


@pytest.mark.parametrize("given", ["fast", "claude-haiku-5-5", "openai/gpt-5-mini"])
def test_the_engine_is_asked_for_the_name_as_it_was_given(given: str) -> None:
    assert resolve(given).wire_name == given  # an alias of the configuration may have any name


def test_who_names_no_model_leaves_it_to_the_engine() -> None:
    default = DefaultModel(names.DEFAULT_MODEL)

    assert default.wire_name == ""
    assert DefaultModel("scripted/of-a-variable").wire_name == "scripted/of-a-variable"
    assert default == ModelConfig(names.DEFAULT_MODEL)


def test_short_names_are_those_of_the_members() -> None:
    members = {member.name.lower().replace("_", "-"): member.value for member in Model}

    assert members == SHORT_NAMES


def test_a_length_is_sent_only_when_it_was_given() -> None:
    assert ModelConfig("m").parameters() == {}
    assert ModelConfig("m", max_tokens=int("1024")).parameters() == {"max_tokens": 1_024}


def test_a_config_is_kept() -> None:
    config = ModelConfig.from_model(Model.NOVA_PRO, max_tokens=5, stop_sequences=["x"], top_p=0.9)

    assert resolve(config) is config
    assert (config.model_id, config.max_tokens) == (Model.NOVA_PRO.value, 5)
    assert (config.temperature, config.top_p, config.region) == (0.7, 0.9, None)
    assert config.parameters() == {"max_tokens": 5, "stop_sequences": ["x"], "top_p": 0.9}
    assert config != ModelConfig(Model.NOVA_PRO.value)
    assert len({config, config}) == 1
    assert "max_tokens=5" in repr(config)


@pytest.mark.parametrize("given", [None, "", 7, b"model"])
def test_anything_else_is_refused(given: object) -> None:
    with pytest.raises(ConfigurationError, match="is no model"):
        resolve(given)  # type: ignore[arg-type]


def test_a_response_counts_its_tokens() -> None:
    response = ModelResponse("text", "m", 3, 4, 1.5, raw_response={"a": 1})

    assert response.total_tokens == 7
    assert response.cost_usd == 0
