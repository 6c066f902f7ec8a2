"""llama.cpp's own server over a model of random weights: nonsense, with exact token counts.

    python -m fakes.tiny_llama FOLDER PORT

The vocabulary is the 256 bytes, so that a token is a byte. It says printable ASCII alone: where a
first token is half a character, llama.cpp leaves out the event that begins a message of
Anthropic's, and with it what was read. PyPI: gguf, xllamacpp.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import sys
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from fakes.child_servers import serve_in_child
from lambda_runtime_api.emulator.server import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDTH, HEADS, LAYERS, INNER, CONTEXT = 64, 4, 2, 128, 2_048
WEIGHTS = [
    *((f"attn_{part}", WIDTH, WIDTH) for part in ("q", "k", "v", "output")),
    ("ffn_gate", INNER, WIDTH),
    ("ffn_up", INNER, WIDTH),
    ("ffn_down", WIDTH, INNER),
]
SEED = 7
SPECIAL = 3
"""Tokens before the bytes."""
PRINTABLE = slice(SPECIAL + ord(" "), SPECIAL + ord("~") + 1)
TEMPLATE = "{% for message in messages %}[{{message['role']}}]{{message['content']}}{% endfor %}"
UNKNOWN, CONTROL, BYTE = 2, 3, 6
"""Types of tokens. Source: llama.cpp, `llama_token_type`."""


@contextlib.contextmanager
def serve_tiny_llama(folder: Path) -> Iterator[str]:
    """Serve on a free port of 127.0.0.1 until the block ends; the value is the base URL."""
    port = free_port()
    command = [sys.executable, "-m", "fakes.tiny_llama", str(folder), str(port)]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    with serve_in_child(command, folder, port, environ=environ, is_up=lambda: _is_healthy(port)):
        yield f"http://127.0.0.1:{port}"


def _is_healthy(port: int) -> bool:
    """Say whether the model is loaded: the server listens before that."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    with contextlib.closing(connection), contextlib.suppress(OSError):
        connection.request("GET", "/health")
        return connection.getresponse().status == HTTPStatus.OK
    return False


def write_model(path: Path) -> None:
    """Write a Llama of random weights, the same each time."""
    import gguf
    import numpy

    writer = gguf.GGUFWriter(path, "llama")
    random = numpy.random.default_rng(SEED)
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types([UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)

    def add(name: str, *shape: int) -> None:
        weights = random.standard_normal(shape) * 0.1
        writer.add_tensor(name, weights.astype(numpy.float32))

    ones = numpy.ones(WIDTH, numpy.float32)
    add("token_embd.weight", len(tokens), WIDTH)
    spoken = numpy.zeros((len(tokens), WIDTH), numpy.float32)
    spoken[PRINTABLE] = random.standard_normal(spoken[PRINTABLE].shape)
    writer.add_tensor("output.weight", spoken)
    writer.add_tensor("output_norm.weight", ones)
    for layer in range(LAYERS):
        writer.add_tensor(f"blk.{layer}.attn_norm.weight", ones)
        writer.add_tensor(f"blk.{layer}.ffn_norm.weight", ones)
        for part, *shape in WEIGHTS:
            add(f"blk.{layer}.{part}.weight", *shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def serve(folder: Path, port: int) -> None:
    """Serve until stdin ends, which it does with whoever started this."""
    import xllamacpp

    write_model(folder / "tiny.gguf")
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(folder / "tiny.gguf")
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = port
    parameters.n_ctx = CONTEXT
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = 1
    parameters.warmup = False
    server = xllamacpp.Server(parameters)
    sys.stdin.read()
    del server


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
