"""Which links of a page may be followed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from urllib.parse import unquote, urlsplit

import msgspec

#: Never followed: what ends the visitor's session, or destroys. Compared without case, spaces and
#: punctuation, anywhere in the text: a link too few does no harm, a link too many may.
DENIED = (
    "logout",
    "logoff",
    "signout",
    "signoff",
    "delete",
    "remove",
    "destroy",
    "purge",
    "unsubscribe",
    "deactivate",
    "closeaccount",
    "cancelaccount",
    "cancelorder",
    "cancelsubscription",
    "abmelden",
    "ausloggen",
    "löschen",
    "entfernen",
    "déconnexion",
    "deconnexion",
    "supprimer",
    "cerrarsesión",
    "cerrarsesion",
    "eliminar",
)
#: Endings of addresses that a browser downloads instead of showing.
_DOWNLOADS = re.compile(
    r"\.(7z|apk|avi|bin|bz2|csv|deb|dmg|docx?|epub|exe|gz|ics|iso|jar|mkv|mov|mp3|mp4|msi|odt|ogg|pdf|pkg|pptx?"
    r"|rar|rpm|rtf|tar|tgz|torrent|vcf|wav|webm|xlsx?|xz|zip)$",
    re.IGNORECASE,
)


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A visible link. `index` is its place in `document.links`; `words` is all that tells what it does: text,
    label, title, id, handlers."""

    index: int
    href: str
    words: str = ""
    download: bool = False
    #: It opens another window, or its method is not a plain visit.
    special: bool = False


def followable(links: Iterable[Link], page: str, deny: Sequence[str] = ()) -> list[Link]:
    """The links of the page at this address that may be followed, each address once."""
    denied = [*DENIED, *filter(None, map(squeezed, deny))]
    here = urlsplit(page)
    seen = {_document(page)}
    out = []
    for link in links:
        try:
            there = urlsplit(link.href)
        except ValueError:
            continue
        if (there.scheme, there.netloc) != (here.scheme, here.netloc) or there.scheme not in (
            "http",
            "https",
        ):
            continue
        if link.download or link.special or _DOWNLOADS.search(unquote(there.path)):
            continue
        if _document(link.href) in seen:
            continue
        address = link.href[link.href.index(there.netloc) + len(there.netloc) :]
        text = squeezed(link.words), squeezed(unquote(address))
        if any(word in part for word in denied for part in text):
            continue
        seen.add(_document(link.href))
        out.append(link)
    return out


def picked(links: Sequence[Link], picks: Sequence[float]) -> list[Link]:
    """The links at these positions (0 to 1), each once, in order."""
    if not links:
        return []
    chosen = [links[min(int(p * len(links)), len(links) - 1)] for p in picks]
    return list(dict.fromkeys(chosen))


def squeezed(text: str) -> str:
    """`text` in lower case, letters and digits only."""
    return re.sub(r"[\W_]+", "", text.casefold())


def _document(url: str) -> str:
    return url.split("#", 1)[0]
