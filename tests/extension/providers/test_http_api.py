"""What is sent to APIs that are asked with a key, byte by byte."""

import socket
import threading

import pytest

from lambdallm_extension.aws.credentials import CredentialSource
from lambdallm_extension.aws.secrets import Secrets
from lambdallm_extension.configuration import ProviderSettings
from lambdallm_extension.errors import ProviderError
from lambdallm_extension.providers import Surroundings
from lambdallm_extension.providers.openai.api import open_openai
from lambdallm_extension.settings import Settings, SystemClock

ASKED = {"messages": [{"role": "user", "content": "Hi"}]}


def test_what_the_configuration_says_of_headers_is_sent_once_and_wins() -> None:
    heads: list[list[bytes]] = []

    def refuse(listener: socket.socket) -> None:
        line, _ = listener.accept()
        with line:
            heads.append(line.recv(65_536).lower().split(b"\r\n"))
            line.sendall(b"HTTP/1.1 400 No\r\ncontent-length: 2\r\n\r\n{}")

    headers = {"Authorization": "Token own", "Content-Type": "application/vnd.own+json"}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        answering = threading.Thread(target=refuse, args=(listener,))
        answering.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        settings, clock = Settings.from_environ({}), SystemClock()
        credentials = CredentialSource(settings, clock)
        configured = ProviderSettings("openai", base_url=url, api_key="k", headers=headers)
        secrets = Secrets(settings, credentials, clock)
        provider = open_openai(
            "openai", Surroundings(settings, credentials, secrets, clock, configured)
        )
        with pytest.raises(ProviderError):
            provider.chat("m", ASKED, deadline_ms=clock.epoch_ms() + 5_000)  # type: ignore[arg-type]
        provider.close()
        answering.join(5)

    (head,) = heads
    for name, value in headers.items():
        line = f"{name}: {value}".lower().encode()
        assert [said for said in head if said.startswith(name.lower().encode())] == [line]
