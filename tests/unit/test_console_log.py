from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from runner.browser.console_log import MAX_CHARACTERS, MAX_KEPT, MAX_LINE, MAX_MESSAGE, ConsoleLog
from runner.core.masking import Masker

SECRET = "hunter2-and-more"


def a_log(*messages: str) -> ConsoleLog:
    """A log of what a page has written."""
    log = ConsoleLog(clock=lambda: 1.0)
    heard: dict[str, Any] = {}
    log.listen(SimpleNamespace(on=heard.__setitem__))  # type: ignore[arg-type]
    for text in messages:
        heard["console"](SimpleNamespace(type="log", text=text, location={}))
    return log


def test_no_part_of_a_secret_is_left_where_a_message_is_cut() -> None:
    for before in range(MAX_LINE - len(SECRET) - 2, MAX_LINE + 2):
        text = a_log("x" * before + SECRET + "y" * 100).text(Masker([SECRET]).text)
        assert SECRET[:4] not in text
        assert len(text) <= len("    0.000 log       ") + MAX_LINE + 1


def test_a_long_message_is_cut_and_says_so() -> None:
    text = a_log("x" * 5_000).text()
    assert text.endswith("x…\n")
    assert text.count("x") == MAX_LINE - 1


def test_what_is_too_long_to_be_kept_is_told_by_its_length() -> None:
    assert (
        a_log("x" * (MAX_MESSAGE + 1)).text()
        == f"    0.000 log       a message of {MAX_MESSAGE + 1} characters\n"
    )


def test_all_of_it_is_bounded_and_what_is_missing_is_counted() -> None:
    text = a_log(*["x" * 3_000] * 100).text()
    assert MAX_CHARACTERS - 3_000 < text.count("x") <= MAX_CHARACTERS
    assert text.endswith(f"… and {100 - text.count('log')} more\n")
    kept = a_log(*["x" * MAX_MESSAGE] * 100)
    assert sum(len(m) for _, _, m in kept._messages) <= MAX_KEPT
    text = kept.text()
    assert text.endswith(f"… and {100 - text.count('log')} more\n")
