"""`lambdallm check` of a template: whether functions are invoked as their handlers declare."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from fakes.stream_templates import (
    AS_A_WHOLE,
    BY_STREAM,
    EVENT,
    PLAIN,
    SAM,
    STREAMED,
    TELL,
    URL,
    examine,
    severities,
    via,
)
from lambdallm_cli import check_streams

REPOSITORY = Path(__file__).resolve().parents[2]
SAM_PYTHON = REPOSITORY / ".tools/sam/bin/python"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LAMBDALLM_CONFIG", raising=False)
    return tmp_path


def test_the_examples_of_this_project_hold() -> None:
    for path in REPOSITORY.glob("examples/*/template.yaml"):
        result = check_streams.examine(path)

        assert [each for each in result.findings if each.severity != "note"] == [], path


def test_what_fits_has_no_findings() -> None:
    assert examine(SAM + URL.replace("MODE", "RESPONSE_STREAM"), via("function-url")) == []
    assert examine(SAM + URL.replace("MODE", "BUFFERED"), PLAIN) == []
    assert examine(SAM + EVENT.replace("TYPE", "HttpApi"), PLAIN) == []
    assert examine(SAM, via("invoke")) == []


def test_a_buffered_url_before_a_streaming_handler_is_an_error() -> None:
    ((severity, line, words),) = examine(SAM + URL.replace("MODE", "BUFFERED"), via("function-url"))

    assert (severity, line) == ("error", 10)
    assert words.startswith("app.py:3 has via='function-url', and this is BUFFERED.")
    assert "eight NUL bytes" in words
    assert words.endswith("→ InvokeMode: RESPONSE_STREAM")


@pytest.mark.parametrize(
    "code",
    [
        via("function-url").replace("import stream_handler", "import *"),
        "try:\n    import x\nexcept ImportError:\n    " + via("function-url"),
        "\ufeff" + via("function-url"),
    ],
    ids=["imported by a star", "imported in an except", "with a byte order mark"],
)
def test_a_decorator_is_found_wherever_it_comes_from(code: str) -> None:
    assert severities(SAM + URL.replace("MODE", "BUFFERED"), code) == ["error"]


def test_code_says_how_it_is_encoded() -> None:
    code = f"# coding: latin-1\n# gr\u00fcn\n{via('function-url')}"
    Path("app.py").write_bytes(code.encode("latin-1"))

    assert severities(SAM + URL.replace("MODE", "BUFFERED"), None) == ["error"]


def test_a_decorator_that_may_be_ours_is_noted() -> None:
    code = via("function-url").replace("lambdallm import stream_handler", "mine import *")
    ((severity, line, said),) = examine(SAM + URL.replace("MODE", "BUFFERED"), code)

    assert (severity, line) == ("note", 7)
    assert "Its decorator may come from `from mine import *`." in said


@pytest.mark.parametrize(("handler", "why"), [("tell", "names no module"), ("''", "is known at")])
def test_a_handler_without_a_module(handler: str, why: str) -> None:
    template = SAM.replace("app.tell", handler) + URL.replace("MODE", "RESPONSE_STREAM")
    ((severity, _, said),) = examine(template, via("function-url"))

    assert severity == "note"
    assert why in said
    assert "''" not in said
    assert "()" not in said


def test_a_mode_that_is_absent_is_buffered() -> None:
    bare = SAM + "      FunctionUrlConfig: {AuthType: NONE}\n"

    assert severities(bare, via("function-url")) == ["error"]
    assert severities(SAM + EVENT.replace("TYPE", "Api"), via("api-gateway")) == ["error"]


@pytest.mark.parametrize(
    ("code", "severity", "words"),
    [
        (PLAIN, "error", "app.py:3 has @handler: users get its whole answer as JSON text"),
        ("def tell(event, context): ...", "warning", "app.py:1 has no @stream_handler"),
        ("from elsewhere import tell", "note", "module 'elsewhere' is not in"),
        ("import x\n@x.wrap\ndef tell(): ...", "note", "decorators are none of lambdallm's"),
        ("tell = 5", "note", "'tell' is cannot be read"),
        ("tell = tell", "note", "no 'tell' that can be read"),
        ("def other(", "note", "It is no Python"),
        (None, "note", "Its module 'app' is not in '.'"),
        ("from app import tell", "note", "through more than 5 modules, or in a circle"),
        ("from x import *", "note", "'tell' may come from `from x import *`"),
    ],
)
def test_a_streaming_url_before_another_handler(code: str, severity: str, words: str) -> None:
    ((found, line, said),) = examine(SAM + URL.replace("MODE", "RESPONSE_STREAM"), code)

    assert found == severity
    assert line == (7 if severity == "note" else 10)
    assert words in said


@pytest.mark.parametrize(
    "code",
    [
        "import lambdallm as l\n@l.stream_handler(via='api-gateway')\nasync def tell(): yield ''",
        "from lambdallm import stream_handler as s\n@s(via='api-gateway')\ndef tell(): yield ''",
        "import lambdallm\ndef f(e, c): yield ''\n"
        "tell = lambdallm.stream_handler(via='api-gateway')(f)",
        "from lambdallm import stream_handler\nif True:\n  try:\n"
        "    @other\n    @stream_handler(model='x', via='api-gateway')\n    def f(e, c): yield ''\n"
        "  finally:\n    pass\ntell = f",
        "from inner.deep import f as tell",
    ],
)
def test_a_declaration_is_found_however_it_is_written(code: str, folder: Path) -> None:
    (folder / "inner").mkdir()
    (folder / "inner" / "__init__.py").write_text("")
    (folder / "inner" / "deep.py").write_text("from .own import tell as f")
    (folder / "inner" / "own.py").write_text(via("api-gateway"))

    streamed, whole = (
        examine(SAM + STREAMED.replace("MODE", mode), code)
        for mode in ("RESPONSE_STREAM", "BUFFERED")
    )

    assert [severity for severity, _, _ in streamed] == ["note"], "it is cut by an edge"
    assert [severity for severity, _, _ in whole] == ["error"]


@pytest.mark.parametrize(
    ("arguments", "severity", "words"),
    [
        ("(via=VIA)", "note", "no literal"),
        ("(**OPTIONS)", "note", "no literal"),
        ("(via='function_url')", "error", "no via='function_url' (app.py:3). → function-url"),
        ("(via='api-gateway')", "warning", "This is a function URL"),
        ("(via='invoke')", "warning", "no status and no headers"),
    ],
)
def test_a_declaration_that_cannot_be_compared(arguments: str, severity: str, words: str) -> None:
    code = TELL.replace('(via="VIA")', arguments)
    found = examine(SAM + URL.replace("MODE", "RESPONSE_STREAM"), code)

    assert any(each == severity and words in said for each, _, said in found), found


@pytest.mark.parametrize("bare", ["", "()", "('bedrock/a.b')"])
def test_without_via_it_is_a_function_url(bare: str) -> None:
    code = TELL.replace('(via="VIA")', bare)

    assert severities(SAM + URL.replace("MODE", "RESPONSE_STREAM"), code) == []
    assert severities(SAM + URL.replace("MODE", "BUFFERED"), code) == ["error"]


def test_what_cannot_stream_is_an_error_however_it_is_configured() -> None:
    balancer = """\
  Group:
    Type: AWS::ElasticLoadBalancingV2::TargetGroup
    Properties: {TargetType: lambda, Targets: [{Id: !GetAtt Tell.Arn}]}
