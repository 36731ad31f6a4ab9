"""CIDR(…) over addresses in every spelling finds what Python's ipaddress finds."""

from __future__ import annotations

import ipaddress
import random

import pytest

from tests.support.search_events import SearchEvents

NO_ADDRESSES = [
    "", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.4 ", "10.0.0.1:80", "a.b.c.d", "::1::", ":::", ":",
    "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "12345::", "g::", "fe80::1%eth0", "::1/64", "host",
    "1:2:3:4:5:6:7:8::1:2:3:4:5", "::ffff:1.2.3.400", "x::ffff:10.0.0.1",
]  # fmt: skip


def spellings(rng: random.Random, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    if isinstance(address, ipaddress.IPv4Address):
        return rng.choice([str(address), str(address), f"::ffff:{address}", f"::FFFF:{address}"])
    return rng.choice([str(address), address.exploded, str(address).upper(), address.exploded.replace(":0", ":")])


def random_address(rng: random.Random) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    if rng.random() < 0.5:
        return ipaddress.IPv4Address(
            rng.choice([10 << 24, 192 << 24 | 168 << 16, 0]) + rng.getrandbits(rng.choice([4, 12, 24]))
        )
    base = rng.choice([0x20010DB8 << 96, 0xFE80 << 112, 0, 0xFFFF << 32])
    return ipaddress.IPv6Address(base + rng.getrandbits(rng.choice([3, 20, 70])))


def meant(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return None if "%" in text else address


def belongs(text: str, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    address = meant(text)
    if address is None:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    if isinstance(network, ipaddress.IPv6Network):
        return address in network
    if mapped is not None and "." in text:
        address = mapped  # written as IPv4
    return address in network


@pytest.mark.parametrize("seed", range(4))
def test_networks_hold_the_addresses_that_they_should(seed: int) -> None:
    rng = random.Random(seed)
    texts = [*NO_ADDRESSES, *(spellings(rng, random_address(rng)) for _ in range(200))]
    with SearchEvents([{"ip": ("str", text)} for text in texts]) as events:
        found = 0
        for _ in range(40):
            around = random_address(rng)
            bits = rng.randrange(around.max_prefixlen + 1)
            network = ipaddress.ip_network((int(around) if around.version == 4 else around, bits), strict=False)
            if around.version == 6:
                network = ipaddress.IPv6Network((around, bits), strict=False)
            expected = [row for row, text in enumerate(texts) if belongs(text, network)]
            assert events.rows(f"CIDR(ip, {network})") == expected, network
            found += len(expected)
    assert found > 200


def test_lists_and_several_networks() -> None:
    with SearchEvents([{"ips": ("str[]", ["10.0.0.1", "fe80::1"])}, {"ips": ("str[]", ["11.0.0.1"])}, {}]) as events:
        assert events.rows("CIDR(ips, 10.0.0.0/8)") == [0]
        assert events.rows("CIDR(ips, fe80::/10, 11.0.0.0/31)") == [0, 1]
        assert events.rows("-CIDR(ips, 0.0.0.0/0)") == [2]
