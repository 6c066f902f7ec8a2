"""Items that somebody else wrote into the table, or changed, are named and never misread."""

import boto3
import pytest

from lambdallm_extension.errors import StoreRefusedError
from lambdallm_extension.settings import SystemClock

TABLE = "lambdallm-contract"


@pytest.fixture
def write(ministack, key):
    """Write an item with AWS's own client."""
    client = boto3.client(
        "dynamodb",
        endpoint_url=ministack,
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )

    def put(**attributes):
        item = {"pk": {"S": key.pk}, "sk": {"S": key.sk}, **attributes}
        client.put_item(TableName=TABLE, Item=item)

    yield put
    client.close()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"B": b"sesame"}, "type B"),
        ({"SS": ["sesame"]}, "type SS"),
        ({"N": "1.5"}, "the number 1.5, which is not whole"),
        ({"L": [{"M": {"x": {"B": b"sesame"}}}]}, "type B"),
    ],
)
@pytest.mark.parametrize("name", ["odd", "expires_at"])
def test_a_value_that_is_none_of_ours_is_named_with_its_item(
    direct, write, key, value, words, name
):
    write(**{name: value})
    deadline_ms = SystemClock().epoch_ms() + 5_000

    for read in (direct.get, lambda key, **more: direct.query(key.pk, "", **more)):
        with pytest.raises(StoreRefusedError) as refused:
            read(key, deadline_ms=deadline_ms)
        said = refused.value.detail
        assert f"pk={key.pk!r} sk={key.sk!r}" in said
        assert f"{name!r} holds" in said
        assert words in said
        assert "Mend or delete it" in said
        assert "sesame" not in said


@pytest.mark.parametrize("value", [{"BOOL": True}, {"S": "x"}, {"NULL": True}])
def test_an_expiry_that_is_no_time_ends_nothing(direct, write, key, deadline_ms, value):
    write(expires_at=value, n={"N": "1"})

    item = direct.get(key, deadline_ms=deadline_ms)
    assert (item.attributes, item.expires_at) == ({"n": 1}, None)
