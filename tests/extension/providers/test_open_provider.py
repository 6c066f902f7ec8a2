"""Who answers for a model's name."""

import pytest

from lambdallm_extension.errors import SettingError
from lambdallm_extension.providers import split_model

PROFILE = "arn:aws:bedrock:eu-west-1:1:inference-profile/eu.amazon.nova-lite-v1:0"


@pytest.mark.parametrize(
    ("model", "provider", "model_id"),
    [
        ("bedrock/us.amazon.nova-micro-v1:0", "bedrock", "us.amazon.nova-micro-v1:0"),
        ("us.amazon.nova-micro-v1:0", "bedrock", "us.amazon.nova-micro-v1:0"),
        (PROFILE, "bedrock", PROFILE),
        (f"bedrock/{PROFILE}", "bedrock", PROFILE),
        ("scripted/anything", "scripted", "anything"),
        ("scripted/a/b", "scripted", "a/b"),
    ],
)
def test_a_model_belongs_to_its_provider_and_bare_ones_to_bedrock(model, provider, model_id):
    assert split_model(model) == (provider, model_id)


@pytest.mark.parametrize("model", ["", "bedrock/", "/x", " ", "bedrock/ ", "/", "bedrock//"])
def test_half_a_name_is_no_model(model):
    with pytest.raises(SettingError, match="provider/model"):
        split_model(model)


def test_an_unknown_provider_is_told_which_there_are(open_named):
    with pytest.raises(SettingError, match=r"known are: .*bedrock, bedrock-invoke, .*scripted"):
        open_named("bedrok")


@pytest.mark.parametrize("name", ["bedrock", "bedrock-invoke", "sagemaker", "scripted"])
def test_a_provider_carries_its_name(open_named, name):
    assert open_named(name).name == name


@pytest.mark.parametrize("name", ["fsat", "gpt-5-mini", "bedrock/fast"])
def test_a_name_that_is_neither_alias_nor_id_is_asked_of_nobody(name):
    with pytest.raises(SettingError, match=r"no alias in lambdallm\.yaml"):
        split_model(name)
