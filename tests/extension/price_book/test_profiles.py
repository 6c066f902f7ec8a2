"""Application inference profiles: asked once, as botocore asks, and never waited for for long."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest

from fakes.clocks import HandClock
from fakes.waiting import until
from lambdallm_extension.aws.signing import Credentials
from lambdallm_extension.configuration import Configuration
from lambdallm_extension.ports import Used
from lambdallm_extension.price_book.pricing import Pricing
from lambdallm_extension.price_book.profiles import AGAIN_MS, names_of
from lambdallm_extension.services.tasks import Workers
from lambdallm_extension.settings import Settings
from lambdallm_wire.tokens import NO_USAGE

ARN = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abc123"
MODEL = f"bedrock/{ARN}"
HAIKU = "anthropic.claude-haiku-5-5"
NOW_MS = 1_795_000_000_000
THOUSAND = {**NO_USAGE, "uncached_input_tokens": 1_000}


def model_arn(region, model_id=HAIKU):
    return f"arn:aws:bedrock:{region}::foundation-model/{model_id}"


def profile(*regions):
    return {
        "inferenceProfileName": "team",
        "inferenceProfileArn": ARN,
        "inferenceProfileId": "abc123",
        "models": [{"modelArn": model_arn(region)} for region in regions],
        "status": "ACTIVE",
        "type": "APPLICATION",
    }


class Bedrock:
    """Bedrock's control plane, as far as it answers one question."""

    def __init__(self):
        self.asked = []
        self.status, self.answer = 200, profile("eu-west-1", "eu-central-1")
        self.gate = threading.Event()
        self.gate.set()
        bedrock = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                bedrock.asked.append((self.path, self.headers["Authorization"]))
                bedrock.gate.wait(20)
                body = json.dumps(bedrock.answer).encode()
                self.send_response(bedrock.status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        serve = self._server.serve_forever
        threading.Thread(target=serve, args=(0.01,), daemon=True).start()

    def close(self):
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()


class Keys:
    def current(self):
        return Credentials("AKIDEXAMPLE", "secret", "")

    def forget(self):
        pass


@pytest.fixture
def bedrock():
    server = Bedrock()
    yield server
    server.close()


@pytest.fixture
def opened(bedrock):
    """Prices that ask this server, what they have logged, and their clock."""
    lines = []
    clock = HandClock()
    settings = Settings.from_environ(
        {"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL_BEDROCK": bedrock.url}
    )._replace(configuration=Configuration())
    return Pricing(settings, Keys, None, clock, Workers(), lines.append), lines, clock


def cost(pricing):
    return pricing.cost_pico_usd(MODEL, ARN, Used(THOUSAND), epoch_ms=NOW_MS, region="")


def test_it_is_asked_once_beside_the_call_as_botocore_asks(bedrock, opened):
    pricing, lines, _ = opened

    for _ in range(3):
        pricing.prepare(MODEL)
        assert cost(pricing) == 110_000 * 1_000

    ours, authorization = bedrock.asked[0]
    assert len(bedrock.asked) == 1
    assert not lines
    assert "/eu-west-1/bedrock/aws4_request" in authorization
    client = boto3.client(
        "bedrock",
        region_name="eu-west-1",
        endpoint_url=bedrock.url,
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret",
    )
    assert client.get_inference_profile(inferenceProfileIdentifier=ARN)["models"]
    client.close()
    assert bedrock.asked[1][0] == ours


def test_a_call_that_ends_first_is_unpriced_and_the_next_one_is_not(bedrock, opened):
    pricing, _, _ = opened
    bedrock.gate.clear()

    pricing.prepare(MODEL)
    assert cost(pricing) is None
    bedrock.gate.set()

    until(lambda: cost(pricing) is not None)
    assert len(bedrock.asked) == 1


def test_a_refusal_is_told_once_and_asked_again_a_minute_later(bedrock, opened):
    pricing, lines, clock = opened
    bedrock.status, bedrock.answer = 403, {"message": "not authorized"}

    for _ in range(2):
        pricing.prepare(MODEL)
        assert cost(pricing) is None
    until(lambda: lines)
    assert len(bedrock.asked) == 1
    clock.now_ms += AGAIN_MS
    pricing.prepare(MODEL)
    until(lambda: len(bedrock.asked) == 2)
    assert cost(pricing) is None

    (line,) = lines
    assert line.startswith("WARN")
    assert "bedrock:GetInferenceProfile" in line
    assert "not authorized" in line


@pytest.mark.parametrize("answer", [[], {}, {"models": []}, {"models": [{}]}, {"models": None}])
def test_what_is_no_answer_leaves_the_price_unknown(bedrock, opened, answer):
    pricing, lines, _ = opened
    bedrock.answer = answer

    pricing.prepare(MODEL)

    assert cost(pricing) is None
    until(lambda: lines)


@pytest.mark.parametrize(
    ("regions", "names"),
    [
        (("us-east-1",), (model_arn("us-east-1"),)),
        (("us-east-1", "us-west-2"), (f"us.{HAIKU}", HAIKU)),
        (("us-east-1", "us-gov-west-1"), (f"us-gov.{HAIKU}", HAIKU)),
        (("ap-northeast-1", "ap-northeast-3"), (f"jp.{HAIKU}", f"apac.{HAIKU}", HAIKU)),
        (("us-east-1", ""), (f"global.{HAIKU}",)),
        (("mars-1", "mars-2"), (HAIKU,)),
    ],
)
def test_the_regions_of_its_models_say_which_price_it_has(regions, names):
    assert names_of(profile(*regions)) == names