"""
    for template in (SAM + EVENT.replace("TYPE", "HttpApi"), SAM + balancer):
        findings = examine(template, via("api-gateway"))

        assert [severity for severity, _, _ in findings] == ["note", "error"]
        assert "does not stream" in findings[1][2]


def test_the_word_of_cloudformation_is_none_of_sam() -> None:
    found = examine(SAM + STREAMED.replace("MODE", "STREAM"), via("api-gateway"))

    assert found == [("error", 11, "SAM takes this word for BUFFERED. → RESPONSE_STREAM")]


def test_a_url_is_a_resource_of_its_own_of_an_alias_too() -> None:
    template = SAM + """\
  Live: {Type: AWS::Lambda::Alias, Properties: {FunctionName: !Ref Tell}}
  Url:
    Type: AWS::Lambda::Url
    Properties:
      TargetFunctionArn: !Ref Live
      InvokeMode: BUFFERED
"""  # fmt: skip

    assert [(found[0], found[1]) for found in examine(template, via("function-url"))] == [
        ("error", 15)
    ]


@pytest.mark.parametrize(
    ("mode", "uri", "found"),
    [
        ("STREAM", BY_STREAM, ["warning", "note"]),
        ("STREAM", AS_A_WHOLE, ["error", "warning", "note"]),
        ("BUFFERED", BY_STREAM, ["error"]),
        ("BUFFERED", AS_A_WHOLE, ["error"]),
    ],
)
def test_a_method_streams_by_its_mode_and_its_uri(mode: str, uri: str, found: list[str]) -> None:
    method = f"""\
  Method:
    Type: AWS::ApiGateway::Method
    Properties:
      RestApiId: !Ref Api
      Integration: {{Type: AWS_PROXY, ResponseTransferMode: {mode}, Uri: {uri!r}}}
  Api: {{Type: AWS::ApiGateway::RestApi, Properties: {{Name: api}}}}
