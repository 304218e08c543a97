"""Tables that fit the width at hand."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from cli.table import Table, line, row, table

ID = "j1m86t5tkbt4j3"
URL = "http://127.0.0.1:8080/shop/catalogue/with/a/long/path"


def listing() -> Table:
    out = table("id", "name", "n", "spare", "empty", right=["n"], spare=["spare"], cut=["name"])
    row(out, ID, "a name that is rather long, and goes on and on, and on", "7", "[red]not needed[/red]", "")
    row(out, ID, URL, "12345", "", "")
    return out


def shown(width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(listing())
    return [text.rstrip() for text in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_with_room_nothing_is_left_out_or_cut() -> None:
    head, _, first, second = shown(10_000)
    assert head.split() == ["id", "name", "n", "spare"]  # nothing stands under "empty"
    assert first.endswith("[red]not needed[/red]")
    assert "and goes on and on, and on " in first
    assert URL in second


@pytest.mark.parametrize("width", [60, 48])
def test_without_it_the_spare_go_first_and_ids_stay_whole(width: int) -> None:
    lines = shown(width)
    assert max(map(len, lines)) <= width
    assert len(lines) == 4
    assert lines[0].split() == ["id", "name", "n"]
    assert lines[2].startswith(f"{ID}   a name that is ra")
    assert "…" in lines[2]
    # URLs begin alike: their end is what tells them apart.
    assert "…" in lines[3]
    assert "/a/long/path" in lines[3]
    assert lines[3].startswith(ID)
    assert lines[3].endswith("   12345")


def test_on_a_terminal_that_is_far_too_narrow_nothing_is_lost() -> None:
    text = "".join("".join(shown(20)).split())
    assert "12345" in text


def test_a_row_is_one_line() -> None:
    assert line("a\n  b\tc") == "a b c"
