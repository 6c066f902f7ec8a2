"""docs/openapi.json says what the wire package says."""

import importlib.util
import json
from pathlib import Path

from lambdallm_wire import routes

DOCS = Path(__file__).parents[2] / "docs"


def test_the_document_is_the_one_made_from_the_messages() -> None:
    spec = importlib.util.spec_from_file_location("generate_openapi", DOCS / "generate_openapi.py")
    assert spec is not None
    assert spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)

    assert (DOCS / "openapi.json").read_text(encoding="utf-8") == generator.text(), (
        "Run python docs/generate_openapi.py."
    )


def test_every_route_is_described() -> None:
    document = json.loads((DOCS / "openapi.json").read_text(encoding="utf-8"))

    for route in routes.ROUTES:
        operation = document["paths"][route.path][route.method.lower()]
        kind = "application/x-ndjson" if route is routes.STREAM else "application/json"
        name = operation["responses"]["200"]["content"][kind]["schema"]["$ref"]
        assert document["components"]["schemas"][name.rsplit("/", 1)[1]]["properties"]
