"""TLS and proxies: whom the client trusts, and how it gets there."""

import _socket
import socket
import ssl
import threading
import time

import pytest

from lambda_runtime_api import http1
from lambdallm_extension.aws.client import AnswerLostError, NotSentError
from lambdallm_extension.errors import DeadlineError, SettingError
from lambdallm_extension.http_client.tls import TlsStream, tls_context
from lambdallm_extension.settings import SystemClock

HEADERS = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", "T.Op")]


def soon(seconds: float = 10.0) -> int:
    return SystemClock().epoch_ms() + int(seconds * 1000)


def answer_all(line):
    while True:
        line.read()
        line.reply()


# TLS


def test_tls_with_a_trusted_certificate(serve, connect, authority):
    peer = serve(answer_all, authority.server)
    client = connect(f"https://localhost:{peer.port}", environ={"AWS_CA_BUNDLE": authority.bundle})

    for _ in range(3):
        assert client.post("/", HEADERS, b"", deadline_ms=soon()).status == 200

    assert peer.connections == 1


def test_over_tls_an_opened_but_unused_connection_is_alive(serve, connect, authority):
    peer = serve(answer_all, authority.server)  # It sends session tickets after the handshake.
    client = connect(f"https://localhost:{peer.port}", environ={"AWS_CA_BUNDLE": authority.bundle})

    client.reopen()
    while not client._http._pool._idle:
        time.sleep(0.001)
    assert client.post("/", HEADERS, b"", deadline_ms=soon()).status == 200

    assert peer.connections == 1


def test_over_tls_a_connection_that_was_closed_while_idle_is_noticed(serve, connect, authority):
    def behave(line):
        line.read()
        line.reply()
        if line.number > 1:
            answer_all(line)

    peer = serve(behave, authority.server)
    client = connect(f"https://localhost:{peer.port}", environ={"AWS_CA_BUNDLE": authority.bundle})
    client.post("/", HEADERS, b"", deadline_ms=soon())
    while client._http._pool.drop_idle(suspect_only=True):
        time.sleep(0.001)

    assert client.post("/", HEADERS, b"", deadline_ms=soon()).status == 200
    assert peer.connections == 2


def test_a_certificate_that_nobody_trusts_is_refused_with_what_to_set(serve, connect, authority):
    peer = serve(answer_all, authority.server)

    with pytest.raises(SettingError, match="AWS_CA_BUNDLE"):
        connect(f"https://localhost:{peer.port}").post("/", HEADERS, b"", deadline_ms=soon())

    assert peer.requests == []


def test_a_certificate_of_another_host_is_refused(serve, connect, authority):
    peer = serve(answer_all, authority.server)
    client = connect(f"https://127.0.0.1:{peer.port}", environ={"AWS_CA_BUNDLE": authority.bundle})

    with pytest.raises(SettingError, match="not trusted"):
        client.post("/", HEADERS, b"", deadline_ms=soon())


def test_a_peer_without_tls_means_that_nothing_was_sent(serve, connect):
    def behave(line):
        line.socket.recv(10)
        line.socket.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    client = connect(f"https://localhost:{serve(behave).port}")

    with pytest.raises(NotSentError):
        client.post("/", HEADERS, b"", deadline_ms=soon())


def test_a_bundle_that_cannot_be_read_is_named(connect):
    client = connect("https://localhost:1", environ={"AWS_CA_BUNDLE": "/no/such/file"})
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = connect(
            f"https://localhost:{listener.getsockname()[1]}",
            environ={"AWS_CA_BUNDLE": "/no/such/file"},
        )

        with pytest.raises(SettingError, match="AWS_CA_BUNDLE"):
            client.post("/", HEADERS, b"", deadline_ms=soon())


def test_megabytes_go_both_ways_over_tls(serve, connect, authority):
    def echo(line):
        _, body = line.read()
        line.reply(body)

    peer = serve(echo, authority.server)
    client = connect(f"https://localhost:{peer.port}", environ={"AWS_CA_BUNDLE": authority.bundle})
    payload = bytes(range(256)) * 12_000

    assert client.post("/", HEADERS, payload, deadline_ms=soon()).body == payload


def test_an_answer_that_tls_cuts_off_is_lost(serve, connect, authority):
    def behave(line):
        line.read()
        line.socket.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
        line.reset()

    peer = serve(behave, authority.server)
    client = connect(f"https://localhost:{peer.port}", environ={"AWS_CA_BUNDLE": authority.bundle})

    with pytest.raises(AnswerLostError):
        client.post("/", HEADERS, b"", deadline_ms=soon())


