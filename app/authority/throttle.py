"""How often somebody may try."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

__all__ = ["Attempts", "Bucket", "Buckets", "network_of"]

MOST_REMEMBERED = 10_000


class Attempts:
    """So many in `seconds`, for each of the names that try. In memory alone: who can restart the
    server needs no guesses, and a restart takes longer than the few that it gives away.
    """

    def __init__(self, most: int, seconds: float, clock: Callable[[], float]) -> None:
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._tried: OrderedDict[str, list[float]] = OrderedDict()

    def wait(self, name: str) -> float:
        """Seconds until the next one; 0: now."""
        since = self._clock() - self._seconds
        tried = [at for at in self._tried.get(name, ()) if at > since]
        return tried[-self._most] - since if len(tried) >= self._most else 0.0

    def note(self, name: str) -> None:
        since = self._clock() - self._seconds
        tried = [at for at in self._tried.pop(name, ()) if at > since]
        self._tried[name] = [*tried, self._clock()][-self._most :]
        if len(self._tried) > MOST_REMEMBERED:
            self._tried.popitem(last=False)

    def forget(self, name: str) -> None:
        """It went well."""
        self._tried.pop(name, None)


@dataclass(slots=True)
class Bucket:
    tokens: float
    at: float


class Buckets:
    """A token bucket for each name: `rate` a second, and `burst` at once."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, name: str) -> float:
        """0 if there was one to take; else the seconds until there is."""
        now, bucket = self._clock(), self._buckets.pop(name, None)
        if bucket is None:
            bucket = Bucket(self._burst, now)
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.at) * self._rate)
        bucket.at = now
        self._buckets[name] = bucket
        if len(self._buckets) > MOST_REMEMBERED:
            self._buckets.popitem(last=False)
        if bucket.tokens < 1:
            return (1 - bucket.tokens) / self._rate
        bucket.tokens -= 1
        return 0.0


def network_of(address: str) -> str:
    """Who is likely to be the same: an IPv4 address, or the network of an IPv6 one."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(ip, IPv6Address):
        return str(ip)
    return str(ip.ipv4_mapped or f"{ip.exploded[:19]}::/64")
