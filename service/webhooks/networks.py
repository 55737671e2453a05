"""Hold webhooks to addresses that they may reach, when they are made and at each connection.

A name may be given another address at any time, so what counts is the address that is connected to.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import httpcore

from ..errors import WebhookAddressError

NAT64 = IPv6Network("64:ff9b::/96")
"""Addresses that gateways turn into IPv4 ones (RFC 6052)."""


class AllowedNetworks(httpcore.AnyIOBackend):
    """Connections of httpcore to public addresses, and to those of some further networks."""

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network]) -> None:
        super().__init__()
        self._networks = tuple(networks)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to an address of `host` that is allowed.

        Raises:
            WebhookAddressError: when there is none.
        """
        address = await self.address_of(host, port)
        return await super().connect_tcp(address, port, timeout, local_address, socket_options)

    async def address_of(self, host: str, port: int) -> str:
        """Return the address of a host to connect to.

        Raises:
            WebhookAddressError: when it has none, or one that may not be reached.
        """
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise WebhookAddressError(f"{host} has no address: {error.strerror}.") from error
        addresses = [str(place[0]) for *_, place in found]
        for address in addresses:
            # All of them: a name with a public and a private address is up to no good.
            if not self.allows(address):
                raise WebhookAddressError(
                    f"{host} is {address}, which is not public. If webhooks may reach it, add its network to "
                    "DAREFINE_WEBHOOK_NETWORKS."
                )
        return addresses[0]

    def allows(self, address: str) -> bool:
        """Tell whether an address may be reached."""
        one = inner_address(ipaddress.ip_address(address.partition("%")[0]))
        if any(one.version == network.version and one in network for network in self._networks):
            return True
        return one.is_global and not one.is_multicast


def inner_address(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 one leads to: a mapped one, by 6to4 or NAT64; else itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address
