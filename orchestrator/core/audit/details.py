"""What a checkpoint says beside counts and metrics: steps, sessions without the saturated ones, errors,
origins and proxies."""

from __future__ import annotations

from array import array
from collections import Counter

from broker_config.job import Checkpoint

from .metric import check_sketch, compare
from .report import Findings
from .tally import Tally

#: As the checkpoint is documented: so many names have a count of their own.
STEPS, NAMES, EXAMPLES = 50, 50, 30


def check_details(cp: Checkpoint, tally: Tally, findings: Findings) -> None:
    _check_steps(cp, tally, findings)
    calm = tally.calm if tally.total.saturated else None
    for metric in cp.calm.keys() | (calm.values.keys() if calm else set()):
        own = calm.sorted(metric) if calm else ()
        check_sketch(cp.calm.get(metric), own, f"without saturated sessions: {metric}", findings)
    for kind, said in cp.examples.items():
        own_examples = tally.examples.get(kind)
        listed = [(e.session, e.target, e.platform, e.runner, e.detail) for e in said]
        # What is beyond the bound of kinds goes under a name that no record has.
        if (own_examples is None and len(tally.errors) <= 100) or (own_examples or listed) != listed:
            findings.add("errors", f"the examples of {kind} are not its first sessions")
    if len(cp.examples) < min(len(tally.errors), EXAMPLES):
        findings.add("errors", f"{len(cp.examples)} kinds have examples; there are {len(tally.errors)}")
    for what, claimed, own_sums in (
        ("refused", cp.refused, tally.refused),
        ("third parties", cp.third_parties, tally.third_parties),
        ("proxies", cp.upstreams, tally.upstreams),
    ):
        _check_sums(what, claimed, own_sums, findings)


def _check_steps(cp: Checkpoint, tally: Tally, findings: Findings) -> None:
    if len(cp.steps) != min(len(tally.steps), STEPS):
        findings.add("steps", f"{len(cp.steps)} steps; the records have {len(tally.steps)}")
    for name, said in cp.steps.items():
        own = tally.steps.get(name)
        if own is None:
            findings.add("steps", f"no record has a step {name}")
            continue
        compare(said.ok, own.ok, f"step {name}: ok", findings, "steps")
        compare(said.failed, own.failed, f"step {name}: failed", findings, "steps")
        check_sketch(said.time, array("d", sorted(own.values)), f"step {name}", findings)


def _check_sums(what: str, claimed: dict[str, int], own: Counter[str], findings: Findings) -> None:
    cut: Counter[str] = Counter()
    for name, n in own.items():
        cut[name[:200]] += n
    if sum(claimed.values()) != cut.total() or (len(cut) <= NAMES and claimed != dict(cut)):
        findings.add("origins", f"{what}: {dict(list(claimed.items())[:5])}; the records differ")
