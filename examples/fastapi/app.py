"""A FastAPI app behind AWS Lambda Web Adapter, with conversations that last.

The adapter turns each invocation into a request and adds the invocation's context to it, as JSON
in `x-amzn-lambda-context`. With that, a decorated handler serves a route as it serves a function.
"""

import json
import time

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool

from lambdallm import Session, handler

app = FastAPI()


@handler(session=Session(store="dynamodb", ttl_hours=24))
def chat(event, context):
    session = context.session
    session.add_message("user", event["body"]["message"])
    response = context.invoke(session.format_history())
    session.add_message("assistant", response)
    return {"statusCode": 200, "body": {"reply": response}}


class Invocation:
    """The Lambda context of a request: whose invocation it is, and how long it may take."""

    def __init__(self, header):
        forwarded = json.loads(header)
        self.aws_request_id = forwarded["request_id"]
        self.invoked_function_arn = forwarded["invoked_function_arn"]
        self._deadline_ms = forwarded["deadline"]  # epoch

    def get_remaining_time_in_millis(self):
        return max(0, self._deadline_ms - int(time.time() * 1_000))


@app.get("/")
def ready():
    """Tell the adapter that the app is up."""
    return {"ready": True}


@app.post("/chat")
async def post_chat(request: Request):
    event = {
        "version": "2.0",
        "requestContext": {"http": {"method": request.method, "path": request.url.path}},
        "headers": dict(request.headers),
        "body": (await request.body()).decode(),
        "isBase64Encoded": False,
    }
    invocation = Invocation(request.headers["x-amzn-lambda-context"])
    answer = await run_in_threadpool(chat, event, invocation)
    return Response(answer["body"], answer["statusCode"], answer.get("headers"), "application/json")