def test_a_peer_that_never_shakes_hands_is_given_up_at_the_deadline(serve, connect):
    client = connect(f"https://localhost:{serve(lambda line: line.wait_for_end()).port}")

    with pytest.raises((NotSentError, DeadlineError)):
        client.post("/", HEADERS, b"", deadline_ms=soon(0.2))


def test_a_closed_stream_does_not_go_on_with_another_socket_of_its_number(serve, authority):
    class Referred(_socket.socket):
        __slots__ = ("__weakref__",)

    peer = serve(answer_all, authority.server)
    connected = Referred(_socket.AF_INET, _socket.SOCK_STREAM)
    connected.connect(("127.0.0.1", peer.port))
    stream = TlsStream(connected, "localhost", tls_context({"AWS_CA_BUNDLE": authority.bundle}))
    stream.close()

    for use in (lambda: stream.recv(1), lambda: stream.sendall(b"1")):
        with pytest.raises(OSError, match="closed"):
            use()


@pytest.mark.parametrize("trust", ["the system's", "a bundle's"])
def test_the_context_is_as_strict_as_the_standard_librarys(trust, authority):
    environ = {"AWS_CA_BUNDLE": authority.bundle} if trust == "a bundle's" else {}
    ours, theirs = tls_context(environ), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    assert ours.check_hostname
    assert ours.verify_mode == ssl.CERT_REQUIRED
    assert ours.minimum_version == ssl.TLSVersion.TLSv1_2
    for name in ("options", "verify_flags", "security_level", "maximum_version"):
        assert getattr(ours, name, None) == getattr(theirs, name, None), name
    assert ours.get_ciphers() == theirs.get_ciphers()


def test_certificates_are_trusted_that_the_standard_library_trusts():
    ours, theirs = tls_context({}), ssl.create_default_context()

    for context in (ours, theirs):
        if not context.cert_store_stats()["x509_ca"]:  # a directory: looked into at the handshake
            return
    assert ours.cert_store_stats() == theirs.cert_store_stats()


# Proxies


def tunnel_to(port):
    """Behave as a proxy that connects every tunnel to one local port."""

    def behave(line):
        reader = http1.Reader(requests=True)
        while (head := reader.read_head()) is None:
            reader.feed(line.socket.recv(4096))
        line._requests.append((head, b""))
        upstream = socket.create_connection(("127.0.0.1", port))
        line.socket.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        back = threading.Thread(target=pump, args=(upstream, line.socket))
        back.start()
        pump(line.socket, upstream)
        back.join()
        upstream.close()

    return behave


def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def through(proxy, authority, **more):
    url = f"http://user:p%40ss@127.0.0.1:{proxy.port}"
    return {"AWS_CA_BUNDLE": authority.bundle, "HTTPS_PROXY": url, **more}


def test_a_remote_host_is_reached_through_the_proxys_tunnel(serve, connect, authority):
    target = serve(answer_all, authority.server)
    proxy = serve(tunnel_to(target.port))
    client = connect("https://remote.example", environ=through(proxy, authority))

    for _ in range(2):
        assert client.post("/", HEADERS, b"", deadline_ms=soon()).status == 200

    ((head, _),) = proxy.requests
    assert (head.method, head.target) == ("CONNECT", "remote.example:443")
    assert head.header("proxy-authorization") == "Basic dXNlcjpwQHNz"
    assert "authorization" not in [name for name, _ in head.headers]


def test_a_proxy_that_refuses_means_that_nothing_was_sent(serve, connect, authority):
    def behave(line):
        line.socket.recv(4096)
        line.reply(b"who are you?", 407)

    client = connect("https://remote.example", environ=through(serve(behave), authority))

    with pytest.raises(NotSentError, match="407"):
        client.post("/", HEADERS, b"", deadline_ms=soon())


def test_local_endpoints_are_never_asked_through_a_proxy(serve, connect, authority):
    target, proxy = serve(answer_all, authority.server), serve(answer_all)
    environ = through(proxy, authority)

    for endpoint in (f"https://localhost:{target.port}", proxy.port):
        client = connect(endpoint, environ=environ)
        assert client.post("/", HEADERS, b"", deadline_ms=soon()).status == 200

    assert [head.method for head, _ in proxy.requests] == ["POST"]
