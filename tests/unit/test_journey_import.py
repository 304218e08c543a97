"""Recorded Playwright code becomes a journey; what has no counterpart is named by its line, never run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from broker_config.errors import SpecError
from broker_config.job_spec import read_spec
from cli.journey_import import Imported, as_job, translate
from cli.journey_record import display_problem, recorder
from runner.browser.found import FoundBrowser

#: As Playwright's recorder wrote it (`--target python-async`).
RECORDED = """import asyncio
import re
from playwright.async_api import Playwright, async_playwright, expect


async def run(playwright: Playwright) -> None:
    browser = await playwright.chromium.launch(headless=False)
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto("http://shop.test/")
    await page.get_by_role("textbox", name="Email").click()
    await page.get_by_role("textbox", name="Email").fill("ada@shop.test")
    await page.get_by_role("checkbox", name="Terms").check()
    await page.get_by_label("Country").select_option("de")
    page.once("dialog", lambda dialog: dialog.dismiss())
    await page.get_by_role("link", name="Pay", exact=True).first.click()
    await expect(page.get_by_role("heading")).to_contain_text("Thank you")

    # ---------------------
    await context.close()
    await browser.close()


async def main() -> None:
    async with async_playwright() as playwright:
        await run(playwright)


asyncio.run(main())
"""
STEPS = [
    {"click": {"role": "textbox", "name": "Email"}},
    {"fill": {"role": "textbox", "name": "Email", "value": "ada@shop.test"}},
    {"check": {"role": "checkbox", "name": "Terms"}},
    {"select": {"label": "Country", "option": "de"}},
    {"click": {"role": "link", "name": "Pay", "exact": True, "nth": 0}},
    {"expect": {"role": "heading", "text": "Thank you"}},
]


def of_lines(*lines: str) -> Imported:
    body = "".join(f"    {line}\n" for line in ('page.goto("http://shop.test/")', *lines))
    found = translate(f"def test_example(page: Page) -> None:\n{body}")
    read_spec(as_job(found, "recorded.py"))
    return found


def test_recorded_code_async_and_sync() -> None:
    sync = RECORDED.replace("await ", "").replace("async ", "").replace("async_", "sync_")
    pytest_style = "def test_example(page: Page) -> None:\n" + "\n".join(
        line for line in sync.splitlines() if line.startswith(("    page.", "    expect("))
    )
    for source in (RECORDED, sync, pytest_style):
        found = translate(source, "shop.py")
        assert (found.url, found.origins, found.left_out) == ("http://shop.test/", [], [])
        assert found.steps == STEPS
        job = as_job(found, "some/shop.py")
        assert (job["name"], job["targets"], job["sessions"]) == ("shop", [{"url": "http://shop.test/"}], 1)
        assert read_spec(job).journey is not None


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ('page.goto("http://shop.test/cart?a=1#b")', {"goto": "/cart?a=1#b"}),
        ('page.goto("http://shop.test")', {"goto": "/"}),
        ('page.goto("/cart", timeout=1500)', {"goto": "/cart", "timeout": "1500ms"}),
        ('page.click("#pay")', {"click": {"css": "#pay"}}),
        ('page.fill("css=#a", "b")', {"fill": {"css": "#a", "value": "b"}}),
        ('page.fill("#a", value="b")', {"fill": {"css": "#a", "value": "b"}}),
        ('page.press("body", "Enter")', {"press": {"css": "body", "key": "Enter"}}),
        ('page.keyboard.press("Control+A")', {"press": "Control+A"}),
        ("page.mouse.wheel(0, -300)", {"scroll": -300}),
        ('page.wait_for_url("**/done")', {"wait_for": {"url": "**/done"}}),
        ("page.wait_for_timeout(250)", {"pause": "250ms"}),
        ('page.wait_for_selector("#x", state="hidden")', {"wait_for": {"css": "#x", "state": "hidden"}}),
        ('page.screenshot(path="out/end.png")', {"screenshot": "end"}),
        ('page.locator("#x").hover()', {"hover": {"css": "#x"}}),
        ('page.locator("text=Pay").click()', {"click": {"text": "Pay"}}),
        ("page.locator('text=\"Pay\"').click()", {"click": {"text": "Pay", "exact": True}}),
        (
            'page.locator("li", has_text="red").nth(-2).click()',
            {"click": {"css": "li", "text": "red", "nth": -2}},
        ),
        (
            'page.locator("li").filter(has_text="red").last.click()',
            {"click": {"css": "li", "text": "red", "nth": -1}},
        ),
        ('page.locator("a, b").locator("i").click()', {"click": {"css": ":is(a, b) i"}}),
        ('page.get_by_test_id("x").locator("i").click()', {"click": {"css": '[data-testid="x"] i'}}),
        ('page.get_by_test_id("x").clear()', {"fill": {"test_id": "x", "value": ""}}),
        (
            'page.get_by_placeholder("Se\\"a").fill("y")',
            {"fill": {"css": '[placeholder*="Se\\"a" i]', "value": "y"}},
        ),
        ('page.get_by_alt_text("Logo", exact=True).click()', {"click": {"css": '[alt="Logo"]'}}),
        ('page.get_by_title("Close").click()', {"click": {"css": '[title*="Close" i]'}}),
        ('page.get_by_text("No, thanks").click()', {"click": {"text": "No, thanks"}}),
        ('page.get_by_label("A").uncheck()', {"check": {"label": "A", "checked": False}}),
        ('page.get_by_label("A").set_checked(True)', {"check": {"label": "A"}}),
        (
            'page.get_by_label("A").select_option(["a", "b"])',
            {"select": {"label": "A", "option": ["a", "b"]}},
        ),
        ('page.get_by_label("A").select_option(label="b")', {"select": {"label": "A", "option": "b"}}),
        ('page.get_by_label("A").scroll_into_view_if_needed()', {"scroll": {"label": "A"}}),
        ('page.get_by_label("A").wait_for()', {"wait_for": {"label": "A"}}),
        ('page.get_by_label("A").fill("${x}")', {"fill": {"label": "A", "value": "$${x}"}}),
        ('expect(page.get_by_text("x")).to_be_visible()', {"expect": {"text": "x"}}),
        ('expect(page.get_by_text("x")).to_contain_text("x")', {"expect": {"text": "x"}}),
        ('expect(page.get_by_text("x")).not_to_be_visible()', {"expect": {"text": "x", "state": "hidden"}}),
        ('expect(page.locator("#a")).to_have_value("1")', {"expect": {"css": "#a", "value": "1"}}),
        ('expect(page.locator("li")).to_have_count(3)', {"expect": {"css": "li", "count": 3}}),
        (
            'expect(page).to_have_url("http://shop.test/a[1]")',
            {"expect": {"url": "http://shop.test/a\\[1\\]"}},
        ),
    ],
)
def test_each_action_and_locator(line: str, step: dict[str, Any]) -> None:
    found = of_lines(line)
    assert (found.steps, found.left_out) == ([step], [])


def test_names_and_blocks_that_only_wait() -> None:
    found = of_lines(
        'email = page.get_by_label("Email")',
        'value = "a@b.c"',
        "email.fill(value)",
        "with page.expect_navigation():",
        '    email.press("Enter")',
        "page.wait_for_load_state()",
    )
    assert found.left_out == []
    assert found.steps == [
        {"fill": {"label": "Email", "value": "a@b.c"}},
        {"press": {"label": "Email", "key": "Enter"}},
    ]


def test_another_origin_is_listed() -> None:
    found = of_lines('page.goto("https://login.test/in")', 'page.goto("/x")')
    assert found.steps == [{"goto": "https://login.test/in"}, {"goto": "/x"}]
    assert as_job(found, "r.py")["origins"] == ["https://login.test"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('page.get_by_role("button", name=re.compile("Pay")).click()', "patterns are not in a journey"),
        ('page.get_by_role("row").get_by_role("button").click()', "a place inside of another"),
        ('page.frame_locator("#f").get_by_text("x").click()', "inside a frame"),
        ('page.locator("#f").content_frame.get_by_text("x").click()', "inside a frame"),
        ('page.locator("//div").click()', "XPath"),
        ('page.locator("a >> b").click()', "chained selectors"),
        ('page.locator("#a").dblclick()', "a journey has no dblclick"),
        ('page.locator("#a").fill(os.environ["SECRET"])', "a text is not written out"),
        ('page.locator("#a").filter(has=page.locator("b")).click()', "only filter(has_text=…)"),
        ('page1.get_by_text("x").click()', "page1 is another window"),
        ("page1 = page1_info.value", "another window"),
        ('page.set_input_files("#f", "a.txt")', "a journey has no set_input_files"),
        ("page.go_back()", "a journey has no go_back"),
        ('expect(page.locator("#a")).to_be_enabled()', "a journey cannot expect to_be_enabled"),
        ('expect(page).to_have_url(re.compile(".*x"))', "patterns are not in a journey"),
        ('page.goto("ftp://x.test/")', "ftp"),
        ("for i in range(3): page.click('#a')", "a journey has no such statements"),
        ("a = a.first\n    a.click()", "stands for itself"),
        ("page.click(**many)", "its arguments are not written out"),
        ('page.keyboard.type("abc")', "keys and mouse by themselves"),
    ],
)
def test_what_has_no_counterpart_is_named_by_its_line(line: str, why: str) -> None:
    found = of_lines('page.click("#before")', line, 'page.click("#after")')
    assert [s["click"]["css"] for s in found.steps] == ["#before", "#after"]
    (left,) = found.left_out
    assert left.line == 4 + line.count("\n")
    assert left.code == line.split("\n    ")[-1]
    assert why in left.why


@pytest.mark.parametrize(
    ("line", "step", "why"),
    [
        ('page.click("#a", button="right")', {"click": {"css": "#a"}}, "button is left out"),
        (
            'expect(page.locator("h1")).to_have_text("A")',
            {"expect": {"css": "h1", "text": "A"}},
            "must contain",
        ),
        ('expect(page).to_have_title("A")', {"expect": {"title": "A"}}, "must contain"),
    ],
)
def test_a_step_that_is_not_quite_the_same_says_so(line: str, step: dict[str, Any], why: str) -> None:
    found = of_lines(line)
    assert found.steps == [step]
    assert [why in left.why for left in found.left_out] == [True]


def test_windows_and_options_that_are_not_taken_over() -> None:
    found = translate(
        'context = browser.new_context(**playwright.devices["iPhone 15"])\n'
        "page = context.new_page()\n"
        'page.goto("http://shop.test/")\n'
        "with page.expect_popup() as page1_info:\n"
        '    page.click("#pop")\n'
        "page1 = context.new_page()\n"
    )
    assert found.steps == [{"click": {"css": "#pop"}}]
    assert [left.line for left in found.left_out] == [1, 4, 6]
    assert "see devices" in found.left_out[0].why


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("x = = 1", "r.py: line 1: invalid syntax"),
        ("x = 1", "r.py: it opens no page; say which by --url"),
        ("(" * 500, "r.py: "),
    ],
)
def test_what_is_no_recording(source: str, words: str) -> None:
    with pytest.raises(SpecError) as e:
        as_job(translate(source, "r.py"), "r.py")
    assert words in str(e.value)


def tb(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    keep = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    return subprocess.run(
        [sys.executable, "-m", "cli.tb", "journeys", *arguments],
        cwd=cwd,
        env=keep | {"HOME": str(cwd), "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_the_command_writes_a_job_names_what_is_missing_and_never_runs_it(tmp_path: Path) -> None:
    code = RECORDED + "\nopen('ran', 'w')\n"
    (tmp_path / "shop.py").write_text(code.replace("    # ---", "    await page.go_back()\n    # ---"))
    plain = tb(tmp_path, "import", "shop.py", "--output", "shop.yaml")
    assert (plain.returncode, plain.stdout) == (0, "")
    assert "shop.py: line 19: await page.go_back(): a journey has no go_back" in plain.stderr
    assert "wrote shop.yaml: 6 steps" in plain.stderr
    text = (tmp_path / "shop.yaml").read_text()
    assert text.startswith("# not translated: line 19: ")
    assert yaml.safe_load(text)["journey"]["steps"] == STEPS
    assert not (tmp_path / "ran").exists()

    strict = tb(tmp_path, "import", "shop.py", "--strict", "--url", "http://127.0.0.1:1/")
    assert strict.returncode == 1
    assert yaml.safe_load(strict.stdout)["targets"] == [{"url": "http://127.0.0.1:1/"}]
    again = tb(tmp_path, "import", "shop.py", "--output", "shop.yaml")
    assert (again.returncode, "shop.yaml exists" in again.stderr) == (2, True)


def test_recording_without_a_display_fails_in_words(tmp_path: Path) -> None:
    done = tb(tmp_path, "record", "http://127.0.0.1:1/", "--output", "x.yaml")
    if sys.platform == "linux":
        assert done.returncode == 4
        assert "there is no display here" in done.stderr
    foreign = tb(tmp_path, "record", "http://shop.test/")
    assert (foreign.returncode, "not an allowed origin" in foreign.stderr) == (2, True)
    assert display_problem({"DISPLAY": ":0"}, "linux") is None
    assert display_problem({"WAYLAND_DISPLAY": "w"}, "linux") is None
    assert display_problem({}, "darwin") is display_problem({}, "win32") is None
    assert display_problem({}, "linux")


def test_the_recorder_is_started_with_the_browser_that_was_found(tmp_path: Path) -> None:
    browser = FoundBrowser(browser="chrome", path="/opt/google/chrome/chrome", channel="chrome")
    command, environ = recorder("http://127.0.0.1:1/", tmp_path / "c.py", browser)
    assert command[1:5] == ["-m", "playwright", "codegen", "--target"]
    assert command[5:] == [
        *("python-async", "--browser", "chromium", "--output", str(tmp_path / "c.py")),
        "http://127.0.0.1:1/",
    ]
    assert environ == {"PWTEST_CLI_EXECUTABLE_PATH": "/opt/google/chrome/chrome"}