""".replace(repr(uri), uri.replace("!Sub ", "!Sub '") + "'")
    template = SAM.replace("25", "60") + method

    assert severities(template, via("api-gateway")) == found


def test_an_openapi_document_says_it_in_its_own_words() -> None:
    template = SAM + """\
  Api:
    Type: AWS::Serverless::Api
    Properties:
      StageName: live
      EndpointConfiguration: {Type: REGIONAL}
      DefinitionBody:
        openapi: 3.0.1
        paths:
          /tell:
            post:
              x-amazon-apigateway-integration:
                type: aws_proxy
                httpMethod: POST
                timeoutInMillis: 20000
                responseTransferMode: MODE
                uri: {"Fn::Sub": URI}
""".replace("URI", repr(BY_STREAM.removeprefix("!Sub ")))  # fmt: skip

    streamed = examine(template.replace("MODE", "STREAM"), via("api-gateway"))
    whole = examine(template.replace("MODE", "BUFFERED"), via("api-gateway"))

    assert [found[:2] for found in streamed] == [("warning", 24)]
    assert "ends after 20 s, the function after 25 s" in streamed[0][2]
    assert [found[:2] for found in whole] == [("error", 24)]


WEBSOCKET = """\
  Sockets: {Type: AWS::ApiGatewayV2::Api, Properties: {ProtocolType: WEBSOCKET}}
  Integration:
    Type: AWS::ApiGatewayV2::Integration
    Properties:
      ApiId: !Ref Sockets
      IntegrationType: AWS_PROXY
      IntegrationUri: !Sub "arn:aws:apigateway:x:lambda:path/functions/${Tell.Arn}/invocations"
"""


def test_messages_are_pushed_to_a_websocket_alone() -> None:
    routes = """\
  Sockets:
    Type: AWS::Serverless::WebSocketApi
    Properties:
      RouteSelectionExpression: $request.body.action
      Routes: {$default: {FunctionArn: !GetAtt Tell.Arn}}
"""
    for sockets in (WEBSOCKET, routes):
        assert examine(SAM + sockets, via("websocket")) == []
        assert severities(SAM.replace("25", "90") + sockets, via("websocket")) == ["note"]
        assert "error" in severities(SAM + sockets, via("function-url"))
    with_url = SAM + URL.replace("MODE", "RESPONSE_STREAM")
    assert severities(with_url, via("websocket")) == ["note", "warning"]


@pytest.mark.parametrize(
    ("timeout", "found"), [("25", []), ("9", ["warning"]), (None, ["warning"])]
)
def test_a_short_timeout_is_a_warning(timeout: str | None, found: list[str]) -> None:
    said = "" if timeout is None else f"      Timeout: {timeout}\n"
    template = SAM.replace("      Timeout: 25\n", said) + URL.replace("MODE", "RESPONSE_STREAM")

    assert severities(template, via("function-url")) == found


def test_globals_and_parameters_hold() -> None:
    template = """\
