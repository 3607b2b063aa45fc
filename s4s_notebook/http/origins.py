"""Origins that may receive requests, and those that may receive the token, by a person's consent.

An origin is (scheme, host, port), parsed by one strict pattern that refuses whatever two parsers
could read differently. The connection goes to what this pattern read, so no second reading can
disagree.
"""

from __future__ import annotations

import ipaddress
import re
import threading
from collections.abc import Callable, Iterable
from typing import NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit

from ..errors import BlockedAddress, UntrustedOrigin
from . import redact

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<target>[/?][^#]*)?(?:#.*)?)?",
    re.ASCII,
)
_PLAIN = re.compile(r"[\x21-\x5b\x5d-\x7e]+")  # printable ASCII without space and backslash
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
_NO_HOST = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:)?//(?:[/?#:]|$)")
_NUMERIC = re.compile(r"(.*\.)?(0x[0-9a-f]*|[0-9]+)")  # a browser would read it as an address
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class ParsedURL(NamedTuple):
    """A parsed address: where to connect, and the request target there."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def origin(self) -> str:
        """``scheme://host:port``; the port is always written."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse(url: str) -> ParsedURL:
    """Parse an absolute http(s) address.

    Raises:
        BlockedAddress: another scheme, a number in disguise, or http:// beyond this machine.
        UntrustedOrigin: userinfo, backslash, trailing dot, non-ASCII and other look-alikes.
    """
    match = _URL.match(url)
    scheme = match["scheme"].lower() if match else ""
    if match and scheme not in ("http", "https"):
        raise BlockedAddress(f"{redact.text(url, limit=80)!r} is no web address.")
    if not match or not match["host"] or match.end() != len(url) or not _PLAIN.fullmatch(url):
        raise UntrustedOrigin(f"The address {redact.url(url)!r} is not written plainly.")
    host = _host(match["host"].lower(), url)
    port = int(match["port"] or (443 if scheme == "https" else 80))
    if not 0 < port < 65536:
        raise UntrustedOrigin(f"The address {redact.url(url)!r} has no such port.")
    if scheme == "http" and not is_local(host):
        raise BlockedAddress(
            f"{redact.url(url)} is not encrypted; http:// is for this machine only.",
            hint="Nothing was sent. Ask the holder for an https:// address.",
        )
    target = match["target"] or "/"
    return ParsedURL(scheme, host, port, target if target.startswith("/") else "/" + target)


def _host(host: str, url: str) -> str:
    """Return the host in its one canonical form."""
    try:
        if host.startswith("["):
            return str(ipaddress.IPv6Address(host[1:-1]))
        return str(ipaddress.IPv4Address(host))
    except ValueError:
        pass
    if _NUMERIC.fullmatch(host):
        raise BlockedAddress(f"{redact.url(url)} hides an IP address.")
    if not _NAME.fullmatch(host) or len(host) > 253:
        raise UntrustedOrigin(f"The address {redact.url(url)!r} has no proper host name.")
    return host


def literal(host: str) -> Address | None:
    """Return a host as an IP address, or None where it is a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def kind(address: Address) -> str:
    """Return ``public``, ``loopback``, ``private`` or ``special`` (link-local, multicast, ...).

    IPv4 inside IPv6 (mapped, 6to4, NAT64) counts as what is inside. Beside these, the Internet of
    IPv6 is 2000::/3 alone (RFC 4291 2.4); what Python calls global differs by its version.
    """
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return kind(inner)
    if address.is_loopback:
        return "loopback"
    if any(address in net for net in _PRIVATE):
        return "private"
    internet = address.version == 4 or address in _INTERNET6
    return "public" if internet and address.is_global and not address.is_multicast else "special"


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_INTERNET6 = ipaddress.IPv6Network("2000::/3")
_PRIVATE = tuple(
    ipaddress.ip_network(net)
    for net in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"),
        *("fc00::/7", "fec0::/10"),
    )
)


def is_local(host: str) -> bool:
    """Return whether a host by its own text is this machine."""
    address = literal(host)
    if address is not None:
        return kind(address) == "loopback"
    return host == "localhost" or host.endswith(".localhost")


def origin(url: str) -> str:
    """Return ``scheme://host:port`` of an address; the port is always written.

    Raises:
        BlockedAddress: as :func:`parse`.
        UntrustedOrigin: as :func:`parse`.
    """
    return parse(url).origin


def absolute(base: str, reference: str) -> str:
    """Return the target of a link in a response from ``base`` (RFC 3986 section 5.2).

    Raises:
        UntrustedOrigin: spaces, control characters, backslashes or non-ASCII in it, no host after
            "//", or no address at all.
    """
    if not _PLAIN.fullmatch(reference) or _NO_HOST.match(reference):
        raise UntrustedOrigin(f"The link {redact.url(reference)!r} is not written plainly.")
    try:
        return urljoin(base, reference)
    except ValueError:  # as "http://["
        raise UntrustedOrigin(f"The link {redact.url(reference)!r} is no web address.") from None


def split(url: str) -> SplitResult:
    """Return the parts of an address that a person gave.

    Raises:
        UntrustedOrigin: it is no address, as ``http://[``.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise UntrustedOrigin(f"{redact.url(url)!r} is no web address.") from None
    return parts


