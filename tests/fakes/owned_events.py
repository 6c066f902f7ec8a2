"""Events of somebody who was let in, as each service in front of a function hands them on.

Each maker takes a user and the request's body, and the table says whose the event of `ada` is.
Source: Lambda, API Gateway, AppSync and VPC Lattice developer guides, 2026-11.
"""

from __future__ import annotations

import json
from typing import Any

import sample_events

POOL = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_abc"
ROLE = "arn:aws:sts::123456789012:assumed-role/Users/"


def rest(request: dict[str, Any], body: str) -> dict[str, Any]:
    event = sample_events.rest_api(body)
    event["requestContext"] = {**event["requestContext"], **request}
    return event


def http(authorizer: Any, body: str) -> dict[str, Any]:
    event = sample_events.http_api(body)
    event["requestContext"]["authorizer"] = authorizer
    return event


def rest_cognito(user: str, body: str) -> dict[str, Any]:
    claims = {"sub": user, "iss": POOL, "cognito:username": "same", "email": "same@example.com"}
    return rest({"authorizer": {"claims": claims}}, body)


def rest_lambda(user: str, body: str) -> dict[str, Any]:
    return rest({"authorizer": {"principalId": user, "integrationLatency": 7, "plan": "a"}}, body)


def rest_iam(user: str, body: str) -> dict[str, Any]:
    identity = {"accountId": "1", "caller": f"AROA:{user}", "userArn": ROLE + user}
    return rest({"identity": {**identity, "sourceIp": "203.0.113.7"}}, body)


def rest_identity_pool(user: str, body: str) -> dict[str, Any]:
    pooled = {"cognitoIdentityId": f"eu-central-1:{user}", "cognitoIdentityPoolId": "p"}
    return rest({"identity": {**pooled, "userArn": ROLE + "CognitoIdentityCredentials"}}, body)


def http_jwt(user: str, body: str) -> dict[str, Any]:
    return http({"jwt": {"claims": {"sub": user, "iss": POOL}, "scopes": None}}, body)


def http_lambda(user: str, body: str) -> dict[str, Any]:
    return http({"lambda": {"sub": user, "plan": "a"}}, body)


def http_iam(user: str, body: str) -> dict[str, Any]:
    iam = {"accessKey": "ASIA", "cognitoIdentity": None, "userArn": ROLE + user, "userId": "x"}
    return http({"iam": iam}, body)


def http_identity_pool(user: str, body: str) -> dict[str, Any]:
    pooled = {"amr": ["authenticated"], "identityId": f"eu:{user}", "identityPoolId": "p"}
    return http({"iam": {"cognitoIdentity": pooled, "userArn": ROLE + "Same"}}, body)


def http_format_1(user: str, body: str) -> dict[str, Any]:
    claims = {"sub": user, "iss": POOL}
    event = rest({"authorizer": {"claims": claims, "scopes": None}}, body)
    return {**event, "version": "1.0"}


def function_url(user: str, body: str) -> dict[str, Any]:
    event = sample_events.function_url(body)
    event["requestContext"]["authorizer"] = {
        "iam": {"accessKey": "A", "cognitoIdentity": None, "userArn": ROLE + user}
    }
    return event


def websocket(user: str, body: str) -> dict[str, Any]:
    event = sample_events.websocket(body)
    event["requestContext"]["authorizer"] = {"principalId": user, "integrationLatency": 3}
    return event


def lattice(user: str, body: str) -> dict[str, Any]:
    return {
        "version": "2.0",
        "path": "/chat",
        "method": "POST",
        "headers": {"content-type": ["application/json"]},
        "requestContext": {
            "serviceArn": "arn:aws:vpc-lattice:…",
            "identity": {"type": "AWS_IAM", "principal": ROLE + user, "principalOrgID": "o"},
        },
        "body": body,
        "isBase64Encoded": False,
    }


def app_sync(identity: Any, body: str) -> dict[str, Any]:
    return {
        "arguments": {"input": json.loads(body)},
        "identity": identity,
        "source": None,
        "request": {"headers": {"x-forwarded-for": "203.0.113.7"}},
        "info": {"fieldName": "chat", "parentTypeName": "Mutation", "variables": {}},
    }


def app_sync_cognito(user: str, body: str) -> dict[str, Any]:
    claims = {"sub": user, "iss": POOL}
    return app_sync({"sub": user, "issuer": POOL, "username": "same", "claims": claims}, body)


def app_sync_iam(user: str, body: str) -> dict[str, Any]:
    return app_sync({"accountId": "1", "userArn": ROLE + user, "username": "AROA:same"}, body)


def app_sync_lambda(user: str, body: str) -> dict[str, Any]:
    return app_sync({"resolverContext": {"sub": user}}, body)


SHAPES = {
    "REST API, Cognito": (rest_cognito, f"jwt:{POOL}|ada"),
    "REST API, Lambda authorizer": (rest_lambda, "lambda:ada"),
    "REST API, IAM": (rest_iam, f"iam:{ROLE}ada"),
    "REST API, identity pool": (rest_identity_pool, "cognito:eu-central-1:ada"),
    "HTTP API, JWT": (http_jwt, f"jwt:{POOL}|ada"),
    "HTTP API, JWT, format 1.0": (http_format_1, f"jwt:{POOL}|ada"),
    "HTTP API, Lambda authorizer": (http_lambda, "lambda:ada"),
    "HTTP API, IAM": (http_iam, f"iam:{ROLE}ada"),
    "HTTP API, identity pool": (http_identity_pool, "cognito:eu:ada"),
    "function URL, AWS_IAM": (function_url, f"iam:{ROLE}ada"),
    "WebSocket API, Lambda authorizer": (websocket, "lambda:ada"),
    "VPC Lattice, AWS_IAM": (lattice, f"iam:{ROLE}ada"),
    "AppSync, Cognito or OIDC": (app_sync_cognito, f"jwt:{POOL}|ada"),
    "AppSync, IAM": (app_sync_iam, f"iam:{ROLE}ada"),
    "AppSync, Lambda": (app_sync_lambda, "lambda:ada"),
}
