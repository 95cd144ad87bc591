"""Where a call of ours may go that somebody typed in: public addresses, and private ones an operator named.

A name is resolved once, every address it has is checked, and the connection goes to a checked address, while Host
header and certificate stay those of the name. So a name that points elsewhere a moment later changes nothing.
Redirects are never followed.
"""

import ipaddress
import socket
import threading
import time
from typing import Any

import httpx
from django.conf import settings
from django.utils.translation import gettext as _

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

KEPT = 30.0  # seconds a checked address of a name is used for new connections
PORTS = {"http": 80, "https": 443}
# Public by their number, and yet the inside of a cloud or of a network.
REFUSED = tuple(
    map(
        ipaddress.ip_network, ("168.63.129.16/32", "192.0.0.0/24", "64:ff9b:1::/48", "2001::/32", "fec0::/10")
    )
)
NAT64 = ipaddress.ip_network("64:ff9b::/96")


class NotAllowed(Exception):
    """The address must not be called. The text says what to do."""


def is_public(address: Address) -> bool:
    """Whether an address lies on the public Internet; one written inside another counts for it."""
    inner = _inside(address)
    if inner is not None:
        return is_public(inner)
    inland = address.is_multicast or address.is_reserved or address.is_unspecified
    return address.is_global and not inland and not any(address in network for network in REFUSED)


def _inside(address: Address) -> Address | None:
    """The IPv4 address that an IPv6 address carries: mapped, compatible, translated, 6to4."""
    if not isinstance(address, ipaddress.IPv6Address):
        return None
    number = int(address)
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if (number >> 32 == 0 and number > 1) or address in NAT64:
        return ipaddress.IPv4Address(number & 0xFFFFFFFF)
    return None


def is_named(host: str, port: int) -> bool:
    """Whether the operator permits this host although it may be private (``EVENREACH_PRIVATE_HOSTS``)."""
    host = host.lower().strip("[]")
    return bool({host, f"{host}:{port}", f"[{host}]:{port}"} & set(settings.PRIVATE_HOSTS))


def addresses(host: str, port: int) -> list[str]:
    """What a host resolves to, all of it checked. Raises :class:`NotAllowed`, and :class:`OSError` when it does
    not resolve. Decimal, octal and hexadecimal forms are resolved as the system would, then checked."""
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    told = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not is_named(host, port):
        for text in told:
            if not is_public(ipaddress.ip_address(text.partition("%")[0])):
                raise NotAllowed(
                    _(
                        "%(host)s is not on the public Internet. Give a public address, or ask the operator to name"
                        " %(host)s in EVENREACH_PRIVATE_HOSTS."
                    )
                    % {"host": host}
                )
    return told


class GuardedTransport(httpx.BaseTransport):
    """HTTP to checked addresses only."""

    def __init__(self, **given: Any) -> None:
        self._given = given
        self._lock = threading.Lock()
        self._by_host: dict[str, httpx.HTTPTransport] = {}  # a connection proved one name only
        self._known: dict[tuple[str, int], tuple[float, list[str]]] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Raises :class:`NotAllowed`; :class:`httpx.ConnectError` when no address answers."""
        host = request.url.host
        port = request.url.port or PORTS[request.url.scheme]
        with self._lock:
            inner = self._by_host.get(host)
            if inner is None:
                inner = self._by_host[host] = httpx.HTTPTransport(trust_env=False, **self._given)
        failed: httpx.ConnectError | None = None
        for address in self._resolved(host, port):
            pinned = httpx.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,  # Host among them
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": host},
            )
            try:
                return inner.handle_request(pinned)
            except httpx.ConnectError as error:  # nothing was handed over: the next address may answer
                failed = error
        raise failed or httpx.ConnectError(f"{host} has no address")

    def _resolved(self, host: str, port: int) -> list[str]:
        known = self._known.get((host, port))
        if known is not None and time.monotonic() - known[0] < KEPT:
            return known[1]
        try:
            found = addresses(host, port)
        except OSError as error:
            raise httpx.ConnectError(f"{host} does not resolve") from error
        self._known[host, port] = (time.monotonic(), found)
        return found

    def close(self) -> None:
        for inner in self._by_host.values():
            inner.close()
        self._by_host.clear()


def client(timeout: float, connections: int = 4) -> httpx.Client:
    """A client for any number of threads: checked addresses only, no redirect, no proxy of the environment."""
    return httpx.Client(
        transport=GuardedTransport(limits=httpx.Limits(max_connections=connections, keepalive_expiry=60.0)),
        timeout=timeout,
        follow_redirects=False,
        trust_env=False,
    )
