"""From checked addresses to a connected socket, TLS included; the name stays in SNI and in the certificate check."""

import os
import socket
import ssl
from ipaddress import IPv6Address

import certifi

from shared.addresses import Address
from shared.egress.deadline import Deadline
from shared.egress.target import Target
from shared.errors import ConnectFailure, FetchTimeout


def tls_context() -> ssl.SSLContext:
    """Trusts the system's authorities and certifi's (a slim container may have none of its own)."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context


def dial(
    target: Target, addresses: tuple[Address, ...], *, tls: ssl.SSLContext, total: Deadline, connect: Deadline
) -> socket.socket:
    """Try each address, each with its share of the time, so that a dead first one leaves time for the second."""
    failure: OSError = TimeoutError()
    for tried, address in enumerate(addresses):
        try:
            share = connect.left() / (len(addresses) - tried)
            return _connect(target, address, tls=tls, deadline=connect.sooner(share))
        except OSError as error:
            failure = error
    if total.over():
        raise FetchTimeout(f"{target.host} could not be reached in time.") from failure
    raise ConnectFailure(f"Could not connect to {target.host}: {_reason(failure)}.") from failure


def _connect(target: Target, address: Address, *, tls: ssl.SSLContext, deadline: Deadline) -> socket.socket:
    family = socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(deadline.left())
        sock.connect((str(address), target.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if target.scheme == "http":
            return sock
        sock.settimeout(deadline.left())  # one timeout for the whole handshake
        return tls.wrap_socket(sock, server_hostname=target.host.rstrip("."))
    except BaseException:
        sock.close()
        raise


def _reason(failure: OSError) -> str:
    """Public text: never an address the user did not name."""
    if isinstance(failure, ssl.SSLCertVerificationError):
        return f"its certificate is not valid ({failure.verify_message})"
    if isinstance(failure, ssl.SSLError):
        return "no secure connection could be agreed on"
    if isinstance(failure, TimeoutError):
        return "no answer in time"
    return os.strerror(failure.errno).lower() if failure.errno else "the network refused"
