"""What a session may reach, from what was dispatched."""

from __future__ import annotations

from broker_config.address import as_address
from broker_config.egress import ThirdParty, dns_server
from broker_config.errors import MessageError
from broker_config.messages import Dispatch
from broker_config.origin_pattern import OriginPattern

from .egress_policy import EgressPolicy, authorised, normal_host
from .identity import HEADER, attempt, product


def session_policy(dispatch: Dispatch, version: str, contact: str = "") -> EgressPolicy:
    """The policy of one attempt: what dispatch and grant allow both. `version` is the distribution's. The
    signature of the grant is not looked at here. `ValueError` where they hold an origin, a pattern or a DNS
    server that this runner cannot read."""
    try:
        grant = dispatch.grant.read() if dispatch.grant is not None else None
    except MessageError as e:
        raise ValueError(str(e)) from None
    origins = authorised([dispatch.url, *dispatch.origins])
    third_party, rate, private = dispatch.third_party, dispatch.rate, frozenset[str]()
    if grant is not None:
        origins &= authorised(grant.origins)
        private = frozenset(map(normal_host, grant.private_hosts))
        third_party = narrower(third_party, grant.third_party)
        rates = [rate, *(c.rate for c in grant.ceilings.values())]
        rate = min((r for r in rates if r is not None), default=None)
    egress = dispatch.egress
    tag = attempt(dispatch, contact)
    return EgressPolicy(
        origins=origins,
        third_party=third_party if isinstance(third_party, str) else tuple(map(_pattern, third_party)),
        # Named by the job, and allowed by the operator or an admin: they may be in a private network.
        private_hosts=frozenset(o.host for o in origins if o.host in private and as_address(o.host) is None),
        rate=rate,
        expires_at=grant.expires_at if grant is not None else None,
        bypass=tuple(map(_pattern, egress.bypass)) if egress is not None else (),
        dns=tuple(map(dns_server, egress.dns)) if egress is not None else (),
        product=product(version),
        tag=f"({tag})",
        header=f"{HEADER}: {tag}",
        job=dispatch.job,
        session=dispatch.session,
        attempt=dispatch.attempt,
    )


def narrower(one: ThirdParty, other: ThirdParty) -> ThirdParty:
    """What both allow."""
    if one == other or one == "block" or other == "all":
        return one
    if one == "all" or other == "block":
        return other
    return [pattern for pattern in one if pattern in other]


def wants_proxies(dispatch: Dispatch) -> bool:
    """Whether its traffic must go through proxies."""
    return dispatch.egress is not None and not dispatch.egress.is_direct


def _pattern(text: str) -> OriginPattern:
    pattern = OriginPattern.parse(text)
    if (address := as_address(pattern.host)) is None:
        return pattern
    # The one spelling. Others than those of an address (`0x7f.1`) stay what they are, and fit nothing: nobody
    # has looked at where they lead.
    return pattern._replace(host=normal_host(str(address)))
