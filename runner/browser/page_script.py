"""What runs inside the page: look, scroll, and read the measures.

Nothing is installed beforehand. Browsers keep performance entries, and an observer with `buffered` gets
those from before it: so a page is not touched until it has loaded. Definitions are those of the web-vitals
library. The largest contentful paint is taken before the first scroll step, because a user's scrolling ends
it while a script's does not. Bytes are as the browser tells them: 0 for resources of other origins that do
not send Timing-Allow-Origin, and of no more than 250 resources.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker_config.messages import Measures
from runner.core.behaviour import MAX_STEPS, BehaviourPlan

#: Takes the plan; leaves a function that reads the measures. Milliseconds.
ACT = """async ({look, steps, most}) => {
  const sleep = ms => new Promise(done => setTimeout(done, ms));
  const frame = () => new Promise(done => { requestAnimationFrame(done); setTimeout(done, 100); });
  let fcp = null, lcp = null, inp = null;
  let cls = 0, run = 0, runStart = 0, runLast = 0;
  const taken = [];
  const watch = (type, hear, more) => {
    if (!(self.PerformanceObserver?.supportedEntryTypes || []).includes(type)) return;
    const observer = new PerformanceObserver(list => list.getEntries().forEach(hear));
    observer.observe({type, buffered: true, ...more});
    const take = () => observer.takeRecords().forEach(hear);
    taken.push(take);
    return {take, stop: () => { take(); observer.disconnect(); taken.splice(taken.indexOf(take), 1); }};
  };
  watch('paint', e => { if (e.name === 'first-contentful-paint') fcp = e.startTime; });
  const largest = watch('largest-contentful-paint', e => { lcp = e.startTime; });
  watch('layout-shift', e => {
    if (e.hadRecentInput) return;
    if (run && e.startTime - runLast < 1000 && e.startTime - runStart < 5000) run += e.value;
    else { run = e.value; runStart = e.startTime; }
    runLast = e.startTime;
    if (run > cls) cls = run;
  });
  const interaction = e => { if (e.interactionId) inp = Math.max(inp ?? 0, e.duration); };
  watch('event', interaction, {durationThreshold: 16});
  watch('first-input', interaction);

  // The paint that the load event waited for may still be under way.
  const began = performance.now();
  do { await frame(); taken.forEach(take => take()); }
  while (performance.now() - began < 300 && (fcp === null || (largest && lcp === null)));
  if (look) await sleep(look);
  if (largest) largest.stop();

  let step = 0;
  if (steps.length) {
    const page = document.scrollingElement || document.documentElement;
    while (step < most && page.scrollTop + innerHeight < page.scrollHeight - 1) {
      const before = page.scrollTop, [share, rest] = steps[step % steps.length];
      page.scrollBy({top: Math.max(1, innerHeight * share), behavior: 'instant'});
      step += 1;
      await sleep(rest);
      if (page.scrollTop <= before) break;
    }
  }
  return () => {
    taken.forEach(take => take());
    const page = performance.getEntriesByType('navigation')[0] || {};
    let bytes = page.transferSize || 0;
    for (const e of performance.getEntriesByType('resource')) bytes += e.transferSize || 0;
    const clsKnown = (self.PerformanceObserver?.supportedEntryTypes || []).includes('layout-shift');
    return {ttfb: page.responseStart, dcl: page.domContentLoadedEventEnd, load: page.loadEventEnd,
            fcp, lcp, cls: clsKnown ? cls : null, inp, bytes, steps: step};
  };
}"""

READ = "read => read()"


def act_argument(plan: BehaviourPlan) -> dict[str, Any]:
    """The argument of `ACT`."""
    return {
        "look": plan.look * 1000,
        "steps": [[s.share, s.rest * 1000] for s in plan.steps],
        "most": MAX_STEPS,
    }


def read_measures(raw: Mapping[str, Any], counted: Measures) -> Measures:
    """`counted`, filled up with what `READ` gave. A time of 0 was not reached."""

    def time(name: str) -> float | None:
        value = raw.get(name)
        return round(float(value), 2) if isinstance(value, int | float) and value > 0 else None

    cls, size = raw.get("cls"), raw.get("bytes")
    return Measures(
        http_status=counted.http_status,
        ttfb=time("ttfb"),
        dcl=time("dcl"),
        load=time("load"),
        fcp=time("fcp"),
        lcp=time("lcp"),
        cls=round(float(cls), 5) if isinstance(cls, int | float) else None,
        inp=time("inp"),
        bytes=int(size) if isinstance(size, int | float) else None,
        requests=counted.requests,
        failed_requests=counted.failed_requests,
        console_errors=counted.console_errors,
    )
