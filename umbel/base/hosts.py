"""Hosts by their names or addresses, among those that a setting lists."""

from collections.abc import Sequence
from ipaddress import ip_address, ip_network


def is_listed(host: str, listed: Sequence[str]) -> bool:
    """Whether a host is one of `listed`: its name, .example.org for subdomains, 10.0.0.0/8 for addresses, * for any.

    listed: as umbel.base.environment.host_name leaves them.
    """
    name = host.strip("[]").removesuffix(".").lower()
    below = (each for each in listed if each.startswith("."))
    if name in listed or "*" in listed or any(f".{name}".endswith(each) for each in below):
        return True
    try:
        address = ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return any(address in ip_network(each) for each in listed if "/" in each)
