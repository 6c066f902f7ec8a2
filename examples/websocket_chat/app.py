"""A chat over WebSockets: answers come word by word, and those in a room hear each other.

{"action": "ask", "message": "…"}     the model answers the one who asks
{"action": "tell", "message": "…"}    everybody in the room hears it
"""

from lambdallm import Session, stream_handler

ROOM = "lobby"  # one that everybody may hear; else let it come from who the client is proved to be


def connect(event, context):
    context.connections.add(ROOM)
    return {"statusCode": 200}


def disconnect(event, context):
    context.connections.remove()
    return {"statusCode": 200}


def ask(event, context):
    session = context.session
    session.add_message("user", event["body"]["message"])
    stream = context.stream(session.format_history())
    for piece in stream:
        yield {"type": "piece", "text": piece}
    session.add_message("assistant", stream.text)
    usd = None if context.unpriced_calls else context.total_cost
    yield {"type": "end", "usd": usd}


def tell(event, context):
    said = {"type": "told", "text": event["body"]["message"]}
    yield {"type": "heard", "by": context.connections.push(ROOM, said)}


def refuse(event, context):
    yield {"type": "refused", "text": 'Send {"action": "ask" or "tell", "message": "…"}.'}


CONNECTING = {"$connect": connect, "$disconnect": disconnect}
SAYING = {"ask": ask, "tell": tell}


@stream_handler(via="websocket", session=Session(store="dynamodb", ttl_hours=24))
def chat_handler(event, context):
    route = event["requestContext"]["routeKey"]
    if route in CONNECTING:
        return CONNECTING[route](event, context)
    body = event["body"]
    said = isinstance(body, dict) and isinstance(body.get("message"), str)
    return SAYING.get(route if said else "", refuse)(event, context)
