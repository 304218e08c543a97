"""The shop's pictures: drawn in code, the same at every start, some tens of KB each."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator

_SKY = {
    "kettle": ("#f6dfc9", "#eab894", "#b65a3c"),
    "mug": ("#d9e8e6", "#a9cdc9", "#2f6f73"),
    "lamp": ("#e4e0f0", "#b9b2d8", "#4d4680"),
    "blanket": ("#f3ead3", "#ddc896", "#8a6a24"),
    "hero": ("#fbeedd", "#f2c9a4", "#c4673f"),
    "workshop": ("#dcebe4", "#a8cfbd", "#2d6650"),
}
_OBJECTS = {
    "kettle": (
        '<path d="M300 176q-4-96 100-96t100 96" fill="none" stroke="#3b2a22" stroke-width="15"/>'
        '<path d="M292 300C190 296 230 190 150 176l-22 12c46 40 24 168 172 196z" fill="url(#o)"/>'
        '<path d="M300 180h200q64 120 46 252-3 22-26 22H280q-23 0-26-22-18-132 46-252z" fill="url(#o)"/>'
        '<path d="M296 180q104-52 208 0z" fill="#fff" fill-opacity=".28"/>'
        '<circle cx="400" cy="146" r="15" fill="#3b2a22"/>'
    ),
    "mug": (
        '<path d="M500 236h44q70 6 66 84t-96 88" fill="none" stroke="url(#o)" stroke-width="28"/>'
        '<path d="M256 190h272v190q0 74-74 74H330q-74 0-74-74z" fill="url(#o)"/>'
        '<ellipse cx="392" cy="190" rx="136" ry="30" fill="#fff" fill-opacity=".75"/>'
        '<ellipse cx="392" cy="194" rx="118" ry="22" fill="#5b3a26"/>'
        '<path d="M340 150q-26-34 4-64t0-58M400 150q-26-34 4-64t0-58M460 150q-26-34 4-64t0-58" '
        'fill="none" stroke="#fff" stroke-opacity=".8" stroke-width="7" stroke-linecap="round"/>'
    ),
    "lamp": (
        '<path d="M392 250h16v180h-16z" fill="#a9794b"/>'
        '<path d="M318 454q0-30 82-30t82 30z" fill="#a9794b"/>'
        '<path d="M330 70h140l70 190H260z" fill="url(#o)"/>'
        '<path d="M330 70h140l70 190H260z" fill="#ffe9ad" fill-opacity=".62"/>'
        '<path d="M353 70l-46 190M377 70l-23 190M400 70v190M423 70l23 190M447 70l46 190" '
        'stroke="#8c7a4a" stroke-opacity=".45" stroke-width="3"/>'
        '<path d="M260 260h280l70 194H190z" fill="#fff3c4" fill-opacity=".34"/>'
    ),
    "blanket": (
        '<path d="M196 262q10-40 60-40h300q48 0 56 40l14 150q2 42-40 42H222q-42 0-40-42z" fill="url(#o)"/>'
        '<path d="M190 322h428M186 372h436M182 416h444" stroke="#fff" stroke-opacity=".5" stroke-width="9"/>'
        '<path d="M204 250q200-96 400 0-30 34-200 34t-200-34z" fill="#fff" fill-opacity=".35"/>'
        '<path d="M196 454v22m22-22v24m22-24v22m22-22v24m22-24v22m22-22v24m22-24v22m22-22v24m22-24v22'
        'm22-22v24m22-24v22m22-22v24m22-24v22m22-22v24m22-24v22m22-22v24m22-24v22m22-22v24" '
        'stroke="#8a6a24" stroke-width="5" stroke-linecap="round"/>'
    ),
}
_MARK = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="9" '
    'fill="#1f5f5b"/><path d="M6 22q5-7 10 0t10 0M6 15q5-7 10 0t10 0" fill="none" stroke="#fff" '
    'stroke-width="2.6" stroke-linecap="round"/></svg>'
)


def draw_all() -> dict[str, bytes]:
    """SVG by file name."""
    drawn = {f"{name}.svg": _draw(name, _product) for name in _OBJECTS}
    drawn |= {f"{name}.svg": _draw(name, _coast) for name in ("hero", "workshop")}
    drawn["mark.svg"] = _MARK.encode()
    return drawn


def _draw(name: str, parts: Callable[[str, random.Random], Iterator[str]]) -> bytes:
    light, middle, dark = _SKY[name]
    head = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 560" preserveAspectRatio="xMidYMid slice">'
        f'<defs><linearGradient id="s" x2="0" y2="1"><stop stop-color="{light}"/>'
        f'<stop offset="1" stop-color="{middle}"/></linearGradient><linearGradient id="o" x2="1" y2="1">'
        f'<stop stop-color="{middle}"/><stop offset=".35" stop-color="{dark}"/>'
        f'<stop offset="1" stop-color="{dark}"/></linearGradient></defs>'
        '<rect width="800" height="560" fill="url(#s)"/>'
    )
    return (head + "".join(parts(name, random.Random(name))) + "</svg>").encode()


def _product(name: str, rng: random.Random) -> Iterator[str]:
    dark = _SKY[name][2]
    yield '<circle cx="400" cy="280" r="236" fill="#fff" fill-opacity=".42"/>'
    # A speckled ground, like handmade paper.
    for _ in range(620):
        x, y, r, shade = (rng.uniform(*b) for b in ((0, 800), (0, 560), (0.6, 2.6), (0.05, 0.3)))
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}" fill="{dark}" opacity="{shade:.2f}"/>'
    yield '<ellipse cx="400" cy="466" rx="230" ry="24" fill="#000" fill-opacity=".16"/>'
    yield _OBJECTS[name]


def _coast(name: str, rng: random.Random) -> Iterator[str]:
    light, _, dark = _SKY[name]
    yield f'<circle cx="{rng.randrange(480, 640)}" cy="170" r="74" fill="#fff" fill-opacity=".75"/>'
    for layer in range(7):
        base, height = 210 + layer * 52, 62 - layer * 5
        waves = [(rng.uniform(0.004, 0.02), rng.uniform(0, math.tau), rng.uniform(0.3, 1)) for _ in range(4)]
        points = []
        for x in range(802):
            y = base + height / 2 * sum(a * math.sin(f * x + p) for f, p, a in waves) / 2 + rng.uniform(-1, 1)
            points.append(f"{x} {y:.1f}")
        yield (
            f'<path d="M0 560L{"L".join(points)}L801 560z" fill="{dark}" '
            f'fill-opacity="{0.14 + layer * 0.07:.2f}"/>'
        )
    for _ in range(9):
        left, top = rng.uniform(60, 520), rng.uniform(50, 190)
        yield (
            f'<path d="M{left:.0f} {top:.0f}q9-10 16 0q9-10 16 0" fill="none" stroke="{dark}" '
            'stroke-width="2.5" stroke-linecap="round"/>'
        )
    yield f'<path d="M0 520q200-26 400 0t400 0v40H0z" fill="{light}" fill-opacity=".5"/>'
