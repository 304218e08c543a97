"""What a session may reach, from what was dispatched."""

from __future__ import annotations

from broker_config.address import as_address
from broker_config.egress import dns_server
from broker_config.messages import Dispatch
from broker_config.origin_pattern import OriginPattern

from .egress_policy import EgressPolicy, authorised, normal_host
from .identity import HEADER, attempt, product


def session_policy(dispatch: Dispatch, version: str) -> EgressPolicy:
    """The policy of one attempt. `version` is the distribution's. `ValueError` where the dispatch holds an
    origin, a pattern or a DNS server that this runner cannot read."""
    origins = authorised([dispatch.url, *dispatch.origins])
    third_party = dispatch.third_party
    egress = dispatch.egress
    tag = attempt(dispatch)
    return EgressPolicy(
        origins=origins,
        third_party=third_party if isinstance(third_party, str) else tuple(map(_pattern, third_party)),
        # Named by the job, and allowed by the operator: they may be in a private network.
        private_hosts=frozenset(o.host for o in origins if as_address(o.host) is None),
        rate=dispatch.rate,
        bypass=tuple(map(_pattern, egress.bypass)) if egress is not None else (),
        dns=tuple(map(dns_server, egress.dns)) if egress is not None else (),
        product=product(version),
        tag=f"({tag})",
        header=f"{HEADER}: {tag}",
        job=dispatch.job,
        session=dispatch.session,
        attempt=dispatch.attempt,
    )


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
