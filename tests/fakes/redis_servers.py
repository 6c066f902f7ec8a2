"""Real Redis servers in child processes, alone, over TLS, and as a cluster."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis

from lambda_runtime_api.emulator.server import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

STARTING_SECONDS = 30
SLOTS = 16_384


def needs_redis() -> str:
    """Return where `redis-server` is, or skip the test."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("there is no redis-server on the PATH (Debian: apt-get install redis-server)")
    return program


class RedisServer:
    """One server on a port of its own, which it keeps when it is started again.

    Attributes:
        url: Where it is.
        admin: A client of others for looking and for settings.
    """

    def __init__(self, folder: Path, *options: str, ca: Path | None = None) -> None:
        """Name it; `start` starts it.

        Args:
            folder: For its file and its log.
            options: Further arguments.
            ca: If it speaks TLS alone, whom to trust.
        """
        self._program = needs_redis()
        self._folder = folder
        self._options = options
        self.port = free_port()
        self.url = f"redis{'s' if ca else ''}://127.0.0.1:{self.port}"
        trust: dict[str, Any] = {"ssl": True, "ssl_ca_certs": str(ca)} if ca else {}
        self.admin = redis.Redis("127.0.0.1", self.port, **trust)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._folder.mkdir(exist_ok=True)
        plain = () if "--tls-port" in self._options else ("--port", str(self.port))
        command = (
            self._program, "--bind", "127.0.0.1", *plain, "--dir", str(self._folder),
            "--save", "", "--appendonly", "yes", "--appendfsync", "always",
            "--enable-debug-command", "local", *self._options,
        )  # fmt: skip
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        give_up = time.monotonic() + STARTING_SECONDS
        while True:
            with contextlib.suppress(redis.RedisError):
                self.admin.ping()
                return
            if self._process.poll() is not None or time.monotonic() > give_up:
                pytest.fail((self._folder / "log").read_text()[-2000:])
            time.sleep(0.01)

    def kill(self) -> None:
        """End it as a crash does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Let it hang: its connections stay, and say nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self.admin.close()
        if self._process is not None and self._process.poll() is None:
            self.kill()


@contextlib.contextmanager
def serve_redis(folder: Path, *options: str) -> Iterator[RedisServer]:
    """Serve until the block ends."""
    server = RedisServer(folder, *options)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def serve_redis_over_tls(folder: Path) -> Iterator[tuple[RedisServer, Path]]:
    """Serve over TLS with a certificate for 127.0.0.1; the authority's file beside the server."""
    folder.mkdir(exist_ok=True)
    authority = make_certificates(folder)
    port = free_port()
    options = (
        "--port", "0", "--tls-port", str(port), "--tls-cert-file", str(folder / "server.pem"),
        "--tls-key-file", str(folder / "server.key"), "--tls-ca-cert-file", str(authority),
        "--tls-auth-clients", "no",
    )  # fmt: skip
    server = RedisServer(folder, *options, ca=authority)
    server.port, server.url = port, f"rediss://127.0.0.1:{port}"
    server.admin = redis.Redis("127.0.0.1", port, ssl=True, ssl_ca_certs=str(authority))
    try:
        server.start()
        yield server, authority
    finally:
        server.stop()


def make_certificates(folder: Path) -> Path:
    """Make an authority and what it says of 127.0.0.1; return the authority's file."""

    def openssl(*arguments: str) -> None:
        subprocess.run(("openssl", *arguments), cwd=folder, check=True, capture_output=True)

    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl on the PATH")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=tests")
    openssl("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=redis")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-out", "server.pem", "-extfile", "names")  # fmt: skip
    return folder / "ca.pem"


@contextlib.contextmanager
def serve_redis_cluster(folder: Path) -> Iterator[list[RedisServer]]:
    """Serve a cluster of three primaries without replicas."""
    with contextlib.ExitStack() as stack:
        nodes = []
        for number in range(3):
            options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
            # For the nodes' own talk, by default 10,000 above, where another one may listen.
            bus = ("--cluster-port", str(free_port()))
            nodes.append(stack.enter_context(serve_redis(folder / f"{number}", *options, *bus)))
        shares = [SLOTS * number // 3 for number in range(4)]
        for number, node in enumerate(nodes):
            slots = range(shares[number], shares[number + 1])
            node.admin.execute_command("CLUSTER", "ADDSLOTS", *slots)
            node.admin.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in nodes[1:]:
            bus_port = int(node.admin.config_get("cluster-port")["cluster-port"])
            nodes[0].admin.execute_command("CLUSTER", "MEET", "127.0.0.1", node.port, bus_port)
        wait_for_cluster(nodes)
        yield nodes


def wait_for_cluster(nodes: list[RedisServer]) -> None:
    """Return when every node serves, which one that has started does after two seconds."""
    give_up = time.monotonic() + STARTING_SECONDS
    while not all(_is_whole(node) for node in nodes):
        if time.monotonic() > give_up:
            pytest.fail("the cluster does not come together")
        time.sleep(0.02)


def _is_whole(node: RedisServer) -> bool:
    state: bytes = node.admin.execute_command("CLUSTER", "INFO")
    slots: list[Any] = node.admin.execute_command("CLUSTER", "SLOTS")
    return b"cluster_state:ok" in state and len(slots) == 3
