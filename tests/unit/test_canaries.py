"""The search of the canary test finds what it is to find: else its silence says nothing."""

from __future__ import annotations

import base64
import io
import json
import random
import zipfile
import zlib
from html import escape
from urllib.parse import quote, quote_plus

import pytest

from tests.support.canaries import SEEN, Canary, Search

CANARY = Canary("it", random.Random(7))


def packed(text: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        new.writestr("trace.network", text)
    return out.getvalue()


WAYS: dict[str, str | bytes] = {
    "plain": CANARY.value,
    "url": quote(CANARY.value, safe=""),
    "url twice": quote(quote_plus(CANARY.value), safe=""),
    "json": json.dumps({"a": [CANARY.value]}),
    "json in json": json.dumps(json.dumps(CANARY.value)),
    "html": escape(CANARY.value),
    "base64": base64.b64encode(CANARY.value.encode()).decode(),
    "basic": base64.b64encode(f"user:{CANARY.value}".encode()).decode(),
    "base64, third place": base64.urlsafe_b64encode(f"us:{CANARY.value}".encode()).decode(),
    "hexadecimal": CANARY.value.encode().hex(),
    "utf-16": CANARY.value.encode("utf-16-le"),
    "cut short": CANARY.value[:SEEN],
    "the end": CANARY.value[-SEEN:],
    "of a split one": CANARY.value[4 : 4 + SEEN],
    "zip": packed(json.dumps(CANARY.value)),
    "checkpoint": zlib.compress(json.dumps(CANARY.value).encode()),
    "traceback": f"ValueError: could not convert {CANARY.value!r}",
}


@pytest.mark.parametrize("way", WAYS)
def test_it_finds_a_canary_however_it_is_written(way: str) -> None:
    search = Search()
    search.canaries = [CANARY]
    search.add("here", WAYS[way])
    assert search.found()


def test_it_finds_nothing_where_there_is_none() -> None:
    search = Search()
    search.canaries = [CANARY]
    search.add("noise", random.Random(1).randbytes(1_000_000))
    search.add("text", "password *** " * 1000)
    assert search.found() == []
