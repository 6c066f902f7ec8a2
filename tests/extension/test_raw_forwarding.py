"""What is never passed on, whoever asks."""

import pytest

from lambdallm_extension.raw_admission import Incoming, RefusedError
from lambdallm_extension.raw_forwarding import Forwarder


@pytest.mark.parametrize("path", ["/../x", "/a/..", "/%2e%2e/x", "/a/%252E%252e/b?c"])
def test_a_path_that_leaves_its_api_goes_nowhere(path: str) -> None:
    headers = [("host", "127.0.0.1:2772"), ("authorization", "Bearer k")]
    asked = Incoming("POST", f"/openai/v1{path}", headers, b"{}")

    with pytest.raises(RefusedError, match="dot segments") as refused:
        Forwarder("k", {"OPENAI_API_KEY": "sk"}).pass_on(asked)
    assert refused.value.status == 400
