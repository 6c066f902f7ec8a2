"""What variables say, and what is said about those that are wrong."""

import pytest

from lambdallm_extension.settings import Settings

IN_LAMBDA = {"AWS_LAMBDA_FUNCTION_NAME": "f"}


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({"LAMBDALLM_TELEMETRY": "0"}, "LAMBDALLM_TELEMETRY='0'"),
        ({"LAMBDALLM_TELEMETRY": "false"}, "LAMBDALLM_TELEMETRY='false'"),
        ({"LAMBDALLM_PORT": "65536"}, "LAMBDALLM_PORT='65536' is not a number from 1 to 65535"),
        ({"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "abc"}, "MEMORY_SIZE='abc' is not a number from 1 to"),
        ({"LAMBDALLM_METRICS_NAMESPACE": "AWS/Mine"}, "LAMBDALLM_METRICS_NAMESPACE='AWS/Mine'"),
        ({"LAMBDALLM_METRICS_NAMESPACE": ":a"}, "LAMBDALLM_METRICS_NAMESPACE=':a'"),
        ({"LAMBDALLM_METRICS_NAMESPACE": "Größe"}, "LAMBDALLM_METRICS_NAMESPACE='Größe'"),
        ({"LAMBDALLM_METRICS_NAMESPACE": " "}, "LAMBDALLM_METRICS_NAMESPACE=' '"),
        ({"LAMBDALLM_METRICS_NAMESPACE": "n" * 256}, "LAMBDALLM_METRICS_NAMESPACE='nnn"),
    ],
)
def test_a_wrong_variable_is_named_and_the_default_is_used(
    variables: dict[str, str], name: str
) -> None:
    settings = Settings.from_environ({**IN_LAMBDA, **variables})

    (problem,) = settings.problems
    assert name in problem
    assert "is used" in problem
    usual = Settings.from_environ(IN_LAMBDA)
    assert settings._replace(problems=(), environ={}) == usual._replace(environ={})


@pytest.mark.parametrize("name", ["Chat", "a.b-c/d#e:f g_h", "n" * 255, "aws/x"])
def test_a_namespace_that_cloudwatch_takes_is_taken(name: str) -> None:
    settings = Settings.from_environ({"LAMBDALLM_METRICS_NAMESPACE": name})

    assert (settings.metrics_namespace, settings.problems) == (name, ())


@pytest.mark.parametrize(
    ("choice", "function", "expected"),
    [("on", "", True), ("off", "f", False), ("OFF", "f", False), ("", "f", True), ("", "", False)],
)
def test_telemetry_is_on_in_lambda_unless_somebody_says_otherwise(
    choice: str, function: str, expected: bool
) -> None:
    environ = {"LAMBDALLM_TELEMETRY": choice, "AWS_LAMBDA_FUNCTION_NAME": function}

    assert Settings.from_environ(environ).telemetry is expected


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "http://127.0.0.1:2772/bedrock"}, {}),
        ({"AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "http://localhost:2772"}, {}),
        (
            {
                "LAMBDALLM_PORT": "3000",
                "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "http://127.0.0.1:3000/bedrock/",
                "LAMBDALLM_UPSTREAM_AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "https://vpce.example",
            },
            {"bedrock-runtime": "https://vpce.example"},
        ),
        (
            {
                "AWS_ENDPOINT_URL": "https://all.example",
                "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "http://127.0.0.1:2772/bedrock",
                "LAMBDALLM_UPSTREAM_AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "",
            },
            {"": "https://all.example"},
        ),
        (
            {"AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "http://127.0.0.1:27721"},
            {"bedrock-runtime": "http://127.0.0.1:27721"},
        ),
    ],
)
def test_an_endpoint_that_is_this_api_is_none(variables, expected):
    assert Settings.from_environ(variables).endpoints == expected
