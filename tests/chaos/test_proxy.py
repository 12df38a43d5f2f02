"""The proxy and its spies, against a server that answers each line with itself."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from services.worker.fleet import Fleet
from shared.broker import connect, send_group
from shared.messages import GroupDone
from tests.chaos.faults import FAULTS, drop_reply
from tests.chaos.proxy import Loop, Proxy
from tests.chaos.spies import PostgresSpy, RedisSpy
from tests.integration.batches import fetch_of
from tests.stack import until

TAKE = b"*4\r\n$6\r\nBLMOVE\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\n5\r\n"
PING = b"*1\r\n$4\r\nPING\r\n"


class _Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line)


class _Lines:
    """Every line is the command that it spells."""

    def feed(self, data: bytes) -> list[str]:
        return data.decode().split()

    def matters(self, reply: bytes) -> bool:
        return not reply.startswith(b"empty")


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Echo) as server, Loop() as loop:
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield loop.proxy(server.server_address[1], spy=_Lines)
        server.shutdown()


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with _connected(proxy) as connection:
        assert _said(connection, b"hello\n") == b"hello\n"
        yield connection


def _connected(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def _said(connection: socket.socket, line: bytes) -> bytes:
    connection.sendall(line)
    return connection.recv(100)


def _is_silent(connection: socket.socket) -> bool:
    connection.settimeout(0.2)
    try:
        connection.recv(100)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(5)
    return False


def test_a_reset_ends_every_connection(proxy: Proxy, client: socket.socket) -> None:
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        client.recv(100)
    until(lambda: proxy.connections == 0)


def test_what_a_partition_held_passes_when_it_heals(proxy: Proxy, client: socket.socket) -> None:
    proxy.partition()
    client.sendall(b"held\n")
    assert _is_silent(client)
    proxy.heal()
    assert client.recv(100) == b"held\n"


def test_a_partition_answers_no_new_connection(proxy: Proxy) -> None:
    proxy.partition()
    with _connected(proxy) as connection:
        connection.sendall(b"hello?\n")
        assert _is_silent(connection)
        proxy.heal()
        assert connection.recv(100) == b"hello?\n"


def test_a_refusing_proxy_resets_new_connections(proxy: Proxy) -> None:
    proxy.refusing = True
    with pytest.raises(ConnectionResetError), _connected(proxy) as connection:
        connection.recv(100)


def test_the_reply_of_the_chosen_command_alone_is_lost(proxy: Proxy, client: socket.socket) -> None:
    proxy.drop_reply("fetch")
    assert _said(client, b"ack\n") == b"ack\n"
    with pytest.raises(ConnectionResetError):
        _said(client, b"fetch\n")
    assert proxy.dropped == 1


def test_a_reply_that_carries_nothing_is_not_worth_losing(proxy: Proxy, client: socket.socket) -> None:
    proxy.drop_reply("fetch")
    assert _said(client, b"empty fetch\n") == b"empty fetch\n"
    assert proxy.dropped == 0


def test_a_reply_lost_silently_leaves_the_connection_open(proxy: Proxy, client: socket.socket) -> None:
    proxy.drop_reply("fetch", silently=True)
    client.sendall(b"fetch\n")
    assert _is_silent(client)
    proxy.heal()
    with pytest.raises(ConnectionResetError):
        client.recv(100)


def test_latency_delays_and_loses_nothing(proxy: Proxy, client: socket.socket) -> None:
    proxy.latency = 0.3
    client.sendall(b"slow\n")
    assert _is_silent(client)
    assert client.recv(100) == b"slow\n"


def test_a_server_that_is_down_is_a_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with Loop() as loop:
        proxy = loop.proxy(port)
        with pytest.raises(ConnectionResetError), _connected(proxy) as connection:
            connection.recv(100)


@pytest.mark.parametrize("size", [1, 2, 7, len(TAKE), 10_000])
def test_a_redis_command_is_known_however_its_bytes_arrive(size: int) -> None:
    spy, stream = RedisSpy(), PING + TAKE + PING
    found = [name for at in range(0, len(stream), size) for name in spy.feed(stream[at : at + size])]
    assert found == ["ping", "blmove", "ping"]


def test_every_reply_that_faults_drop_is_one_that_we_wait_for(redis_url: str) -> None:
    """What a fault calls a command is what we send: otherwise it drops nothing, and finds nothing."""
    dropped = {fault.arguments[1] for fault in FAULTS if fault.start is drop_reply and fault.arguments[0] == "valkey"}
    assert dropped
    address = urlsplit(redis_url)
    with Loop() as loop:
        proxy = loop.proxy(address.port or 6379, spy=RedisSpy)
        proxied = redis_url.replace(f":{address.port}", f":{proxy.port}")
        for command in dropped:
            proxy.dropped = 0
            proxy.drop_reply(command)
            _journey(proxied)
            proxy.heal()
            assert proxy.dropped == 1, command
            until(lambda: not proxy.connections)


def _journey(redis_url: str) -> None:
    """A message is sent, taken, begun and finished, and another one follows it."""
    broker = connect(redis_url)
    fetch = fetch_of(uuid4(), range(1, 3))
    done = GroupDone(request_id=fetch.request_id, group=1, dispatch_no=1)
    assert send_group(broker, [(fetch, None)], done=done)
    consumer = broker.consume(fetch.queue, timeout=100)
    message = next((one for one in (next(consumer) for _ in range(3)) if one), None)
    if message:  # its reply was not the one that was lost
        Fleet(broker.probe, threads=1).begun_before(fetch.claim)
        broker.emit_after("process_message", message)
        consumer.ack(message)
    broker.client.flushall()
    broker.close()


def test_a_wait_that_found_nothing_does_not_matter_and_a_message_does() -> None:
    for nothing in (b"*0\r\n", b"*-1\r\n", b"$-1\r\n", b"_\r\n"):  # the last three: a wait that found nothing
        assert not RedisSpy().matters(nothing)
    assert RedisSpy().matters(b"*1\r\n$2\r\n{}\r\n")


def test_a_commit_is_known_and_a_rollback_is_not() -> None:
    assert PostgresSpy().feed(b"Q\x00\x00\x00\x0bCOMMIT\x00") == ["commit"]
    assert PostgresSpy().feed(b"Q\x00\x00\x00\x0dROLLBACK\x00") == []
    assert not PostgresSpy().matters(b"C\x00\x00\x00\x0dROLLBACK\x00")


def test_a_commit_is_known_in_a_pipeline_and_in_two_pieces() -> None:
    assert PostgresSpy().matters(b"1\x00\x00\x00\x042\x00\x00\x00\x04C\x00\x00\x00\x0bCOMMIT\x00")
    spy = PostgresSpy()
    pieces = (b"P\x00\x00\x00\x0f\x00COM", b"MIT\x00\x00\x00", b"S\x00\x00\x00\x04")
    assert [spy.feed(piece) for piece in pieces] == [[], ["commit"], []]