class Origins:
    """The origins that a person has consented to, for one holder.

    Args:
        base_url: the holder's FHIR base; its origin is trusted, as the person typed it.
        allow_origins: further origins named by the person; ``named`` holds them as written.
        confirm: called with an unknown origin; True means consent. None refuses.
        remember: called with each origin that ``confirm`` consented to, so that it can be stored.
    """

    def __init__(
        self,
        base_url: str,
        allow_origins: Iterable[str] = (),
        confirm: Callable[[str], bool] | None = None,
        remember: Callable[[str], None] | None = None,
    ) -> None:
        self.base = parse(base_url)
        self._with_token = {self.base.origin}
        self._without_token: set[str] = set()
        self._refused: set[str] = set()
        self._named: set[str] = set()  # IP addresses and local names that the person wrote down
        self._base_kinds: set[str] | None = None  # of address that the holder itself has
        if (address := literal(self.base.host)) is not None or is_local(self.base.host):
            self._base_kinds = {kind(address) if address else "loopback"}
        self._confirm, self._remember = confirm, remember
        self.named = frozenset(allow_origins := tuple(allow_origins))
        self._lock, self._confirming = threading.Lock(), threading.RLock()
        for allowed in allow_origins:
            self.allow(allowed)
            host = parse(allowed).host
            if literal(host) is not None or is_local(host):
                self._named.add(host)
        self._initial = frozenset(self._with_token)

    def allow(self, url: str, *, tokens: bool = True) -> None:
        """Consent to an origin; with ``tokens=False`` it never receives the token."""
        with self._lock:
            (self._with_token if tokens else self._without_token).add(origin(url))
            self._refused.discard(origin(url))

    def forget(self) -> None:
        """Withdraw every consent that was given since this object was made."""
        with self._lock:
            self._with_token = set(self._initial)
            self._refused.clear()

    def is_trusted(self, url: str) -> bool:
        """Return whether the token may go there."""
        return origin(url) in self._with_token

    def may_request(self, url: str) -> bool:
        """Return whether requests may go there, with or without the token."""
        return self._allowed(origin(url))

    def check(self, url: str, purpose: str = "the next request") -> ParsedURL:
        """Return the parsed address if a person consents to its origin.

        Raises:
            BlockedAddress: an IP address of another kind than the holder's own.
            UntrustedOrigin: no consent. Nothing was sent.
        """
        parsed = parse(url)
        self._check_literal(parsed)
        if self._allowed(parsed.origin) or self._confirmed(parsed.origin):
            return parsed
        raise UntrustedOrigin(
            f"{redact.text(purpose, limit=80)} leads to {parsed.origin}, "
            "to which nobody has consented.",
            origin=parsed.origin,
        )

    def _allowed(self, origin: str) -> bool:
        return origin in self._with_token or origin in self._without_token

    def _confirmed(self, origin: str) -> bool:
        """Request consent, once for all threads; a "no" is final until :meth:`allow`."""
        with self._confirming:
            if self._allowed(origin):
                return True  # another thread requested it while this one waited
            if self._confirm is None or origin in self._refused:
                return False
            if not self._confirm(origin):
                self._refused.add(origin)
                return False
            self.allow(origin)
            if self._remember is not None:
                self._remember(origin)
            return True

    def check_addresses(self, host: str, addresses: Iterable[Address]) -> None:
        """Refuse a name that leads elsewhere than to the Internet or to where the holder is.

        The first answer for the holder's own name says where the holder is; later answers, for
        that name too, must be of the same kind (a name that turns to another network is an attack).

        Raises:
            BlockedAddress: for the first address that does not fit.
        """
        kinds = {kind(address) for address in addresses}
        with self._lock:
            if self._base_kinds is None and host == self.base.host:
                self._base_kinds = kinds
            allowed = {"public"} | (self._base_kinds or set())
        if is_local(host):
            allowed = {"loopback"}  # such a name may go without encryption, so it must stay here
        if not kinds <= allowed and (host not in self._named or is_local(host)):
            worst = min(kinds - allowed)
            raise BlockedAddress(f"The name {host} leads to an address of the {worst} kind.")

    def _check_literal(self, parsed: ParsedURL) -> None:
        address = literal(parsed.host)
        if address is None and not is_local(parsed.host):
            return
        network = kind(address) if address else "loopback"
        if self._base_kinds is None and network == "private":
            return  # the holder may be there too; its name tells when it is first resolved
        expected = {"public"} | (self._base_kinds or set())
        if network not in expected and parsed.host not in self._named:
            raise BlockedAddress(f"{parsed.origin} lies in a {network} network.")
