"""Whose key a request goes on with that is passed on raw."""

import pytest

from lambdallm_extension.raw_admission import Admission, Incoming, RefusedError

ARN = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:openai-AbCdEf"
CLIENT_KEY = "lambdallm-0123"


@pytest.mark.parametrize("brought", [ARN, CLIENT_KEY])
def test_the_name_of_a_secret_is_no_key_and_leaves_for_nobody(brought: str) -> None:
    admission = Admission(CLIENT_KEY, {"OPENAI_API_KEY": ARN})
    asked = Incoming("POST", "/x", [("authorization", f"Bearer {brought}")], b"{}")

    with pytest.raises(RefusedError, match="Secrets Manager") as refused:
        admission.key_headers(asked, ("OPENAI_API_KEY",))
    assert refused.value.status == 503
