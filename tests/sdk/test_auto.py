"""`import lambdallm.auto` does what the layer's exec wrapper does, and costs nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings, strategies as st

import lambdallm

SDK = Path(lambdallm.__file__).parents[1]
WRAPPER = SDK.parent / "layer/exec-wrapper"
SAY = "import json, os; print(json.dumps([os.environ['NO_PROXY'], os.environ['no_proxy']]))"

HOSTS = st.lists(
    st.sampled_from(["127.0.0.1", "localhost", "in.example", "*", ".example", "", "x127.0.0.1"]),
    max_size=4,
).map(",".join)


def said(command: list[str], variables: dict[str, str]) -> list[str]:
    done = subprocess.run(
        command, env={"PATH": "/usr/bin:/bin", **variables}, capture_output=True, check=True
    )
    both: list[str] = json.loads(done.stdout)
    return both


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


@given(variables=st.dictionaries(st.sampled_from(["NO_PROXY", "no_proxy"]), HOSTS | st.just("a b")))
@settings(max_examples=25)
@example(variables={})
@example(variables={"NO_PROXY": "*"})
@example(variables={"NO_PROXY": "in.example,*", "no_proxy": "out.example"})
def test_it_leaves_the_environment_that_the_wrapper_leaves(variables: dict[str, str]) -> None:
    itself = f"import sys; sys.path.insert(0, {str(SDK)!r}); import lambdallm.auto; "

    assert said(python(itself + SAY), variables) == said([str(WRAPPER), *python(SAY)], variables)


def test_a_second_time_changes_nothing() -> None:
    again = (
        f"import sys; sys.path.insert(0, {str(SDK)!r}); import lambdallm.auto; "
        "import importlib; importlib.reload(lambdallm.auto); "
    )

    assert said(python(again + SAY), {"NO_PROXY": "a"}) == ["a,127.0.0.1,localhost"] * 2


@pytest.mark.parametrize("client", ["httpx", "requests", "urllib.request"])
def test_clients_of_others_go_past_a_proxy_that_is_dead(client: str, free_port: int) -> None:
    """They read the proxy from the environment, each in its own way."""
    ask = {
        "httpx": "httpx.get(url).text",
        "requests": "requests.get(url).text",
        "urllib.request": "urllib.request.urlopen(url).read().decode()",
    }[client]
    pytest.importorskip(client)
    code = f"""
import http.server, json, threading
import lambdallm.auto
import {client}
class Ok(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *_): pass
said = []
with http.server.HTTPServer(("127.0.0.1", 0), Ok) as server:
    threading.Thread(target=server.serve_forever).start()
    for host in ("127.0.0.1", "localhost"):
        url = f"http://{{host}}:{{server.server_port}}/"
        said.append({ask})
    server.shutdown()
print(json.dumps(said))
"""
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy"), f"http://127.0.0.1:{free_port}")

    assert said([sys.executable, "-c", code], proxies) == ["ok", "ok"]
