"""A bare runtime that speaks the Runtime API over a socket, and answers as its event says.

    {"steps": [["chunk", "one"], ["gate", "/a/file"], ["fail", "ValueError", {…}]]}

Behind a service that speaks HTTP the plan is the request's body. What the runtime is told, and what
breaks, it prints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

INTEGRATION_RESPONSE = "application/vnd.awslambda.http-integration-response"
TRAILERS = "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body"
END: tuple[list[Any], ...] = (["end"], ["told"])

BOOTSTRAP = r"""#!/usr/bin/env python3
import base64, http.client, json, os, socket, threading, time

API = os.environ["AWS_LAMBDA_RUNTIME_API"]
HOST, PORT = API.split(":")
RUNTIME = "/2018-06-01/runtime/invocation/"

def ask_next():
    api = http.client.HTTPConnection(API)
    api.request("GET", RUNTIME + "next")
    answer = api.getresponse()
    return answer.status, answer.headers["Lambda-Runtime-Aws-Request-Id"], json.loads(answer.read())

def say(*words):
    print(*words, flush=True)

def post(request_id, plan, said):
    api = http.client.HTTPConnection(API)
    api.request("POST", RUNTIME + request_id + "/" + said, plan[said], plan.get("headers", {}))
    answer = api.getresponse()
    say("told", answer.status, answer.read().decode().strip())

def stream(request_id, plan):
    connection = socket.create_connection((HOST, int(PORT)))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    headers = {"Host": API, "Transfer-Encoding": "chunked", "Content-Type": "text/plain",
               "Lambda-Runtime-Function-Response-Mode": "streaming", "Trailer": TRAILERS,
               **plan.get("headers", {})}
    lines = ["POST %s%s/response HTTP/1.1" % (RUNTIME, plan.get("id", request_id))]
    lines += ["%s: %s" % header for header in headers.items() if header[1]]
    connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    for step, *values in plan["steps"]:
        if step == "chunk":
            data = values[0].encode("latin-1")
            connection.sendall(b"%x\r\n%b\r\n" % (len(data), data))
        elif step == "flood":
            data = b"x" * 65_536
            for _ in range(values[0] // len(data)):
                connection.sendall(b"%x\r\n%b\r\n" % (len(data), data))
            rest = values[0] % len(data)
            if rest:
                connection.sendall(b"%x\r\n%b\r\n" % (rest, data[:rest]))
        elif step == "gate":
            while not os.path.exists(values[0]):
                time.sleep(0.005)
        elif step == "pause":
            time.sleep(values[0])
        elif step == "end":
            connection.sendall(b"0\r\n\r\n")
        elif step == "fail":
            body = base64.b64encode(json.dumps(values[1]).encode()).decode()
            trailers = dict(zip(TRAILERS.split(", "), [values[0], body]))
            lines = ["0", *("%s: %s" % trailer for trailer in trailers.items())]
            connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        elif step == "raw":
            connection.sendall(values[0].encode("latin-1"))
        elif step == "half":
            connection.shutdown(socket.SHUT_WR)
        elif step == "next":
            say("next", *ask_next()[::2])
        elif step == "early":
            api = http.client.HTTPConnection(API)
            api.request("GET", RUNTIME + "next")
            connection.close()
            answer = api.getresponse()
            answer.read()
            following = answer.headers["Lambda-Runtime-Aws-Request-Id"]
            post(following, {"response": '"early"'}, "response")
        elif step == "error":
            post(request_id, {"error": values[0]}, "error")
        elif step == "say":
            say(*values)
        elif step == "exit":
            os._exit(values[0])
        elif step == "told":
            answer = b""
            while piece := connection.recv(65_536):
                answer += piece
                head, _, body = answer.partition(b"\r\n\r\n")
                if body.endswith((b"}", b"}\n")):
                    break
            say("told", answer.split()[1].decode() if answer else "nothing",
                answer.partition(b"\r\n\r\n")[2].decode().strip())
    connection.close()

def serve():
    while True:
        _, request_id, event = ask_next()
        plan = event
        if isinstance(event, dict) and isinstance(event.get("body"), str):
            try:
                plan = json.loads(event["body"])
            except ValueError:
                pass  # somebody's text
        try:
            if not isinstance(plan, dict) or not {"steps", "response", "error"} & set(plan):
                say("event", json.dumps(event))
                post(request_id, {"response": json.dumps(event)}, "response")
            elif "steps" in plan:
                stream(request_id, plan)
            else:
                post(request_id, plan, "error" if "error" in plan else "response")
        except OSError as error:
            say("broken", type(error).__name__)

for _ in range(int(os.environ.get("AWS_LAMBDA_MAX_CONCURRENCY", "1"))):
    threading.Thread(target=serve).start()
""".replace("TRAILERS", repr(TRAILERS))


def write_runtime(folder: Path) -> Path:
    """Make a task root of it."""
    folder.mkdir(exist_ok=True)
    (folder / "bootstrap").write_text(BOOTSTRAP)
    (folder / "bootstrap").chmod(0o755)
    return folder


def plan(*steps: list[Any], **more: Any) -> dict[str, Any]:
    """Make an event: the steps of a streamed answer."""
    return {"steps": list(steps), **more}


def chunks(*texts: str) -> list[list[Any]]:
    """Make the steps that send these."""
    return [["chunk", text] for text in texts]


def prelude(metadata: str) -> list[Any]:
    """Make the step that sends a prelude."""
    return ["chunk", metadata + "\0" * 8]
