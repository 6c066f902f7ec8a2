"""Which host is asked: held against botocore's rules, region by region."""

from itertools import product

import botocore.session
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config

from lambdallm_extension.aws.endpoints import arn_partition, resolve
from lambdallm_extension.errors import SettingError
from lambdallm_extension.http_client.proxies import pick_proxy
from lambdallm_extension.http_client.urls import parse_url
from lambdallm_extension.settings import Settings

REGIONS = [
    "us-east-1",
    "eu-central-1",
    "cn-north-1",
    "us-gov-west-1",
    "us-gov-east-1",
    "us-iso-east-1",
    "us-isob-east-1",
    "eu-isoe-west-1",
    "us-isof-south-1",
    "eusc-de-east-1",
]
WITHOUT_DUAL_STACK = ["eu-isoe-west-1", "us-isof-south-1"]


@pytest.fixture(scope="module")
def session():
    return botocore.session.Session()


def botocore_host(session, service, region, fips, dual_stack):
    class Raw:
        def stream(self, **_):
            empty = b"<a><GetCallerIdentityResult/></a>"
            return iter([empty if service == "sts" else b"{}"])

    client = session.create_client(
        "sagemaker-runtime" if service == "runtime.sagemaker" else service,
        region_name=region,
        aws_access_key_id="AKID",
        aws_secret_access_key="secret",
        config=Config(use_fips_endpoint=fips, use_dualstack_endpoint=dual_stack),
    )
    urls = []

    def capture(request, **_):
        urls.append(request.url)
        return AWSResponse(request.url, 200, {}, Raw())

    client.meta.events.register("before-send", capture)
    if service == "dynamodb":
        client.list_tables()
    elif service == "sts":
        client.get_caller_identity()
    elif service == "runtime.sagemaker":
        client.invoke_endpoint(EndpointName="e", Body=b"{}")
    else:
        client.invoke_model(modelId="m", body=b"{}")
    return urls[0].split("/")[2]


@pytest.mark.parametrize("region", REGIONS)
def test_arns_begin_with_the_regions_partition(session, region):
    assert arn_partition(region) == session.get_partition_for_region(region)


@pytest.mark.parametrize("service", ["dynamodb", "bedrock-runtime", "sts", "runtime.sagemaker"])
@pytest.mark.parametrize("region", REGIONS)
def test_hosts_equal_those_of_botocore(session, service, region):
    for fips, dual_stack in product((False, True), (False, True)):
        if dual_stack and region in WITHOUT_DUAL_STACK:
            continue
        settings = Settings.from_environ(
            {
                "AWS_REGION": region,
                "AWS_USE_FIPS_ENDPOINT": str(fips).lower(),
                "AWS_USE_DUALSTACK_ENDPOINT": str(dual_stack).lower(),
            }
        )

        url = resolve(service, settings)

        assert (url.scheme, url.port) == ("https", 443)
        assert url.host == botocore_host(session, service, region, fips, dual_stack)


def test_a_services_own_endpoint_goes_before_the_one_of_all():
    settings = Settings.from_environ(
        {
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:4566",
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "https://Vpce.Example:8443/base/",
        }
    )

    assert resolve("dynamodb", settings).authority == "127.0.0.1:4566"
    url = resolve("bedrock-runtime", settings)
    assert (url.scheme, url.host, url.port, url.path) == ("https", "vpce.example", 8443, "/base")


def test_sagemakers_endpoint_is_set_by_the_name_that_boto3_reads():
    settings = Settings.from_environ(
        {"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": "http://127.0.0.1:1"}
    )

    assert resolve("runtime.sagemaker", settings).authority == "127.0.0.1:1"


def test_without_a_region_the_error_says_what_to_set():
    with pytest.raises(SettingError, match="AWS_REGION"):
        resolve("dynamodb", Settings.from_environ({}))


@pytest.mark.parametrize("region", ["us east", "us-east-1.evil.example", "a/b", "é"])
def test_a_region_cannot_lead_to_another_host(region):
    with pytest.raises(SettingError, match="AWS_REGION"):
        resolve("dynamodb", Settings.from_environ({"AWS_REGION": region}))


@pytest.mark.parametrize(
    ("text", "authority", "path"),
    [
        ("http://localhost", "localhost", ""),
        ("http://localhost:80/", "localhost", ""),
        ("HTTPS://Host:443/a?q=1#f", "host", "/a"),
        ("http://[::1]:8000", "[::1]:8000", ""),
        ("http://user:pass@host:1", "host:1", ""),
    ],
)
def test_urls_are_taken_apart(text, authority, path):
    url = parse_url(text, "X")

    assert (url.authority, url.path) == (authority, path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host",
        "ftp://host",
        "http://",
        "http://:1",
        "http://h:x",
        "http://h:0",
        "http://h:65536",
        "http://h h",
        "http://h\r\nx: y",
    ],
)
def test_what_is_no_url_is_refused_by_the_settings_name(text):
    with pytest.raises(SettingError, match="AWS_ENDPOINT_URL"):
        parse_url(text, "AWS_ENDPOINT_URL")


@pytest.mark.parametrize(
    ("no_proxy", "direct"),
    [
        ("", False),
        ("*", True),
        ("amazonaws.com", True),
        (".amazonaws.com", True),
        ("*.amazonaws.com", True),
        ("other.example, DynamoDB.us-east-1.amazonaws.com", True),
        ("amazonaws.com:443", True),
        ("amazonaws.com:8443", False),
        ("ws.com", False),
    ],
)
def test_no_proxy_names_hosts_that_are_asked_directly(no_proxy, direct):
    url = parse_url("https://dynamodb.us-east-1.amazonaws.com", "X")
    environ = {"HTTPS_PROXY": "proxy.example:3128", "NO_PROXY": no_proxy}

    proxy = pick_proxy(url, environ)

    assert proxy is None if direct else proxy.authority == "proxy.example:3128"


def test_a_proxy_that_speaks_tls_itself_is_refused():
    with pytest.raises(SettingError, match="HTTPS_PROXY"):
        pick_proxy(parse_url("https://a.example", "X"), {"HTTPS_PROXY": "https://proxy.example"})
