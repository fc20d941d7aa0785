"""By which names a server may be called. A page of somebody else's can have its own name lead here,
and a browser takes us for that page's server then: but it calls us by that name. Pure.
"""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

__all__ = ["ANY", "is_loopback", "is_ours", "name_in"]

ANY = "*"


def is_loopback(host: str) -> bool:
    """An address that only this machine reaches, or its name."""
    address = _address(host)
    if address is not None:
        return address.is_loopback
    return host == "localhost" or host.endswith(".localhost")


def name_in(header: str) -> str:
    """The name in a Host header: without the port, in lower case."""
    name = header.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0].removesuffix(".")


@lru_cache(maxsize=256)  # browsers call it by one name again and again
def is_ours(header: str, bound_to: str, allowed: tuple[str, ...]) -> bool:
    """May this Host header be answered by a server on `bound_to`, which is known as `allowed`?

    Nobody's name is an address: where others may come, each of ours will do.
    """
    name = name_in(header)
    if ANY in allowed or name in allowed or name == bound_to.lower() or is_loopback(name):
        return True
    return not is_loopback(bound_to) and _address(name) is not None


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return None
