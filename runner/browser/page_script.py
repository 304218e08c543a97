"""What runs inside the page: look, scroll, read the measures, find links.

Nothing is installed beforehand. Browsers keep performance entries, and an observer with `buffered` gets
those from before it: so a page is not touched until it has loaded. Definitions are those of the web-vitals
library. The largest contentful paint is not followed beyond the first scroll step, because a user's
scrolling ends it while a script's does not. Bytes are as the browser tells them: 0 for resources of other
origins that do not send Timing-Allow-Origin, and of no more than 250 resources.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker_config.messages import Measures
from runner.core.behaviour import PagePlan

#: Takes the plan; leaves a function that reads the measures. Milliseconds.
ACT = """async ({look, steps, most, leaving}) => {
  const sleep = ms => new Promise(done => setTimeout(done, ms));
  const frame = () => new Promise(done => { requestAnimationFrame(done); setTimeout(done, 100); });
  let fcp = null, lcp = null;
  let cls = 0, run = 0, runStart = 0, runLast = 0;
  const taken = [];
  const watch = (type, hear, more) => {
    if (!(self.PerformanceObserver?.supportedEntryTypes || []).includes(type)) return;
    const observer = new PerformanceObserver(list => list.getEntries().forEach(hear));
    observer.observe({type, buffered: true, ...more});
    const take = () => observer.takeRecords().forEach(hear);
    taken.push(take);
    return {take, stop: () => {
      const at = taken.indexOf(take);
      if (at >= 0) { take(); observer.disconnect(); taken.splice(at, 1); }
    }};
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
  // As web-vitals has it: an interaction is as long as its longest event; of the ten longest one is left out
  // for every fifty that there were.
  const longest = new Map();
  const interaction = e => {
    const id = e.interactionId;
    if (!id || e.duration <= (longest.get(id) ?? 0)) return;
    longest.set(id, e.duration);
    if (longest.size > 10) {
      const [least] = [...longest].reduce((a, b) => b[1] < a[1] ? b : a);
      longest.delete(least);
    }
  };
  watch('event', interaction, {durationThreshold: 16});
  watch('first-input', interaction);
  const inp = () => {
    const all = [...longest.values()].sort((a, b) => b - a);
    const skip = Math.floor((performance.interactionCount ?? all.length) / 50);
    return all.length ? all[Math.min(skip, all.length - 1)] : null;
  };
  // The interaction that leaves a page is known only when it is too late to be asked for: the next page of
  // the origin finds it in the storage.
  const key = '__trafficbuster_inp';
  let left = null;
  if (leaving) {
    try {
      const kept = sessionStorage.getItem(key);
      if (kept !== null) { sessionStorage.removeItem(key); left = Number(kept); }
      addEventListener('pagehide', () => {
        taken.forEach(take => take());
        if (inp() !== null) sessionStorage.setItem(key, inp());
      });
    } catch (e) { /* a page without storage */ }
  }

  // The paint that the load event waited for may still be under way.
  const began = performance.now();
  do { await frame(); taken.forEach(take => take()); }
  while (performance.now() - began < 300 && (fcp === null || (largest && lcp === null)));
  if (look) await sleep(look);
  if (largest && steps.length) largest.stop();

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
  return settle => {
    taken.forEach(take => take());
    if (settle && largest) largest.stop();
    const page = performance.getEntriesByType('navigation')[0] || {};
    let bytes = page.transferSize || 0;
    for (const e of performance.getEntriesByType('resource')) bytes += e.transferSize || 0;
    const clsKnown = (self.PerformanceObserver?.supportedEntryTypes || []).includes('layout-shift');
    return {ttfb: page.responseStart, dcl: page.domContentLoadedEventEnd, load: page.loadEventEnd,
            fcp, lcp, cls: clsKnown ? cls : null, inp: inp(), left, bytes, steps: step};
  };
}"""

READ = "read => read()"
#: The same, and from now on the largest contentful paint stays as it is.
SETTLE = "read => read(true)"


#: The visible links: `[index in document.links, address, words, is it a download, is it special]`.
LINKS = """most => {
  const out = [];
  for (let i = 0; i < document.links.length && out.length < most; i++) {
    const a = document.links[i], box = a.getBoundingClientRect();
    if (box.width < 2 || box.height < 2 || !a.checkVisibility({visibilityProperty: true})) continue;
    const told = a.getAttributeNames().filter(n => n !== 'href' && n !== 'style')
      .map(n => n + ' ' + a.getAttribute(n)).join(' ');
    const pictures = [...a.querySelectorAll('[alt],[title],[aria-label]')]
      .map(e => [e.getAttribute('alt'), e.getAttribute('title'), e.getAttribute('aria-label')].join(' '));
    const words = [a.textContent, told, ...pictures].join(' ').slice(0, 1000);
    const method = a.dataset.method || a.dataset.turboMethod || 'get';
    const special = !['', '_self', '_top', '_parent'].includes(a.target) || method.toLowerCase() !== 'get'
      || a.getAttributeNames().some(n => /^(data-)?hx-(post|put|patch|delete)$/.test(n));
    out.push([i, a.href, words, a.hasAttribute('download'), special]);
  }
  return {page: location.href, links: out};
}"""

#: Brings a link into view; where it can be clicked, or null where something covers it or it has gone.
AIM = """async ([index, href]) => {
  const a = document.links[index];
  if (!a || a.href !== href) return null;
  a.scrollIntoView({block: 'center', behavior: 'instant'});
  await new Promise(done => { requestAnimationFrame(done); setTimeout(done, 100); });
  for (const box of a.getClientRects()) {
    const x = box.x + box.width / 2, y = box.y + box.height / 2;
    const hit = document.elementFromPoint(x, y);
    if (hit && a.contains(hit)) return [x, y];
  }
  return null;
}"""


def act_argument(plan: PagePlan, *, leaving: bool = False) -> dict[str, Any]:
    """The argument of `ACT`. `leaving` is True where the session may go on to other pages."""
    return {
        "look": plan.look * 1000,
        "steps": [[s.share, s.rest * 1000] for s in plan.steps],
        "most": plan.most,
        "leaving": leaving,
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
