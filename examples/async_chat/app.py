"""The chat as a coroutine: two questions to the model at once, one conversation."""

import asyncio

from lambdallm import Session, handler


@handler(session=Session(ttl_hours=24), input_schema={"message": str})
async def chat_handler(event, context):
    session = context.session
    session.add_message("user", event["body"]["message"])
    reply, title = await asyncio.gather(
        context.ainvoke(session.format_history()),
        context.ainvoke(
            "Give a title of at most five words to: {text}", text=event["body"]["message"]
        ),
    )
    session.add_message("assistant", reply)
    return {"statusCode": 200, "body": {"reply": reply, "title": title}}
