"""What is claimed of a job is not believed where the records say otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker_config import codec
from broker_config.job import Checkpoint
from tests.support.honest_job import (
    FIRST_SEQ,
    SIZE,
    SPEC,
    honest,
    kinds,
)

# --- mutations of the claim ------------------------------------------------------------------------------


def _cells(cp: Checkpoint, data: st.DataObject) -> Any:
    return data.draw(st.sampled_from([cp.total, *cp.targets.values(), *cp.platforms.values()]))


def _counts_off(cp: Checkpoint, data: st.DataObject) -> None:
    cell = _cells(cp, data)
    name = data.draw(
        st.sampled_from(["planned", "ok", "failed", "cancelled", "lost", "dropped", "retried", "saturated"])
    )
    setattr(cell, name, getattr(cell, name) + data.draw(st.sampled_from([-1, 1, 1000])))


def _two_counts_off(cp: Checkpoint, data: st.DataObject) -> None:
    cell = _cells(cp, data)
    cell.ok, cell.failed = cell.ok - 1, cell.failed + 1


def _sketch(cp: Checkpoint, data: st.DataObject) -> Any:
    metrics = _cells(cp, data).metrics
    return metrics[data.draw(st.sampled_from(sorted(metrics)))]


def _sketch_off(cp: Checkpoint, data: st.DataObject) -> None:
    sketch = _sketch(cp, data)
    name = data.draw(st.sampled_from(["count", "sum", "min", "max"]))
    setattr(sketch, name, getattr(sketch, name) + data.draw(st.sampled_from([-1, 1])))


def _bucket_moved(cp: Checkpoint, data: st.DataObject) -> None:
    buckets = _sketch(cp, data).buckets
    index = data.draw(st.sampled_from(sorted(buckets)))
    to = index + data.draw(st.sampled_from([-1, 1, 40]))
    buckets[index] -= 1
    if not buckets[index]:
        del buckets[index]
    buckets[to] = buckets.get(to, 0) + 1


def _bucket_added(cp: Checkpoint, data: st.DataObject) -> None:
    buckets = _sketch(cp, data).buckets
    buckets[data.draw(st.integers(-400, 1200))] = data.draw(st.sampled_from([-1, 5_000]))


def _metric_gone(cp: Checkpoint, data: st.DataObject) -> None:
    metrics = _cells(cp, data).metrics
    del metrics[data.draw(st.sampled_from(sorted(metrics)))]


def _metric_invented(cp: Checkpoint, data: st.DataObject) -> None:
    cell = _cells(cp, data)
    cell.metrics["inp"] = cell.metrics["ttfb"]


def _group_gone(cp: Checkpoint, data: st.DataObject) -> None:
    del cp.targets[data.draw(st.sampled_from(sorted(cp.targets)))]


def _bit_cleared(cp: Checkpoint, data: st.DataObject) -> None:
    session = data.draw(st.integers(0, SIZE - 1))
    done = bytearray(cp.done)
    done[session // 8] ^= 1 << session % 8
    cp.done = bytes(done)


def _bit_beyond(cp: Checkpoint, data: st.DataObject) -> None:
    cp.done += bytes([1 << data.draw(st.integers(0, 7))])


def _superseded_off(cp: Checkpoint, data: st.DataObject) -> None:
    cp.superseded += data.draw(st.sampled_from([-1, 1]))


def _superseded_seq_off(cp: Checkpoint, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(cp.superseded_records) - 1))
    seq, session = cp.superseded_records[at]
    cp.superseded_records[at] = (seq + 1, session)


def _errors_off(cp: Checkpoint, data: st.DataObject) -> None:
    cp.errors[data.draw(st.sampled_from(sorted(cp.errors)))] += 1


def _time_bucket_off(cp: Checkpoint, data: st.DataObject) -> None:
    bucket = data.draw(st.sampled_from(cp.timeline.buckets))
    name = data.draw(st.sampled_from(["ok", "failed", "other", "load_count", "load_sum", "load_max"]))
    setattr(bucket, name, getattr(bucket, name) + 1)


def _timeline_shifted(cp: Checkpoint, data: st.DataObject) -> None:
    cp.timeline.start += data.draw(st.sampled_from([-1, 1]))


def _timeline_cut(cp: Checkpoint, data: st.DataObject) -> None:
    del cp.timeline.buckets[-1]


def _seq_off(cp: Checkpoint, data: st.DataObject) -> None:
    cp.seq = data.draw(st.sampled_from([FIRST_SEQ, FIRST_SEQ + 30, cp.seq + 1]))


def _other_job(cp: Checkpoint, data: st.DataObject) -> None:
    cp.job = "j0other"


def _progress(cp: Checkpoint, **changes: object) -> None:
    assert cp.progress is not None
    cp.progress = msgspec.structs.replace(cp.progress, **changes)


def _progress_counts_off(cp: Checkpoint, data: st.DataObject) -> None:
    assert cp.progress is not None
    counts = cp.progress.counts
    name = data.draw(st.sampled_from(counts.__struct_fields__))
    by = 1_000 if name == "superseded" else 1
    _progress(cp, counts=msgspec.structs.replace(counts, **{name: getattr(counts, name) + by}))


def _progress_summary_off(cp: Checkpoint, data: st.DataObject) -> None:
    assert cp.progress is not None
    metrics = cp.progress.metrics
    metric = data.draw(st.sampled_from(sorted(metrics)))
    name = data.draw(st.sampled_from(metrics[metric].__struct_fields__))
    value = getattr(metrics[metric], name)
    off = value + 1 if name in ("count", "min", "max", "mean") else value * 1.05 + 0.05
    metrics[metric] = msgspec.structs.replace(metrics[metric], **{name: off})


def _progress_group_off(cp: Checkpoint, data: st.DataObject) -> None:
    assert cp.progress is not None
    groups = data.draw(st.sampled_from([cp.progress.targets, cp.progress.platforms]))
    key = data.draw(st.sampled_from(sorted(groups)))
    name = data.draw(st.sampled_from(groups[key].__struct_fields__))
    groups[key] = msgspec.structs.replace(groups[key], **{name: getattr(groups[key], name) * 2 + 1})


def _progress_threshold_off(cp: Checkpoint, data: st.DataObject) -> None:
    assert cp.progress is not None
    text = data.draw(st.sampled_from(SPEC.thresholds))
    answer = data.draw(st.sampled_from([False, None, "gone"]))
    if answer == "gone":
        del cp.progress.thresholds[text]
    else:
        cp.progress.thresholds[text] = answer  # type: ignore[assignment]


def _progress_verdict_off(cp: Checkpoint, data: st.DataObject) -> None:
    _progress(cp, verdict=data.draw(st.sampled_from(["passed", "failed", "error", None])))


def _progress_unfinished(cp: Checkpoint, data: st.DataObject) -> None:
    _progress(cp, state="running")


CLAIMS: dict[Callable[[Checkpoint, st.DataObject], None], set[str]] = {
    _counts_off: {"totals"},
    _two_counts_off: {"totals"},
    _sketch_off: {"metric"},
    _bucket_moved: {"metric"},
    _bucket_added: {"metric"},
    _metric_gone: {"metric"},
    _metric_invented: {"metric"},
    _group_gone: {"claim"},
    _bit_cleared: {"not-counted"},
    _bit_beyond: {"double-counted"},
    _superseded_off: {"superseded-count"},
    _superseded_seq_off: {"superseded-count"},
    _errors_off: {"errors"},
    _time_bucket_off: {"timeline"},
    _timeline_shifted: {"timeline"},
    _timeline_cut: {"timeline"},
    _seq_off: {"claim", "totals", "double-counted"},
    _other_job: {"claim"},
    _progress_counts_off: {"totals", "superseded-count"},
    _progress_summary_off: {"metric", "quantile"},
    _progress_group_off: {"totals", "metric", "quantile"},
    _progress_threshold_off: {"thresholds"},
    _progress_verdict_off: {"verdict"},
    _progress_unfinished: {"claim"},
}


@pytest.mark.parametrize("change", CLAIMS, ids=lambda f: f.__name__.strip("_"))
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_an_altered_claim_is_caught(
    change: Callable[[Checkpoint, st.DataObject], None], data: st.DataObject
) -> None:
    case = honest()
    claimed = codec.decode(codec.encode(case.checkpoint), Checkpoint)
    change(claimed, data)
    report = case.audited(claimed=claimed)
    assert kinds(report) & CLAIMS[change], report.findings[:10]


@pytest.mark.parametrize(
    "name", ["planned", "ok", "failed", "cancelled", "lost", "dropped", "retried", "saturated"]
)
@pytest.mark.parametrize("by", [-1, 1])
def test_altered_counts_are_caught(name: str, by: int) -> None:
    case = honest()
    altered = msgspec.structs.replace(case.job.counts, **{name: getattr(case.job.counts, name) + by})
    assert "totals" in kinds(case.audited(claimed=altered))
    assert "totals" in kinds(case.with_job(counts=altered).audited())


def test_a_session_counted_twice_is_named_so() -> None:
    case = honest()
    altered = msgspec.structs.replace(case.job.counts, ok=case.job.counts.ok + 1)
    assert "double-counted" in kinds(case.audited(claimed=altered))
