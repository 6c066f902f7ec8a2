"""Events as AWS documents them, cut to the fields that are looked at and some that are not.

Source: Lambda developer guide and API Gateway developer guide, sample events, 2026-11.
"""

from __future__ import annotations

import base64
import json
from typing import Any

BODY = '{"message": "Grüße", "session_id": "ada"}'


def rest_api(body: str | None = BODY, **changes: Any) -> dict[str, Any]:
    return {
        "resource": "/chat",
        "path": "/chat",
        "httpMethod": "POST",
        "headers": {"Accept": "*/*", "Content-Type": "application/json"},
        "multiValueHeaders": {"Accept": ["*/*"], "Content-Type": ["application/json"]},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "id",
            "httpMethod": "POST",
            "identity": {"sourceIp": "203.0.113.7"},
            "requestId": "id=",
            "stage": "$default",
        },
        "body": body,
        "isBase64Encoded": False,
        **changes,
    }


def http_api(body: str | None = BODY, **changes: Any) -> dict[str, Any]:
    event = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/chat",
        "rawQueryString": "",
        "headers": {"content-type": "application/json"},
        "requestContext": {
            "accountId": "123456789012",
            "http": {"method": "POST", "path": "/chat", "sourceIp": "203.0.113.7"},
            "requestId": "id",
            "routeKey": "$default",
        },
        "body": body,
        "isBase64Encoded": False,
        **changes,
    }
    if body is None:
        del event["body"]
    return event


def function_url(body: str | None = BODY, **changes: Any) -> dict[str, Any]:
    """What `curl -d` sends: the body is called a form and comes in base64."""
    encoded = None if body is None else base64.b64encode(body.encode()).decode()
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return http_api(encoded, headers=headers, isBase64Encoded=True, **changes)


def load_balancer(body: str | None = BODY, **changes: Any) -> dict[str, Any]:
    return {
        "requestContext": {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:…"}},
        "httpMethod": "POST",
        "path": "/chat",
        "queryStringParameters": {},
        "headers": {"content-type": "application/json", "host": "example.com"},
        "body": body,
        "isBase64Encoded": False,
        **changes,
    }


def load_balancer_with_lists(body: str | None = BODY) -> dict[str, Any]:
    event = load_balancer(body)
    event["multiValueHeaders"] = {name: [value] for name, value in event.pop("headers").items()}
    event["multiValueQueryStringParameters"] = event.pop("queryStringParameters")
    return event


def websocket(body: str | None = '{"action": "send", "message": "hi"}') -> dict[str, Any]:
    return {
        "requestContext": {
            "routeKey": "$default",
            "eventType": "MESSAGE",
            "connectionId": "Zm9vYmFyCg==",
            "domainName": "abc.execute-api.eu-central-1.amazonaws.com",
        },
        "body": body,
        "isBase64Encoded": False,
    }


HTTP = {
    "rest_api": rest_api,
    "http_api": http_api,
    "function_url": function_url,
    "load_balancer": load_balancer,
    "load_balancer_with_lists": load_balancer_with_lists,
}

SQS_RECORD = {
    "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
    "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a...",
    "body": "Test message.",
    "attributes": {"ApproximateReceiveCount": "1"},
    "eventSource": "aws:sqs",
    "eventSourceARN": "arn:aws:sqs:us-east-2:123456789012:my-queue",
    "awsRegion": "us-east-2",
}

SERVICE: dict[str, dict[str, Any]] = {
    "sqs": {"Records": [SQS_RECORD]},
    "sns": {
        "Records": [
            {
                "EventVersion": "1.0",
                "EventSource": "aws:sns",
                "Sns": {"MessageId": "95df01b4-ee98-5cb9-9903-4c221d41eb5e", "Message": "Hello!"},
            }
        ]
    },
    "kinesis": {
        "Records": [
            {
                "eventID": "shardId-000000000006:49590338271490256608559692538361571095921575989136",  # noqa: E501 - as the service writes it
                "eventSource": "aws:kinesis",
                "kinesis": {"data": "SGVsbG8=", "sequenceNumber": "4959"},
            }
        ]
    },
    "dynamodb": {
        "Records": [
            {
                "eventID": "c4ca4238a0b923820dcc509a6f75849b",
                "eventName": "INSERT",
                "eventSource": "aws:dynamodb",
            }
        ]
    },
    "s3": {"Records": [{"eventSource": "aws:s3", "s3": {"object": {"key": "test%2Fkey"}}}]},
    "eventbridge": {
        "version": "0",
        "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
        "detail-type": "EC2 Instance State-change Notification",
        "source": "aws.ec2",
        "detail": {"state": "terminated"},
    },
    "logs": {"awslogs": {"data": "H4sIAAAAAAAA"}},
    "kafka": {"eventSource": "aws:kafka", "records": {"mytopic-0": []}},
    "firehose": {"deliveryStreamArn": "arn:aws:firehose:…", "records": []},
    "cognito": {"version": "1", "triggerSource": "PreSignUp_SignUp", "request": {}},
    "authorizer": {"type": "TOKEN", "authorizationToken": "t", "methodArn": "arn:aws:…"},
    "custom_resource": {"RequestType": "Create", "ResponseURL": "https://example.com"},
}


def body_of(response: dict[str, Any]) -> Any:
    """Return a response's body, decoded."""
    return json.loads(response["body"])
