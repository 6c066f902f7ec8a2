"""An AWS account as far as the doctor looks at it: Lambda, IAM, STS and Bedrock's control plane.

No server that can be had simulates policies or answers for models as AWS does; real boto3 asks
this one. Shapes: API references of Lambda, IAM, STS and Bedrock, 2026-11.
"""

from __future__ import annotations

import json
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

NOT_FOUND = "ResourceNotFoundException"


class AwsAccount:
    """Serves until it is closed; tests change its attributes.

    Attributes:
        functions, layers, models, profiles, availability: What there is, by name, ARN or id.
        denied: Actions that the simulated role may not do, with IAM's decision.
        invoked: Asynchronous invocations, each a function's name and its event.
        refusals: AWS's error code for an API call, by its name, such as `GetCallerIdentity`.
        ahead_seconds: How far its clock is ahead.
    """

    def __init__(self) -> None:
        self.functions: dict[str, dict[str, Any]] = {}
        self.layers: dict[str, dict[str, Any]] = {}
        self.models: dict[str, dict[str, Any]] = {}
        self.profiles: dict[str, dict[str, Any]] = {}
        self.availability: dict[str, Any] = {
            "agreementAvailability": {"status": "AVAILABLE"},
            "authorizationStatus": "AUTHORIZED",
            "entitlementAvailability": "AVAILABLE",
            "regionAvailability": "AVAILABLE",
        }
        self.denied: dict[str, str] = {}
        self.invoked: list[tuple[str, Any]] = []
        self.refusals: dict[str, tuple[int, str]] = {}
        self.ahead_seconds = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.account = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def query(self, form: dict[str, list[str]]) -> str:
        """Answer IAM or STS in XML."""
        if form["Action"] == ["GetCallerIdentity"]:
            return (
                "<GetCallerIdentityResponse><GetCallerIdentityResult>"
                "<Arn>arn:aws:iam::123456789012:user/ada</Arn><UserId>A</UserId>"
                "<Account>123456789012</Account>"
                "</GetCallerIdentityResult></GetCallerIdentityResponse>"
            )
        actions = [values[0] for name, values in form.items() if name.startswith("ActionNames.")]
        members = "".join(
            f"<member><EvalActionName>{action}</EvalActionName>"
            f"<EvalDecision>{self.denied.get(action, 'allowed')}</EvalDecision></member>"
            for action in actions
        )
        return (
            "<SimulatePrincipalPolicyResponse><SimulatePrincipalPolicyResult>"
            f"<EvaluationResults>{members}</EvaluationResults>"
            "</SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>"
        )

    def find(self, path: str, query: dict[str, list[str]]) -> tuple[str, Any]:
        """Return the API call's name, and what there is (None: nothing)."""
        kind, _, name = path.strip("/").partition("/")
        if kind == "2015-03-31":
            return "GetFunctionConfiguration", self.functions.get(name.split("/")[1])
        if kind == "2018-10-31":
            return "GetLayerVersion", self.layers.get(query["Arn"][0])
        if kind == "foundation-model-availability":
            return "GetFoundationModelAvailability", {"modelId": name, **self.availability}
        if kind == "foundation-models":
            model = self.models.get(name)
            return "GetFoundationModel", model and {"modelDetails": {"modelId": name, **model}}
        if name:
            return "GetInferenceProfile", self.profiles.get(name)
        ids = [{"inferenceProfileId": each} for each in self.profiles]
        return "ListInferenceProfiles", {"inferenceProfileSummaries": ids}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def account(self) -> AwsAccount:
        return self.server.account  # type: ignore[attr-defined, no-any-return]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        if self.path.startswith("/2015-03-31/"):
            self._invoke(body)
            return
        form = parse_qs(body)
        refusal = self.account.refusals.get(form["Action"][0])
        if refusal is None:
            self._send(200, self.account.query(form), "text/xml")
            return
        status, code = refusal
        error = f"<Error><Code>{code}</Code><Message>Told so.</Message></Error>"
        self._send(status, f"<ErrorResponse>{error}</ErrorResponse>", "text/xml")

    def _invoke(self, body: str) -> None:
        name = unquote(self.path).split("/")[3]
        status, code = self.account.refusals.get("Invoke", (202, ""))
        if not code:
            assert self.headers["x-amz-invocation-type"] == "Event"
            self.account.invoked.append((name, json.loads(body)))
        self._send(status, '{"message": "Told so."}' if code else "", "application/json", code)

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        call, found = self.account.find(unquote(url.path), parse_qs(url.query))
        status, code = self.account.refusals.get(
            call, (404, NOT_FOUND) if found is None else (0, "")
        )
        if code:
            self._send(status, json.dumps({"message": "Told so."}), "application/json", code)
        else:
            self._send(200, json.dumps(found), "application/json")

    def _send(self, status: int, body: str, content_type: str, code: str = "") -> None:
        self.send_response_only(status)
        self.send_header("date", formatdate(time.time() + self.account.ahead_seconds, usegmt=True))
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        if code:
            self.send_header("x-amzn-errortype", code)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: Any) -> None:
        """Stay silent."""
