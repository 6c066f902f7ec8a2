"""`import lambdallm.auto` does what the layer's exec wrapper does, and costs nothing else."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings, strategies as st

import lambdallm
import lambdallm_wire

if TYPE_CHECKING:
    from collections.abc import Iterator

SDK = Path(lambdallm.__file__).parents[1]
WRAPPER = SDK.parent / "layer/exec-wrapper"
PATHS = [str(SDK), str(Path(lambdallm_wire.__file__).parents[1])]
AUTO = f"import sys; sys.path[:0] = {PATHS!r}; import lambdallm.auto; "
KEY = "lambdallm-0123456789abcdef"
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
    assert said(python(AUTO + SAY), variables) == said([str(WRAPPER), *python(SAY)], variables)


def test_a_second_time_changes_nothing() -> None:
    again = AUTO + "import importlib; importlib.reload(lambdallm.auto); "

    assert said(python(again + SAY), {"NO_PROXY": "a"}) == ["a,127.0.0.1,localhost"] * 2


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What a sidecar leaves while it listens; the folder."""
    directory = tmp_path_factory.mktemp("sidecar")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        (directory / "clients").write_text(f"{listener.getsockname()[1]} {KEY}\n")
        yield directory


ENVIRON = "import json, os; print(json.dumps(sorted(os.environ.items())))"
DIRECTED = st.sampled_from(
    [
        "OPENAI_BASE_URL",
        "OPENAI_API_KEY",
        "OPENAI_CUSTOM_HEADERS",
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
        "ANTHROPIC_BEDROCK_BASE_URL",
    ]
)
WORDS = st.sampled_from(
    ["", "https://one.example/v1", "x-a: b\nx-c: d", "lambdallm-token: z", "$A `"]
)


@given(
    variables=st.dictionaries(DIRECTED, WORDS),
    chosen=st.sampled_from(["", "off", "openai", "anthropic, bedrock", "bedrock,openai,"]),
    switch=st.sampled_from(["", "", "off"]),
)
@settings(max_examples=25, deadline=None)
@example(variables={}, chosen="", switch="")
@example(variables={"ANTHROPIC_AUTH_TOKEN": "$A `"}, chosen="", switch="")
def test_it_points_clients_where_the_wrapper_does(
    sidecar: Path, variables: dict[str, str], chosen: str, switch: str
) -> None:
    given = {
        **variables,
        "LAMBDALLM_DIRECTORY": str(sidecar),
        "LAMBDALLM_DROP_IN": chosen,
        "LAMBDALLM_SIDECAR": switch,
    }
    by_shell = {"PWD", "SHLVL", "OLDPWD", "_"}

    itself, behind = (
        said(python(AUTO + ENVIRON), given),
        said([str(WRAPPER), *python(ENVIRON)], given),
    )

    assert [pair for pair in behind if pair[0] not in by_shell] == itself
    both = said([str(WRAPPER), *python(AUTO + ENVIRON)], given)
    assert [pair for pair in both if pair[0] not in by_shell] == itself


def test_without_a_sidecar_clients_go_where_they_went(sidecar: Path, tmp_path: Path) -> None:
    say = "import json, os; print(json.dumps([n for n in os.environ if 'OPENAI' in n]))"
    port, _ = (sidecar / "clients").read_text().split()
    for left in ("", "x", f"{port} somebody", "1 lambdallm-x", "99999 lambdallm-x"):
        (tmp_path / "clients").write_text(left)
        assert said(python(AUTO + say), {"LAMBDALLM_DIRECTORY": str(tmp_path)}) == []


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


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9"}, True),
        ({}, False),
        ({"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9", "LAMBDALLM_DROP_IN": "off"}, False),
        ({"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9", "LAMBDALLM_SIDECAR": "off"}, False),
    ],
)
def test_in_lambda_one_line_says_that_clients_go_straight_to_their_apis(
    tmp_path: Path, variables: dict[str, str], says: bool
) -> None:
    done = subprocess.run(
        python(AUTO + "print('on')"),
        env={"LAMBDALLM_DIRECTORY": str(tmp_path), **variables},
        capture_output=True,
        check=True,
        text=True,
    )

    assert done.stdout == "on\n"
    line = (
        f"lambdallm: no sidecar listens (it leaves word in {tmp_path}): the clients of "
        "openai,anthropic,bedrock go straight to their APIs, unmetered.\n"
    )
    assert done.stderr == (line if says else "")
