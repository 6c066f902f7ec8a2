"""A function whose answer is streamed; its handler has to be decorated when it is imported."""

import time

from lambdallm import stream_handler


@stream_handler(via="invoke")
def stream(event, context):
    """Answer in five chunks, half a second apart; fail after three of them where that is asked."""
    for number in range(3 if event.get("fail") else 5):
        yield f"{number} {time.time()}\n"
        time.sleep(0.5)
    if event.get("fail"):
        raise LookupError("asked for")
