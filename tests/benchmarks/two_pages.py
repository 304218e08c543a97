"""Two pages of 256 KB each, with a link from the first to the second, for `tests.support.site`."""

from __future__ import annotations

_TEXT = "Words and more words. " * 60
_PARTS = "".join(
    f"<h2>Part {n}</h2><p>{_TEXT}</p><img src=/picture/{n}.svg width=400 height=300>" for n in range(20)
)


def two_pages() -> dict[str, str]:
    """By path: `/first` and `/second`. The link, `Next`, stays in view when the page is scrolled."""
    return {f"/{title.lower()}": _page(title) for title in ("First", "Second")}


def _page(title: str) -> str:
    return (
        f"<link rel=stylesheet href=/style.css><h1>{title}</h1><script src=/code.js></script>{_PARTS}"
        "<nav style='position:fixed;top:0;right:0'><a href=/second>Next</a></nav>"
    )
