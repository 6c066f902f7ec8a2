"""A handler around the function's own, as OpenTelemetry's layer for Lambda has it."""

import importlib
import os

from opentelemetry import trace
from opentelemetry.instrumentation.aws_lambda import AwsLambdaInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

provider = TracerProvider()
exporter = ConsoleSpanExporter(formatter=lambda span: f"SPAN {span.name}\n")
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
AwsLambdaInstrumentor().instrument()  # patches the attribute that ORIG_HANDLER names
module, _, name = os.environ["ORIG_HANDLER"].rpartition(".")
lambda_handler = getattr(importlib.import_module(module), name)
