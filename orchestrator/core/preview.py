"""What a job would run, from its spec and the runners that are online. Nothing is asked, nothing stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from broker_config.api import RunnerView
from broker_config.device import as_devices
from broker_config.job_plan import JobPlan, PlannedPlatform
from broker_config.job_spec import JobSpec
from broker_config.load import ConstantArrivalRate, RampingArrivalRate
from broker_config.load_problems import executor_name

from .estimate import Course, course, session_span
from .plan import Plan
from .window import lane_of, pools_of, shown


def preview(spec: JobSpec, online: Sequence[RunnerView]) -> JobPlan:
    """`online` are the runners that take work now. A large job takes a second or two."""
    plan = Plan("plan", spec)
    runners = [r for r in online if spec.dispatch_pool in pools_of(r.pool, scripts=r.scripts)]
    asked = plan.planned_by_platform()
    platforms = [_platform(p, n, plan.chain(p), runners) for p, n in asked.items()]
    taken = {p.runs_on for p in platforms if p.runs_on is not None}
    slots = sum(r.slots for r in runners if taken & {offer.platform for offer in r.platforms})
    lanes: Counter[tuple[str, int]] = Counter()
    for p in platforms:
        if p.runs_on is not None:
            lanes[p.runs_on, p.slots] += p.sessions
    session, rests_on = session_span(spec)
    goes = course(spec, session, slots or None, [(n, own) for (_, own), n in lanes.items()])
    targets = plan.planned_by_target()
    sessions = plan.size
    if plan.open_ended:
        # As many as there will be, about, instead of the most that there can be.
        sessions = min(plan.size, sum(goes.minutes))
        begun = range(1, sessions + 1)
        by_target = Counter(plan.target(s) for s in begun)
        by_platform = Counter(plan.platform(s) for s in begun)
        targets = {t.label: by_target[i] for i, t in enumerate(spec.targets)}
        platforms = [msgspec.structs.replace(p, sessions=by_platform[p.platform]) for p in platforms]
        rests_on.append("virtual users begin as many sessions as they can: their number is an estimate too")
    if slots:
        of = "1 slot" if slots == 1 else f"{slots} slots"
        rests_on.append(f"{of} online now for the job's platforms, shared with no other job")
    else:
        rests_on.append("no runner is online for it: as many slots as it asks for are assumed")
    rests_on.append("no session fails or is tried again")
    return JobPlan(
        name=spec.name,
        executor=executor_name(spec.load),
        sessions=sessions,
        most_sessions=plan.size,
        targets=targets,
        platforms=platforms,
        devices=_devices(plan, sessions),
        at_once=goes.at_once,
        minutes=goes.minutes,
        session=session,
        duration=goes.duration,
        rests_on=rests_on,
        warnings=list(_warnings(spec, platforms, goes, slots)),
        seed=spec.seed,
    )


def _platform(
    asked: str, sessions: int, chain: Sequence[str], runners: Sequence[RunnerView]
) -> PlannedPlatform:
    for platform in chain:
        able = [r for r in runners if any(offer.platform == platform for offer in r.platforms)]
        if able:
            return PlannedPlatform(
                platform=asked,
                sessions=sessions,
                runs_on=platform,
                runners=len(able),
                slots=sum(r.slots for r in able),
                free=sum(max(0, r.slots - r.busy) for r in able),
            )
    return PlannedPlatform(platform=asked, sessions=sessions)


def _devices(plan: Plan, sessions: int) -> dict[str, int]:
    out = {d.label: 0 for d in as_devices(plan.spec.devices)}
    for session in range(1, sessions + 1) if out else ():
        device = plan.device(session)
        assert device is not None
        out[device.label] += 1
    return out


def _warnings(spec: JobSpec, platforms: Sequence[PlannedPlatform], goes: Course, slots: int) -> Iterator[str]:
    for p in platforms:
        lane = shown(lane_of(p.platform, spec.dispatch_pool))
        if p.runs_on is None:
            yield f"no online runner offers {lane}: its {p.sessions} sessions wait until one comes"
        elif p.runs_on != p.platform:
            yield f"no online runner offers {lane}: {p.runs_on} stands in"
    if isinstance(spec.load, ConstantArrivalRate | RampingArrivalRate):
        if goes.needed > goes.at_once:
            most = f"max_vus is {spec.load.max_vus}"
            why = f"{slots} slots are online" if slots and slots < spec.load.max_vus else most
            at_once = f"about {goes.needed} sessions at once"
            yield f"the rate needs {at_once}, and {why}: some will be late or dropped"
    elif goes.needed > goes.at_once:
        yield f"{goes.needed} virtual users, but {slots} slots are online: no more sessions run at once"
    if spec.limits.rate is not None:
        rate = f"limits.rate ({spec.limits.rate:g} requests a second)"
        yield f"{rate} can make it slower: how many requests a page makes is not known"
