"""The broker in operator mode: who may publish, subscribe to and ask for what. Pure.

    SYS        the broker itself: here accounts are changed and credentials revoked
    APP        JetStream, and orchestrators, which may do everything in it
    RUNNERS    no JetStream; of APP it has what a runner needs, and each runner of that what is its own
    WATCHERS   no JetStream; people who look on with the plain command line of NATS

Accounts share nothing but what one exports and another imports. Between them the broker replaces the subject
to which an answer goes: whoever asks from RUNNERS can make nobody in APP write anywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from . import nats_jwt, subjects
from .keyring import Keyring
from .nats_jwt import Claims
from .platform import PLATFORMS
from .script import scripts_pool
from .streams import ARTIFACTS, DISPATCH, PROGRESS, QUARANTINE

#: Prefix of JetStream's API in accounts that have none themselves: `$JS.API` would be answered by the broker.
JS_PREFIX = "JSA.API"
#: JetStream's domain: under it also leaf nodes, which have no JetStream of their own, reach its API.
DOMAIN = "tb"
#: What a runner's connection may have and send. A chunk of an artifact has 128 KiB, a record some kilobytes.
RUNNER_SUBSCRIPTIONS = 2_048
RUNNER_PAYLOAD = 256 << 10
#: Connections of all runners, and of all who look on: orchestrators always find room beside them.
_RUNNER_CONNECTIONS = 20_000
_WATCHER_CONNECTIONS = 1_000
#: An order may be answered after so long, s: tests of proxies take their time.
_ANSWER_WITHIN = 60.0
#: The broker remembers so long whom an answer would go to, s; for pulls longer than they wait.
_REMEMBERED = 10.0
_REMEMBERED_PULL = 60.0
#: Accounts as the broker knows them from its configuration are older than any that are pushed to it.
_CONFIGURED_AT = 1.0
_NANO = 1_000_000_000

_API = f"$JS.{DOMAIN}.API"
_ACK = f"$JS.ACK.{DISPATCH.name}"
_NEXT = f"CONSUMER.MSG.NEXT.{DISPATCH.name}"
_CHUNKS = f"$O.{ARTIFACTS.name}.C.*"
#: What runners publish and ask, as APP knows it. The last part of each but the last two is a runner's id.
_FROM_RUNNERS = (
    subjects.RUNNER_REGISTERS,
    subjects.RUNNER_RENEWS,
    subjects.RUNNER_ARTIFACTS,
    subjects.RUNNER_SECRETS,
    subjects.RUNNER_HEARTBEATS,
    subjects.SESSION_RECORDS,
    subjects.JOB_LOGS,
    *(f"{subjects.quarantine(kind)}.*" for kind in ("dispatch", "control")),
    f"{_ACK}.*.>",
    _CHUNKS,
)
#: What lookers-on see, and what they may ask. Values are read, with no consumer: one could be made to deliver
#: anywhere.
_SEEN = (subjects.JOB_PROGRESSES, subjects.SESSION_RECORDS, subjects.JOB_LOGS, subjects.RUNNER_HEARTBEATS)
#: Of that, what orchestrators say and what runners say: it is seen where it is said.
_SAID_IN_APP = (subjects.JOB_PROGRESSES, subjects.SESSION_RECORDS)
_SAID_BY_RUNNERS = (subjects.SESSION_RECORDS, subjects.JOB_LOGS, subjects.RUNNER_HEARTBEATS)
_READABLE = (PROGRESS.name, QUARANTINE.name)
_ASKED = (
    "INFO",
    "STREAM.NAMES",
    "STREAM.LIST",
    *(f"STREAM.INFO.{name}" for name in _READABLE),
    *(f"STREAM.MSG.GET.{name}" for name in _READABLE),
    *(f"DIRECT.GET.{name}" for name in _READABLE),
    *(f"DIRECT.GET.{name}.>" for name in _READABLE),
)


class BrokerAccounts(msgspec.Struct, frozen=True, kw_only=True):
    """What the broker's configuration says of operator mode: tokens by public key of the account."""

    operator: str
    system_account: str
    accounts: dict[str, str]


def broker_accounts(keyring: Keyring) -> BrokerAccounts:
    """Always the same for the same keyring. What is revoked stands in accounts that are pushed later: the
    broker keeps those, as they are newer."""

    def token(claims: Claims) -> str:
        return nats_jwt.encode(claims, keyring.operator, issued_at=_CONFIGURED_AT)

    system = keyring.public("system_account")
    return BrokerAccounts(
        operator=token(nats_jwt.operator("trafficbuster", keyring.public("operator"), system_account=system)),
        system_account=system,
        accounts={str(claims["sub"]): token(claims) for claims in account_claims(keyring)},
    )


