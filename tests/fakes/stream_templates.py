"""Templates and handlers that fit each other, or do not: for `lambdallm check`."""

from __future__ import annotations

from pathlib import Path

from lambdallm_cli import check_streams

TELL = """\
from lambdallm import stream_handler

@stream_handler(via="VIA")
def tell(event, context):
    yield "Hello."
"""

PLAIN = "import lambdallm\n\n@lambdallm.handler()\ndef tell(event, context):\n    return 'Hello.'\n"

SAM = """\
Transform: AWS::Serverless-2016-10-31
Resources:
  Tell:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: .
      Handler: app.tell
      Runtime: python3.13
      Timeout: 25
"""

URL = "      FunctionUrlConfig: {AuthType: NONE, InvokeMode: MODE}\n"
EVENT = "      Events:\n        Ask: {Type: TYPE, Properties: {Path: /, Method: get}}\n"
STREAMED = EVENT.replace("get}", "get, ResponseTransferMode: MODE}").replace("TYPE", "Api")

URI = "!Sub arn:aws:apigateway:eu-west-1:lambda:path/PATH"
BY_STREAM = URI.replace("PATH", "2021-11-15/functions/${Tell.Arn}/response-streaming-invocations")
AS_A_WHOLE = URI.replace("PATH", "2015-03-31/functions/${Tell.Arn}/invocations")

Found = list[tuple[str, int, str]]


def examine(template: str, code: str | None, name: str = "template.yaml") -> Found:
    """Return severity, line and words of what is found."""
    if code is not None:
        Path("app.py").write_text(code)
    Path(name).write_text(template)
    result = check_streams.examine(Path(name))
    return [(each.severity, each.line, f"{each.said} → {each.nearest}") for each in result.findings]


def severities(template: str, code: str | None) -> list[str]:
    return [severity for severity, _, _ in examine(template, code)]


def via(name: str) -> str:
    return TELL.replace("VIA", name)
