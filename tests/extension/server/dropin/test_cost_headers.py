"""What a call has cost, on the answers that the real clients get when they ask for it."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest
from botocore.exceptions import ClientError

from fakes.api_server import ApiServer, Reply, load
from fakes.served_engine import said

if TYPE_CHECKING:
    from pathlib import Path

ASK = {"x-lambdallm-cost": "1"}
COST, STATUS = "x-lambdallm-cost-usd", "x-lambdallm-cost-status"
MODEL, TIER = "x-lambdallm-model", "x-lambdallm-service-tier"

GPT, CLAUDE = "gpt-5-mini", "claude-haiku-4-5"
HAIKU = "us.anthropic.claude-haiku-4-5-20251001-v1:0"


def completion(model: str = GPT, **more: Any) -> Reply:
    body = {
        "id": "x", "object": "chat.completion", "created": 1, "model": model,
        "choices": [{"index": 0, "finish_reason": "stop",
                     "message": {"role": "assistant", "content": "Yes."}}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 6, "total_tokens": 17}, **more,
    }  # fmt: skip
    return Reply(200, {"Content-Type": "application/json"}, (json.dumps(body).encode(),))


def ours(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith("x-lambdallm-")}


def chat(client: openai.OpenAI, model: str = GPT, **more: Any) -> dict[str, str]:
    more = {"extra_headers": ASK, **more}
    answered = client.chat.completions.with_raw_response.create(
        model=model, messages=said("hello"), **more
    )
    return ours(answered.headers)


def recorded_usd(record: dict[str, Any]) -> Decimal:
    return Decimal(record["cost_pico_usd"]) / 10**12


def test_openai_is_told_to_the_last_digit(gateway: Any, aimock: str) -> None:
    served = gateway(aimock)
    told = chat(served.openai())

    assert told == {COST: "0.00001475", MODEL: "openai/gpt-5-mini"}
    assert Decimal(told[COST]) == recorded_usd(served.records()[0])


def test_anthropic_is_told(gateway: Any, aimock: str) -> None:
    served = gateway(aimock)
    answered = served.anthropic().messages.with_raw_response.create(
        model=CLAUDE, messages=said("hello"), max_tokens=20, extra_headers=ASK
    )

    assert answered.parse().content[0].text == "Hello! 🌉"
    told = ours(answered.headers)
    assert Decimal(told[COST]) == recorded_usd(served.records()[0]) > 0
    assert told[MODEL] == f"anthropic/{CLAUDE}"


@pytest.mark.parametrize("event", ["before-sign", "before-send"])
def test_boto3_is_told_whether_or_not_the_header_is_signed(
    gateway: Any, ministack: str, event: str
) -> None:
    served = gateway(ministack)
    client = served.bedrock()

    def ask(request: Any, **_: Any) -> None:
        request.headers["x-lambdallm-cost"] = "1"

    client.meta.events.register(f"{event}.bedrock-runtime.Converse", ask)
    messages = [{"role": "user", "content": [{"text": "hello"}]}]
    answer = client.converse(modelId=HAIKU, messages=messages)

    told = ours(answer["ResponseMetadata"]["HTTPHeaders"])
    assert Decimal(told[COST]) == recorded_usd(served.records()[0]) > 0
    assert told[MODEL] == f"bedrock/{HAIKU}"


def test_who_does_not_ask_is_told_nothing(gateway: Any, aimock: str) -> None:
    served = gateway(aimock)

    assert chat(served.openai(), extra_headers={}) == {}
    assert chat(served.openai(), extra_headers={"x-lambdallm-cost": "off"}) == {}


def test_the_setting_asks_for_all_clients_and_a_client_may_decline(
    gateway: Any, aimock: str, tmp_path: Path
) -> None:
    path = tmp_path / "lambdallm.yaml"
    path.write_text("cost:\n  headers: clients\n", encoding="utf-8")
    served = gateway(aimock, LAMBDALLM_CONFIG=str(path))

    assert chat(served.openai(), extra_headers={})[COST] == "0.00001475"
    assert chat(served.openai(), extra_headers={"x-lambdallm-cost": "0"}) == {}


def test_the_setting_for_handlers_answers_tells_clients_nothing(
    gateway: Any, aimock: str, tmp_path: Path
) -> None:
    path = tmp_path / "lambdallm.yaml"
    path.write_text("cost:\n  headers: responses\n", encoding="utf-8")

    served = gateway(aimock, LAMBDALLM_CONFIG=str(path))
    assert chat(served.openai(), extra_headers={}) == {}


def test_the_api_never_sees_who_asks_and_its_own_word_is_not_ours(gateway: Any) -> None:
    spoofed = completion()
    spoofed = spoofed._replace(headers={**spoofed.headers, "X-LambdaLLM-Cost-USD": "99"})
    with ApiServer(spoofed) as server:
        served = gateway(server.url)
        told = chat(served.openai(), extra_headers={**ASK, "x-other": "kept"})
        (asked,) = server.asked

    names = {name.lower() for name in asked.headers}
    assert "x-other" in names
    assert not [name for name in names if name.startswith("x-lambdallm")]
    assert told[COST] == "0.00001475"


def test_a_model_without_a_price_is_unpriced_and_never_0(gateway: Any) -> None:
    with ApiServer(completion("gpt-of-nobody")) as server:
        told = chat(gateway(server.url).openai(), "gpt-of-nobody")

    assert told == {STATUS: "unpriced", MODEL: "openai/gpt-of-nobody"}


def test_an_answer_that_says_no_usage_is_an_estimate_and_an_empty_one_unknown(gateway: Any) -> None:
    nothing: Any = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant"}}
    with ApiServer(completion(usage=None), completion(usage=None, choices=[nothing])) as server:
        served = gateway(server.url)
        told, told_nothing = chat(served.openai()), chat(served.openai())

    record = served.records(2)[0]
    assert record["estimated"]
    assert told[STATUS] == "estimated"
    assert Decimal(told[COST]) == recorded_usd(record) > 0
    assert told_nothing == {STATUS: "unknown", MODEL: "openai/gpt-5-mini"}


def test_who_answered_and_the_tier_that_is_billed_are_told(gateway: Any) -> None:
    with ApiServer(completion("gpt-5-mini-2025-08-07", service_tier="flex")) as server:
        told = chat(gateway(server.url).openai())

    assert told == {
        COST: "0.000007375", MODEL: "openai/gpt-5-mini-2025-08-07", TIER: "flex",
    }  # fmt: skip


def test_no_name_of_a_model_makes_a_header_of_its_own(gateway: Any) -> None:
    with ApiServer(completion("a\r\nset-cookie: x=1\r\n\u4e16")) as server:
        client = gateway(server.url).openai()
        answered = client.chat.completions.with_raw_response.create(
            model=GPT, messages=said("hello"), extra_headers=ASK
        )

    assert "set-cookie" not in answered.headers
    assert answered.headers[MODEL] == "openai/a??set-cookie: x=1???"


def test_a_stream_says_that_its_cost_is_not_known_yet_and_which_record_will(gateway: Any) -> None:
    stream = load("openai_chat.json").replies["text_stream"]
    with ApiServer(stream) as server:
        served = gateway(server.url)
        answered = served.openai().chat.completions.with_raw_response.create(
            model=GPT, messages=said("hello"), stream=True, extra_headers=ASK
        )
        list(answered.parse())

    assert ours(answered.headers) == {STATUS: "streaming", MODEL: "openai/gpt-5-mini"}
    assert len(answered.headers["lambdallm-call-id"]) == 32
    assert served.records()[0]["state"] == "settled"


def test_what_the_api_refuses_costs_nothing(gateway: Any, aimock: str) -> None:
    served = gateway(aimock)
    with pytest.raises(openai.RateLimitError) as refused:
        served.openai(max_retries=0).chat.completions.create(
            model=GPT, messages=said("crowd"), extra_headers=ASK
        )
    with pytest.raises(anthropic.RateLimitError) as refused_too:
        served.anthropic(max_retries=0).messages.create(
            model=CLAUDE, messages=said("crowd"), max_tokens=5, extra_headers=ASK
        )

    assert ours(refused.value.response.headers)[COST] == "0"
    assert ours(refused_too.value.response.headers)[COST] == "0"


def test_what_a_budget_refuses_costs_nothing_and_says_when_it_opens(
    gateway: Any, aimock: str, tmp_path: Path
) -> None:
    path = tmp_path / "lambdallm.yaml"
    path.write_text("cost:\n  budget: {daily: '0.000001'}\n", encoding="utf-8")
    served = gateway(aimock, LAMBDALLM_CONFIG=str(path))
    with pytest.raises(openai.RateLimitError, match="organisation") as refused:
        chat(served.openai(max_retries=0))

    headers = refused.value.response.headers
    assert ours(headers) == {COST: "0"}
    assert int(headers["retry-after"]) > 0


def test_a_lost_answer_may_have_cost_something(gateway: Any) -> None:
    with ApiServer(completion()._replace(end="cut")) as server:
        served = gateway(server.url)
        with pytest.raises(openai.APIStatusError) as lost:
            chat(served.openai(max_retries=0))

    assert ours(lost.value.response.headers) == {STATUS: "unknown"}


def test_what_is_read_costs_nothing_and_what_nobody_reads_is_unmetered(gateway: Any) -> None:
    listed = Reply(200, {"Content-Type": "application/json"}, (b'{"object":"list","data":[]}',))
    with ApiServer(listed, listed) as server:
        client = gateway(server.url).openai(max_retries=0)
        models = client.models.with_raw_response.list(extra_headers=ASK)
        image = client.images.with_raw_response.generate(prompt="a cat", extra_headers=ASK)

    assert ours(models.headers)[COST] == "0"
    assert ours(image.headers)[STATUS] == "unmetered"


def test_bedrocks_refusal_is_told_too(gateway: Any) -> None:
    throttled = load("bedrock_converse.json").replies["throttled"]
    with ApiServer(throttled) as server:
        client = gateway(server.url).bedrock()
        client.meta.events.register(
            "before-sign.bedrock-runtime",
            lambda request, **_: request.headers.add_header("x-lambdallm-cost", "1"),
        )
        with pytest.raises(ClientError) as refused:
            client.converse(
                modelId=HAIKU, messages=[{"role": "user", "content": [{"text": "hello"}]}]
            )

    headers = refused.value.response["ResponseMetadata"]["HTTPHeaders"]
    assert ours(headers)[COST] == "0"