def account_claims(keyring: Keyring, revoked: Mapping[str, float] | None = None) -> list[Claims]:
    """The accounts. `revoked` maps keys of runners to the time until which no token of theirs holds."""
    return [
        nats_jwt.account("SYS", keyring.public("system_account"), limits=_limits(leaf=-1)),
        _app(keyring),
        runners_account(keyring, revoked or {}),
        _watchers(keyring),
    ]


def runners_account(keyring: Keyring, revoked: Mapping[str, float]) -> Claims:
    """The account of all runners, without those that are revoked."""
    app = keyring.public("app_account")
    more: Claims = {"revocations": {key: int(until) for key, until in sorted(revoked.items())}}
    return nats_jwt.account(
        "RUNNERS",
        keyring.public("runners_account"),
        limits=_limits(conn=_RUNNER_CONNECTIONS, leaf=-1),
        signing_keys=[
            {
                "kind": "user_scope",
                "key": keyring.public("runners_signing"),
                "role": "runner",
                "template": _runner_template(),
            }
        ],
        exports=[
            _service(subjects.RUNNER_CONTROLS, within=_ANSWER_WITHIN),
            *(_stream(subject) for subject in _SAID_BY_RUNNERS),
        ],
        imports=[
            *(_service_import(subject, app) for subject in _FROM_RUNNERS),
            _service_import(f"{_API}.{_NEXT}.*", app, to=f"{JS_PREFIX}.{_NEXT}.*"),
            _stream_import(subjects.JOB_CONTROLS, app),
        ],
        **(more if revoked else {}),
    )


def orchestrator_token(
    keyring: Keyring, name: str, key: str, *, now: float, expires_at: float | None = None
) -> str:
    """May do everything in APP."""
    claims = nats_jwt.user(name, key, permissions=_everything(), expires_at=expires_at)
    return nats_jwt.encode(claims, keyring.app_account, issued_at=now)


def system_token(keyring: Keyring, name: str, key: str, *, now: float) -> str:
    """May change accounts; never expires, as the key that issues it is at hand anyway."""
    claims = nats_jwt.user(name, key, permissions=_everything())
    return nats_jwt.encode(claims, keyring.system_account, issued_at=now)


def leaf_token(keyring: Keyring, key: str, *, now: float) -> str:
    """For a leaf node, which carries what orchestrators and runners on its side say into APP."""
    claims = nats_jwt.user("leaf", key, permissions=_everything())
    return nats_jwt.encode(claims, keyring.app_account, issued_at=now)


def leaf_system_token(keyring: Keyring, key: str, *, now: float) -> str:
    """For the same leaf node, which hears by it of changes of accounts, and asks for those that it has
    missed; it changes none."""
    permissions = {
        "pub": {"allow": ["$SYS.REQ.CLAIMS.PACK"]},
        "sub": {"allow": ["$SYS.REQ.CLAIMS.UPDATE", "$SYS._INBOX.>", "_INBOX.>"]},
        "subs": -1,
        "data": -1,
        "payload": -1,
    }
    claims = nats_jwt.user("leaf", key, permissions=permissions)
    return nats_jwt.encode(claims, keyring.system_account, issued_at=now)


def watcher_token(keyring: Keyring, name: str, key: str, *, now: float, expires_at: float | None) -> str:
    """May see what runs and read records, and change nothing."""
    asked = [f"{JS_PREFIX}.{call}" for call in _ASKED]
    permissions = {
        "pub": {"allow": asked},
        "sub": {"allow": [*_SEEN, "_INBOX.>"]},
        "subs": 100,
        "data": -1,
        "payload": 4096,
    }
    claims = nats_jwt.user(name, key, permissions=permissions, expires_at=expires_at)
    return nats_jwt.encode(claims, _watchers_seed(keyring), issued_at=now)


def runner_token(
    keyring: Keyring,
    runner: str,
    key: str,
    *,
    platforms: Iterable[str] = (),
    pool: str | None = None,
    scripts: bool = False,
    now: float,
    expires_at: float,
) -> str:
    """Of a runner: it may say what it says under its own name, and pull the sessions of its pool on these
    platforms (none: on all), with `scripts` also those with scripts of users."""
    lanes = [pool, scripts_pool(pool)] if scripts else [pool]
    consumers = [
        subjects.dispatch_consumer(platform, lane) for platform in (platforms or PLATFORMS) for lane in lanes
    ]
    claims = nats_jwt.user(
        runner,
        key,
        account=keyring.public("runners_account"),
        tags=[f"consumer:{consumer}" for consumer in consumers],
        expires_at=expires_at,
    )
    return nats_jwt.encode(claims, keyring.runners_signing, issued_at=now)