Parameters:
  Mode: {Type: String, Default: BUFFERED}
Globals:
  Function:
    Handler: app.tell
    Timeout: 60
    FunctionUrlConfig: {AuthType: NONE, InvokeMode: !Ref Mode}
Resources:
  Tell: {Type: AWS::Serverless::Function, Properties: {FunctionUrlConfig: {Cors: {}}}}
"""

    assert severities(template, via("function-url")) == ["error"]
    assert severities(template.replace("BUFFERED", "RESPONSE_STREAM"), via("function-url")) == []
    at_deployment = template.replace(", Default: BUFFERED", "")
    assert severities(at_deployment, via("function-url")) == ["note"]
    chosen = SAM + "      FunctionUrlConfig: !If [A, {InvokeMode: BUFFERED}, !Ref AWS::NoValue]\n"
    assert severities(chosen, via("function-url")) == ["note"]


def test_code_is_found_where_the_template_says(folder: Path) -> None:
    (folder / "asset").mkdir()
    (folder / "asset" / "app.py").write_text(via("function-url"))
    functions = [
        "{Handler: app.tell, Code: ./asset}}",
        '{Handler: app.tell, Code: {S3Key: k}}, Metadata: {"aws:asset:path": asset}}',
        f"{{Handler: index.tell, Code: {{ZipFile: {json.dumps(via('function-url'))}}}}}}}",
    ]
    for function in functions:
        template = (
            f"Resources:\n  Tell: {{Type: AWS::Lambda::Function, Properties: {function}\n"
            "  Url: {Type: AWS::Lambda::Url, Properties: {TargetFunctionArn: !GetAtt Tell.Arn}}\n"
        )

        assert severities(template, None) == ["warning", "error"], function


def test_other_languages_and_images_are_left_alone() -> None:
    template = SAM + URL.replace("MODE", "RESPONSE_STREAM")

    assert examine(template.replace("python3.13", "nodejs24.x"), PLAIN) == []
    assert examine(template.replace("Runtime: python3.13", "PackageType: Image"), PLAIN) == []


TRANSFORM = """\
import json, sys
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse
class Policies:
    def load(self): return {}
print(json.dumps(transform(yaml_parse(sys.stdin.read()), {}, Policies()), indent="\\t"))
"""


@pytest.mark.skipif(not SAM_PYTHON.exists(), reason="SAM is not here: ./build.sh check gets it")
@pytest.mark.parametrize("mode", ["BUFFERED", "RESPONSE_STREAM"])
@pytest.mark.parametrize("event", [URL, STREAMED], ids=["url", "api"])
def test_sam_and_what_it_is_transformed_to_are_judged_alike(event: str, mode: str) -> None:
    written = SAM + event.replace("MODE", mode)
    made = subprocess.run(
        [SAM_PYTHON, "-c", TRANSFORM],
        env={**os.environ, "AWS_DEFAULT_REGION": "eu-west-1"},
        input=written.replace("CodeUri: .", "InlineCode: {}"),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    transformed = made.replace('{\n\t\t\t\t\t"ZipFile": {}\n\t\t\t\t}', '"."')
    assert '"Code": "."' in transformed, made

    for code in (via("function-url"), via("api-gateway"), PLAIN):
        found = examine(written, code)
        again = examine(transformed, code, "template.json")

        assert sorted(each[0] for each in found) == sorted(each[0] for each in again)
        assert {each[2] for each in found} == {
            each[2].replace("TransferMode: STREAM", "TransferMode: RESPONSE_STREAM")
            for each in again
        }
