"""Only public addresses are fetched from."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel.base.outbound import is_public

PRIVATE = {
    "loopback": "127.0.0.1",
    "all of loopback": "127.9.8.7",
    "private 10": "10.1.2.3",
    "private 172": "172.31.255.255",
    "private 192": "192.168.0.1",
    "link-local, cloud metadata": "169.254.169.254",
    "unspecified": "0.0.0.0",
    "this network": "0.1.2.3",
    "carrier-grade NAT": "100.64.0.1",
    "multicast": "224.0.0.251",
    "broadcast": "255.255.255.255",
    "reserved": "240.0.0.1",
    "benchmarking": "198.18.0.1",
    "documentation": "203.0.113.5",
    "protocol assignments": "192.0.0.192",
    "Azure's host": "168.63.129.16",
    "loopback 6": "::1",
    "unspecified 6": "::",
    "link-local 6": "fe80::1",
    "link-local 6 with its interface": "fe80::1%eth0",
    "unique local": "fd00:ec2::254",
    "site-local": "fec0::1",
    "multicast 6": "ff02::1",
    "documentation 6": "2001:db8::1",
    "newer documentation 6": "3fff::1",
    "Teredo": "2001::1",
    "local NAT64": "64:ff9b:1::a00:1",
    "discard": "100::1",
}
PUBLIC = ["1.1.1.1", "93.184.216.34", "172.32.0.1", "2606:4700:4700::1111", "2a00:1450:4001:80b::200e"]
EMBEDDINGS = {
    "mapped": 0xFFFF << 32,
    "compatible": 0,
    "NAT64": 0x64FF9B << 96,
    "6to4": 0x2002 << 112,
}


def embedded(address: str, kind: str) -> str:
    inner = int(IPv4Address(address))
    return str(IPv6Address(EMBEDDINGS[kind] | (inner << 80 if kind == "6to4" else inner)))


@pytest.mark.parametrize("address", PRIVATE.values(), ids=PRIVATE)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("kind", EMBEDDINGS)
@pytest.mark.parametrize("address", [address for address in PRIVATE.values() if ":" not in address])
def test_so_are_their_forms_in_ipv6(address: str, kind: str) -> None:
    assert not is_public(embedded(address, kind))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_not(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("kind", ["mapped", "NAT64", "6to4"])
def test_a_public_address_inside_ipv6_is_public(kind: str) -> None:
    assert is_public(embedded("1.1.1.1", kind))


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "2130706433"])
def test_what_is_no_address_is_refused(text: str) -> None:
    assert not is_public(text)


@given(st.ip_addresses())
def test_nothing_that_python_calls_private_is_public(address: IPv4Address | IPv6Address) -> None:
    if address.is_private or address.is_loopback or address.is_link_local or address.is_multicast:
        inner = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
        assert not is_public(str(address)) or (inner is not None and is_public(str(inner)))
