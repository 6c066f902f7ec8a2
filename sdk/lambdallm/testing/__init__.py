"""What tests of handlers need: a Lambda context, and a model that says what it is told to.

    @mock_model(responses=["Hello!"])
    def test_greets():
        assert my_handler({"body": "{}"}, MockLambdaContext())["statusCode"] == 200

With pytest there is the fixture `lambdallm_model` too, which also keeps sessions in memory:

    def test_remembers(lambdallm_model):
        lambdallm_model.say("Hello, Ada.", "You are Ada.")
        ...
        assert "Ada" in lambdallm_model.prompts[1]

`ModelServer` speaks Bedrock's own protocol over HTTP, where tokens, prices and retries matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambdallm.testing.mocks import MockLambdaContext, MockProvider, mock_model

if TYPE_CHECKING:
    from lambdallm.testing.model_server import Answer, Failure, ModelServer

__all__ = ["Answer", "Failure", "MockLambdaContext", "MockProvider", "ModelServer", "mock_model"]


def __getattr__(name: str) -> object:
    """Load the model server only for those who use it: `http.server` is slow to import."""
    if name not in __all__:
        message = f"module 'lambdallm.testing' has no attribute {name!r}"
        raise AttributeError(message)
    from lambdallm.testing import model_server

    return getattr(model_server, name)