def runner_inbox(runner: str) -> str:
    """The prefix of a runner's inboxes: it may subscribe to no other."""
    return f"_INBOX_{subjects.token(runner, 'runner id')}"


def _runner_template() -> Claims:
    """`{{…}}` are filled in by the broker, from the runner's own token."""
    name, consumer = "{{name()}}", "{{tag(consumer)}}"
    own = [
        f"{subjects.RUNNER_REGISTER}.{name}",
        f"runner.renew.{name}",
        f"{subjects.RUNNER_ARTIFACT}.{name}",
        f"{subjects.RUNNER_SECRET}.{name}",
        f"runner.heartbeat.{name}",
        f"job.progress.*.{name}",
        f"job.log.*.{name}",
        *(f"{subjects.quarantine(kind)}.{name}" for kind in ("dispatch", "control")),
        f"{JS_PREFIX}.{_NEXT}.{consumer}",
        f"{_ACK}.{consumer}.>",
        _CHUNKS,
    ]
    return {
        "pub": {"allow": own},
        "sub": {"allow": [f"_INBOX_{name}.>", f"runner.control.{name}", subjects.JOB_CONTROLS]},
        # Orders to it may be answered, and deliveries.
        "resp": {"max": 1, "ttl": int(_ANSWER_WITHIN * _NANO)},
        "subs": RUNNER_SUBSCRIPTIONS,
        "data": -1,
        "payload": RUNNER_PAYLOAD,
    }


def _app(keyring: Keyring) -> Claims:
    app, runners = keyring.public("app_account"), keyring.public("runners_account")
    unlimited = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
    return nats_jwt.account(
        "APP",
        app,
        limits={**_limits(leaf=-1), **unlimited},
        exports=[
            *(_service(subject) for subject in _FROM_RUNNERS),
            _service(f"{_API}.{_NEXT}.*", many=True, within=_REMEMBERED_PULL),
            *(_service(f"$JS.API.{call}", many=call.startswith("DIRECT")) for call in _ASKED),
            *(_stream(subject) for subject in (subjects.JOB_CONTROLS, *_SAID_IN_APP)),
        ],
        imports=[_service_import(subjects.RUNNER_CONTROLS, runners)],
    )


def _watchers(keyring: Keyring) -> Claims:
    app, runners = keyring.public("app_account"), keyring.public("runners_account")
    return nats_jwt.account(
        "WATCHERS",
        nats_jwt.public_key(_watchers_seed(keyring)),
        limits=_limits(conn=_WATCHER_CONNECTIONS),
        imports=[
            *(_stream_import(subject, app) for subject in _SAID_IN_APP),
            *(_stream_import(subject, runners) for subject in _SAID_BY_RUNNERS),
            *(_service_import(f"$JS.API.{call}", app, to=f"{JS_PREFIX}.{call}") for call in _ASKED),
        ],
    )


def _watchers_seed(keyring: Keyring) -> bytes:
    """Made from the operator's: it says no more than that one says already."""
    return nats_jwt.account_seed(
        hashlib.blake2b(keyring.operator, digest_size=32, person=b"tb-watchers").digest()
    )


def _service(subject: str, *, many: bool = False, within: float = _REMEMBERED) -> Claims:
    return {
        "name": subject,
        "subject": subject,
        "type": "service",
        "response_type": "Stream" if many else "Singleton",
        "response_threshold": int(within * _NANO),
    }


def _stream(subject: str) -> Claims:
    return {"name": subject, "subject": subject, "type": "stream"}


def _stream_import(subject: str, account: str) -> Claims:
    return {"name": subject, "subject": subject, "account": account, "type": "stream"}


def _service_import(subject: str, account: str, *, to: str | None = None) -> Claims:
    """`to` is how the importing account calls it, with the same wildcards."""
    found: Claims = {"name": subject, "subject": subject, "account": account, "type": "service"}
    if to is not None:
        number = iter(range(1, 1 + to.count("*")))
        found["local_subject"] = ".".join(
            f"${next(number)}" if part == "*" else part for part in to.split(".")
        )
    return found


def _limits(conn: int = -1, leaf: int = 0) -> Claims:
    return {
        "subs": -1,
        "data": -1,
        "payload": -1,
        "imports": -1,
        "exports": -1,
        "wildcards": True,
        "conn": conn,
        "leaf": leaf,
    }


def _everything() -> Claims:
    return {"pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1}
