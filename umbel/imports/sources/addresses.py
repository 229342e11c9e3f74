"""Which addresses a server may fetch from on behalf of somebody else: only those of the public internet."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

# Not public, though some versions of Python say so of them. IANA special-purpose registries, IPv4 and IPv6.
NOT_PUBLIC = [
    ip_network(network)
    for network in (
        *("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "240.0.0.0/4"),
        *("64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16", "fec0::/10"),
        "168.63.129.16/32",  # the host of every Azure machine
    )
]
NAT64 = ip_network("64:ff9b::/96")
COMPATIBLE = ip_network("::/96")


def is_public(address: str) -> bool:
    """Whether an IP address is on the public internet; with an IPv4 address inside, whether that one is too."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, IPv6Address) and (inner := _embedded(ip)) is not None:
        return is_public(str(inner))
    rejected = any(ip in network for network in NOT_PUBLIC if network.version == ip.version)
    return ip.is_global and not (rejected or ip.is_multicast or ip.is_reserved)


def _embedded(ip: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that packets to this IPv6 address may end up at: mapped, compatible, NAT64 or 6to4."""
    if ip in NAT64 or ip in COMPATIBLE:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour
