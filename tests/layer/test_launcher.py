"""Whatever is wrong with the layer or its Python, the function runs."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lambda_runtime_api.emulator import Environment

pytest.importorskip("awslambdaric", reason="AWS's runtime client is built for Linux")

FUNCTION = "def handler(event, context):\n    return {'echo': event}\n"


@pytest.fixture
def task(tmp_path: Path) -> Path:
    root = tmp_path / "task"
    root.mkdir()
    (root / "app.py").write_text(FUNCTION)
    return root


@pytest.fixture
def layer(opt: Path, tmp_path: Path) -> Path:
    return shutil.copytree(opt, tmp_path / "opt")


@pytest.fixture
def invoke(task: Path, layer: Path) -> Callable[..., list[str]]:
    """Invoke three times, see that it works, and return what the extension complained of."""

    def invoke(**variables: str) -> list[str]:
        with Environment(task, "app.handler", opt=layer, variables=variables) as environment:
            for number in range(3):
                invocation = environment.invoke({"n": number})
                assert (invocation.error_type, invocation.json()) == (None, {"echo": {"n": number}})
                assert invocation.cold == (number == 0)
            environment.shutdown()
            lines = [line.text for line in environment.logs if line.source == "extension"]
            return [line for line in lines if not line.startswith("lambdallm: started ")]

    return invoke


def bin_without_python(tmp_path: Path) -> str:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "sleep"):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    return str(folder)


def test_the_sidecar_starts_and_complains_of_nothing(invoke: Callable[..., list[str]]) -> None:
    assert invoke(LAMBDALLM_STORE="memory:", AWS_REGION="us-east-1") == []


@pytest.mark.skipif(Path("/var/lang/bin/python3").exists(), reason="this machine is Lambda's image")
def test_without_any_python_the_function_runs(
    invoke: Callable[..., list[str]], tmp_path: Path
) -> None:
    (line,) = invoke(PATH=bin_without_python(tmp_path))

    assert line.startswith("lambdallm: no Python was found")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("#!/bin/sh\nexit 0\n", "ended with status 0"),
        ("#!/bin/sh\nexit 1\n", "ended with status 1"),
        ("#!/bin/sh\nkill -SEGV $$\n", "ended with status 139"),
    ],
    ids=["does-nothing", "exits", "crashes"],
)
def test_with_a_python_that_is_none_the_function_runs(
    invoke: Callable[..., list[str]], tmp_path: Path, content: str, said: str
) -> None:
    fake = tmp_path / "python3"
    fake.write_text(content)
    fake.chmod(0o755)

    lines = invoke(LAMBDALLM_PYTHON=str(fake))

    assert said in lines[-1]


@pytest.mark.parametrize(
    "content", ["\x7fELF garbage", "#!/no/such/file\n"], ids=["exec-format", "no-interpreter"]
)
def test_a_python_that_cannot_be_executed_is_left_for_the_next_one(
    invoke: Callable[..., list[str]], tmp_path: Path, content: str
) -> None:
    fake = tmp_path / "python3"
    fake.write_text(content)
    fake.chmod(0o755)
    variables = {"LAMBDALLM_PYTHON": str(fake), "LAMBDALLM_STORE": "memory:"}

    with_another = invoke(**variables, AWS_REGION="us-east-1")
    alone = invoke(**variables, PATH=bin_without_python(tmp_path))

    assert "cannot be executed; looking for another one" in with_another[-1]
    assert f"{fake} cannot be executed; the function runs without" in alone[-1]


@pytest.mark.parametrize(
    ("module", "content"),
    [
        ("__main__.py", "this is no Python ("),
        ("__main__.py", "import a_module_that_is_not_there"),
        ("__main__.py", "def main():\n    raise RuntimeError('before register')\n"),
        ("__init__.py", "1 / 0"),
    ],
)
def test_with_a_sidecar_that_cannot_be_imported_the_function_runs(
    invoke: Callable[..., list[str]], layer: Path, module: str, content: str
) -> None:
    package = layer / "lambdallm/lambdallm_extension"
    shutil.rmtree(package / "__pycache__")
    (package / module).write_text(content)

    (line,) = invoke()

    assert "the sidecar cannot start" in line


@pytest.mark.parametrize("module", ["engine.py", "server/http.py", "services/chat.py"])
def test_with_a_sidecar_whose_features_are_broken_the_function_runs(
    invoke: Callable[..., list[str]], layer: Path, module: str
) -> None:
    broken = layer / "lambdallm/lambdallm_extension" / module
    shutil.rmtree(broken.parent / "__pycache__")
    broken.write_text("raise RuntimeError('broken feature')")

    (line,) = invoke(AWS_REGION="us-east-1", LAMBDALLM_STORE="memory:")

    assert "cannot serve" in line
    assert "broken feature" in line


def test_with_a_loop_that_is_broken_the_function_runs(
    invoke: Callable[..., list[str]], layer: Path
) -> None:
    package = layer / "lambdallm/lambdallm_extension"
    shutil.rmtree(package / "__pycache__")
    (package / "lifecycle.py").write_text("raise RuntimeError('broken loop')")

    (line,) = invoke(AWS_REGION="us-east-1", LAMBDALLM_STORE="memory:")

    assert "gives up" in line
    assert "broken loop" in line


def test_an_older_python_is_told_and_the_function_runs(
    invoke: Callable[..., list[str]], layer: Path
) -> None:
    main = layer / "lambdallm/main.py"
    main.write_text(main.read_text().replace("(3, 10)", "(99, 0)"))

    line = invoke()[-1]

    assert "is older than Python 3.10; the function runs without" in line


def test_a_port_that_is_taken_is_told_and_the_function_runs(
    invoke: Callable[..., list[str]], free_port: int
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", free_port))
        other.listen()
        lines = invoke(
            LAMBDALLM_PORT=str(free_port), AWS_REGION="us-east-1", LAMBDALLM_STORE="memory:"
        )

    assert lines
    assert f"Port {free_port} cannot be listened on" in lines[0]


def test_a_folder_that_cannot_be_written_is_told_and_the_function_runs(
    invoke: Callable[..., list[str]], tmp_path: Path
) -> None:
    blocked = tmp_path / "a-file"
    blocked.write_text("")

    for directory in (str(blocked), "/dev/null", "/proc/none"):
        (line,) = invoke(
            LAMBDALLM_DIRECTORY=directory, AWS_REGION="us-east-1", LAMBDALLM_STORE="memory:"
        )

        assert directory in line
        assert "set LAMBDALLM_DIRECTORY to one" in line


def test_a_folder_that_others_write_to_is_left_alone_and_the_function_runs(
    invoke: Callable[..., list[str]], tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)

    (line,) = invoke(
        LAMBDALLM_DIRECTORY=str(shared), AWS_REGION="us-east-1", LAMBDALLM_STORE="memory:"
    )

    assert "set LAMBDALLM_DIRECTORY to a directory of its own" in line
    assert stat.S_IMODE(shared.stat().st_mode) == 0o1777


@pytest.mark.parametrize(
    "variables",
    [
        {"BASH_ENV": "ends"},
        {"SHELLOPTS": "noexec"},
        {"SHELLOPTS": "xtrace"},
        {"BASH_FUNC_read%%": "() { exit 3; }", "BASH_FUNC_printf%%": "() { :; }"},
    ],
    ids=["script", "noexec", "xtrace", "functions"],
)
def test_what_other_shells_are_told_is_not_meant_for_the_launcher(
    invoke: Callable[..., list[str]], tmp_path: Path, variables: dict[str, str]
) -> None:
    script = tmp_path / "ends"
    script.write_text("exit 3\n")
    variables = {name: value.replace("ends", str(script)) for name, value in variables.items()}

    assert invoke(AWS_REGION="us-east-1", LAMBDALLM_STORE="memory:", **variables) == []


def test_wrong_settings_are_told_and_the_function_runs(invoke: Callable[..., list[str]]) -> None:
    lines = invoke(
        LAMBDALLM_PORT="many", LAMBDALLM_STORE="floppy:", LAMBDALLM_MODEL="nobody/nothing"
    )

    said = "\n".join(lines)
    assert "LAMBDALLM_PORT" in said
    assert "nobody" in said


def test_no_process_of_the_launcher_outlives_its_environment(
    task: Path, layer: Path, tmp_path: Path
) -> None:
    with Environment(
        task, "app.handler", opt=layer, variables={"LAMBDALLM_PYTHON": "/bin/false"}
    ) as environment:
        environment.invoke({})
        pids = list(environment.pids.values())
        assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize("moment", ["between", "during"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV], ids=["killed", "crashed"])
def test_the_function_outlives_its_sidecar(
    task: Path, layer: Path, moment: str, number: int
) -> None:
    """As when the kernel ends it, out of memory: no invocation fails, none waits."""
    (task / "app.py").write_text(
        "import os\ndef handler(event, context):\n"
        "    if event: os.kill(*event)\n"
        "    return os.getpid()\n"
    )
    variables = {"AWS_REGION": "us-east-1", "LAMBDALLM_STORE": "memory:"}
    with Environment(task, "app.handler", opt=layer, variables=variables) as environment:
        first = environment.invoke(None)
        environment.wait_until_idle()
        sidecar = child_of(environment.pids["lambdallm"])
        if moment == "between":
            os.kill(sidecar, number)
        answers = [environment.invoke([sidecar, number] if moment == "during" else None)]
        answers += [environment.invoke(None) for _ in range(3)]
        environment.wait_until_idle()

        assert [answer.json() for answer in answers] == [first.json()] * 4
        assert not any(answer.cold for answer in answers)
        assert [line.text for line in environment.logs if "ended with status" in line.text]


def child_of(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0])


class Api:
    """An Extensions API of few words: one connection after another, each with its reply."""

    def __init__(self, *replies: str) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "{}:{}".format(*self.listener.getsockname())
        self.requests: list[str] = []
        self.thread = threading.Thread(target=self._serve, args=[replies], daemon=True)
        self.thread.start()

    def _serve(self, replies: tuple[str, ...]) -> None:
        with self.listener:
            for reply in replies:
                connection, _ = self.listener.accept()
                with connection:
                    self.requests.append(read_request(connection))
                    connection.sendall(reply.replace("\n", "\r\n").encode())


def read_request(connection: socket.socket) -> str:
    """Read a request with its body; bash sends it line by line."""
    request = ""
    while True:
        request += connection.recv(65_536).decode()
        head, separator, body = request.partition("\r\n\r\n")
        if separator and len(body) >= int(head.partition("Content-Length: ")[2].split()[0]):
            return request


REGISTERED = "HTTP/1.1 200 OK\nLambda-Extension-Identifier: an-id\nContent-Length: 2\n\n{}"
REFUSED = (
    'HTTP/1.1 403 Forbidden\nContent-Length: 44\n\n{"errorType":  "Extension.InvalidEventType"}'
)
INVOKE_IN_CHUNKS = (
    'HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n16\n{"eventType":"INVOKE"}\n0\n\n'
)
SHUTDOWN = 'HTTP/1.1 200 OK\nContent-Length: 24\n\n{"eventType":"SHUTDOWN"}'


def run_launcher(layer: Path, api: Api, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [layer / "extensions/lambdallm"],
        env={"AWS_LAMBDA_RUNTIME_API": api.address, "PATH": os.environ["PATH"], **variables},
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
    )


def test_the_launcher_stands_in_until_shutdown(layer: Path) -> None:
    api = Api(REGISTERED, INVOKE_IN_CHUNKS, REFUSED, INVOKE_IN_CHUNKS, SHUTDOWN)

    ran = run_launcher(layer, api, LAMBDALLM_PYTHON="/bin/false")

    assert ran.returncode == 0
    assert len(api.requests) == 5
    assert all("Lambda-Extension-Identifier: an-id" in request for request in api.requests[1:])


def test_managed_instances_refuse_invoke_and_get_shutdown_alone(layer: Path) -> None:
    api = Api(REFUSED, REGISTERED, SHUTDOWN)

    ran = run_launcher(layer, api, LAMBDALLM_PYTHON="/bin/false")

    assert ran.returncode == 0
    bodies = [request.partition("\r\n\r\n")[2] for request in api.requests[:2]]
    assert bodies == ['{"events":["INVOKE","SHUTDOWN"]}', '{"events":["SHUTDOWN"]}']


def test_without_any_python_no_events_are_asked_for(layer: Path, tmp_path: Path) -> None:
    """So no invocation ever waits for the launcher."""
    api = Api(REGISTERED, SHUTDOWN)

    run_launcher(layer, api, PATH=bin_without_python(tmp_path))

    assert api.requests[0].endswith('{"events":[]}')
    assert "Lambda-Extension-Name: lambdallm\r\n" in api.requests[0]
