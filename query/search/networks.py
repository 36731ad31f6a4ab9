"""Owns the SQL of IP networks over addresses that are text: the engine has no type for them. Never looks at streams."""

from __future__ import annotations

import ipaddress
from typing import Final

from sqlglot import exp

from query.search.conditions import Operand, all_hold, call, one_holds, some_element, text

_OCTET: Final = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_MAPPED: Final = "(?:(?i)::ffff:)?"  # an IPv4 address in the clothes of IPv6
_DIGITS: Final = 32  # of a whole address
# Eight groups, or fewer and one "::"; too many of the latter have too many digits.
_GROUP: Final = "[0-9a-f]{1,4}"
_SOME_GROUPS: Final = f"(?:{_GROUP}(?::{_GROUP}){{0,6}})?"
_IPV6: Final = f"(?i)(?:{_GROUP}:){{7}}{_GROUP}|{_SOME_GROUPS}::{_SOME_GROUPS}"
_MAPPED_V6: Final = ipaddress.IPv6Network("::ffff:0:0/96")


def in_networks(networks: tuple[str, ...], operand: Operand) -> exp.Expr:
    """The text `operand` is an address in one of `networks`, each IPv4 or IPv6."""
    v4: list[str] = []
    v6: list[ipaddress.IPv6Network] = []
    for written in networks:
        network = ipaddress.ip_network(written)
        if isinstance(network, ipaddress.IPv6Network):
            v6.append(network)
            if network.overlaps(_MAPPED_V6):
                bits = max(0, network.prefixlen - 96)
                first = int(network.network_address) & 0xFFFFFFFF if bits else 0
                v4.append(_MAPPED.removesuffix("?") + _v4_pattern(ipaddress.IPv4Network((first, bits))))
        else:
            v4.append(_MAPPED + _v4_pattern(network))
    conditions = []
    if v4:
        conditions.append(call("regexp_full_match", operand(), text("|".join(v4))))
    if v6:
        conditions.append(_in_v6(v6, operand))
    return one_holds(conditions)


def _v4_pattern(network: ipaddress.IPv4Network) -> str:
    first, last = network.network_address.packed, network.broadcast_address.packed
    octets = []
    for low, high in zip(first, last, strict=True):
        if (low, high) == (0, 255):
            octets.append(_OCTET)
        else:
            values = [str(value) for value in range(low, high + 1)]
            octets.append(values[0] if len(values) == 1 else f"(?:{'|'.join(values)})")
    return r"\.".join(octets)


def _in_v6(networks: list[ipaddress.IPv6Network], operand: Operand) -> exp.Expr:
    def within(digits: Operand) -> exp.Expr:
        ranges = [
            exp.Between(this=digits(), low=text(_digits(network[0])), high=text(_digits(network[-1])))
            for network in networks
        ]
        whole = exp.EQ(this=call("length", digits()), expression=exp.Literal.number(_DIGITS))
        return all_hold([whole, one_holds(ranges)])

    # A list of one, so that the digits are worked out once for all networks.
    in_range = some_element(call("list_value", _all_digits(operand)), within)
    return all_hold([call("regexp_full_match", operand(), text(_IPV6)), in_range])


def _digits(address: ipaddress.IPv6Address) -> str:
    return f"{int(address):032x}"


def _all_digits(operand: Operand) -> exp.Expr:
    """The 32 hexadecimal digits of the IPv6 address `operand`: groups filled up with zeros, "::" written out."""

    def part(number: int) -> exp.Expr:
        return call("split_part", call("lower", operand()), text("::"), exp.Literal.number(number))

    def padded(number: int) -> exp.Expr:
        name = exp.Identifier(this="g")
        filled = call("lpad", name.copy(), exp.Literal.number(4), text("0"))
        # The part before or behind "::" may be empty.
        digits = exp.Lambda(
            this=exp.If(this=exp.EQ(this=name.copy(), expression=text("")), true=text(""), false=filled)
        )
        digits.set("expressions", [name])
        return call(
            "array_to_string", call("list_transform", call("string_split", part(number), text(":")), digits), text("")
        )

    missing = exp.Sub(
        this=exp.Literal.number(_DIGITS), expression=call("length", exp.DPipe(this=padded(1), expression=padded(2)))
    )
    zeros = call("repeat", text("0"), missing)
    return exp.DPipe(this=exp.DPipe(this=padded(1), expression=zeros), expression=padded(2))
