"""Texts turned into vectors by Bedrock's models."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fakes.api_server import Reply
from lambdallm_extension.errors import InvalidRequestError, ProviderError
from lambdallm_extension.providers.bedrock.embeddings import AT_ONCE

TITAN = "amazon.titan-embed-text-v2:0"
TITAN_IMAGE = "amazon.titan-embed-image-v1"
COHERE = "cohere.embed-multilingual-v3"
NOVA = "amazon.nova-2-multimodal-embeddings-v1:0"


def vector_of(text):
    return [float(len(text)), 1]


def answer(body):
    """What the model that takes such a body answers, and its headers."""
    if "texts" in body:
        vectors = [vector_of(text) for text in body["texts"]]
        return {"embeddings": vectors}, {"X-Amzn-Bedrock-Input-Token-Count": str(len(vectors))}
    if "singleEmbeddingParams" in body:
        text = body["singleEmbeddingParams"]["text"]["value"]
        found = [{"embeddingType": "TEXT", "embedding": vector_of(text)}]
        return {"embeddings": found}, {"X-Amzn-Bedrock-Input-Token-Count": "2"}
    text = body["inputText"]
    return {"embedding": vector_of(text), "inputTextTokenCount": 2}, {}


class Embedder:
    """Answers as the models do; counts what is under way at once, and fails where it is told."""

    def __init__(self):
        self.bodies = []
        self.at_once = 0
        self.most_at_once = 0
        self.failing = set()
        self.gate = threading.Event()
        self.gate.set()
        self._lock = threading.Lock()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                owner.serve(self)

            def log_message(self, *_):
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def serve(self, handler):
        body = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
        with self._lock:
            self.bodies.append(body)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            if self.at_once == AT_ONCE:
                self.gate.set()
        self.gate.wait(10)
        with self._lock:
            self.at_once -= 1
        reply, headers = answer(body)
        status = 200
        if body.get("inputText") in self.failing:
            status, reply = 429, {"message": "Too many requests"}
            headers = {"X-Amzn-ErrorType": "ThrottlingException"}
        encoded = json.dumps(reply).encode()
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("x-amzn-requestid", "id-1")
        handler.send_header("content-length", str(len(encoded)))
        handler.end_headers()
        handler.wfile.write(encoded)

    def stop(self):
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def embedder():
    server = Embedder()
    yield server
    server.stop()


@pytest.fixture
def embed(embedder, open_named, deadline_ms):
    provider = open_named("bedrock", AWS_ENDPOINT_URL_BEDROCK_RUNTIME=embedder.url)

    def ask(model_id, texts, **request):
        return provider.embed(model_id, {"texts": texts, **request}, deadline_ms=deadline_ms)

    yield ask
    provider.close()


@pytest.mark.parametrize(
    ("model_id", "dimensions", "bodies", "tokens"),
    [
        (TITAN, 256, [{"inputText": "aa", "dimensions": 256}], 2),
        ("amazon.titan-embed-text-v1", None, [{"inputText": "aa"}], 2),
        (
            TITAN_IMAGE,
            384,
            [{"inputText": "aa", "embeddingConfig": {"outputEmbeddingLength": 384}}],
            2,
        ),
        (COHERE, None, [{"texts": ["aa"], "input_type": "search_document"}], 1),
        (
            "cohere.embed-v4:0",
            512,
            [{"texts": ["aa"], "input_type": "search_document", "output_dimension": 512}],
            1,
        ),
        (
            NOVA,
            256,
            [
                {
                    "taskType": "SINGLE_EMBEDDING",
                    "singleEmbeddingParams": {
                        "embeddingPurpose": "GENERIC_INDEX",
                        "embeddingDimension": 256,
                        "text": {"truncationMode": "NONE", "value": "aa"},
                    },
                }
            ],
            2,
        ),
    ],
)
def test_a_familys_form(embed, embedder, model_id, dimensions, bodies, tokens):
    asked = {} if dimensions is None else {"dimensions": dimensions}

    answered = embed(model_id, ["aa"], **asked)

    assert embedder.bodies == bodies
    assert answered.vectors == [[2.0, 1]]
    assert answered.usage["uncached_input_tokens"] == tokens
    assert answered.usage["output_tokens"] == 0
    assert (answered.model, answered.provider_request_id) == (model_id, "id-1")


def test_many_texts_go_eight_at_once_and_come_back_in_their_order(embed, embedder):
    embedder.gate.clear()  # opens when eight are there
    texts = ["x" * (1 + index) for index in range(40)]

    answered = embed(TITAN, texts)

    assert answered.vectors == [vector_of(text) for text in texts]
    assert answered.usage["uncached_input_tokens"] == 80
    assert embedder.most_at_once == AT_ONCE
    assert len(embedder.bodies) == 40


def test_cohere_takes_96_texts_a_request(embed, embedder):
    texts = ["x" * (1 + index) for index in range(200)]

    answered = embed(COHERE, texts, additional_fields={"input_type": "search_query"})

    assert sorted(len(body["texts"]) for body in embedder.bodies) == [8, 96, 96]
    assert {body["input_type"] for body in embedder.bodies} == {"search_query"}
    assert answered.vectors == [vector_of(text) for text in texts]
    assert answered.usage["uncached_input_tokens"] == 200


def test_a_throttle_of_the_only_request_may_be_asked_again(embed, embedder):
    embedder.failing = {"a"}

    with pytest.raises(ProviderError) as raised:
        embed(TITAN, ["a"])
    assert (raised.value.status, raised.value.retryable, raised.value.sent) == (429, True, False)


def test_a_throttle_beside_answers_is_not_asked_again(embed, embedder):
    embedder.failing = {"late"}
    texts = [f"text {index}" for index in range(3 * AT_ONCE)]

    with pytest.raises(ProviderError, match="which are billed") as raised:
        embed(TITAN, [*texts, "late", *["never"] * 3 * AT_ONCE])
    error = raised.value
    assert (error.status, error.kind) == (200, "ThrottlingException")
    assert (error.retryable, error.sent) == (False, True)
    assert len(embedder.bodies) < 6 * AT_ONCE, "what came behind the failure was not asked"


@pytest.mark.parametrize(
    ("model_id", "texts", "words"),
    [
        (TITAN, ["a", " "], "blank"),
        ("us.amazon.nova-micro-v1:0", ["a"], "no embedding model"),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/a", ["a"], "does not say"),
    ],
)
def test_what_cannot_be_embedded_is_not_sent(embed, embedder, model_id, texts, words):
    with pytest.raises(InvalidRequestError, match=words):
        embed(model_id, texts)
    assert embedder.bodies == []


def test_no_texts_cost_nothing(embed, embedder):
    answered = embed(TITAN, [])

    assert (answered.vectors, embedder.bodies) == ([], [])


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b"{}",
        b'{"embedding": "x"}',
        b'{"embedding": [true]}',
        b'{"embedding": [1], "inputTextTokenCount": "3"}',
    ],
)
def test_a_200_without_vectors(invoke, deadline_ms, body):
    provider, _ = invoke(Reply(200, {"x-amzn-requestid": "id-1"}, (body,)))

    with pytest.raises(ProviderError) as raised:
        provider.embed(TITAN, {"texts": ["a"]}, deadline_ms=deadline_ms)
    assert (raised.value.kind, raised.value.sent) == ("MalformedReply", True)


def test_too_few_vectors_are_none(invoke, deadline_ms):
    provider, _ = invoke(Reply(200, {}, (b'{"embeddings": [[1.0]]}',)))

    with pytest.raises(ProviderError, match="1 vectors for 2 texts"):
        provider.embed(COHERE, {"texts": ["a", "b"]}, deadline_ms=deadline_ms)
