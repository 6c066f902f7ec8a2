"""The function whose answer is streamed to its client: each chunk of the model as an event."""

from lambdallm import sse, stream_handler


@stream_handler(via="function-url", max_retries=0)
def handler(event, context):
    """Give the model's chunks on as they come."""
    for piece in context.stream("Go on.", model=f"bedrock/bench.{event['model']}", max_retries=0):
        yield sse(piece)
