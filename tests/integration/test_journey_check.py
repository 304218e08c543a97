"""`tb journeys check` in a real browser: steps as they end, the exit code, a picture of the failure."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from broker_config.errors import SpecError
from broker_config.platform import this_system
from cli.exit_codes import ExitCode
from cli.journey_check import check
from cli.journeys import import_
from cli.settings import Settings
from tests.support.site import Site, open_site

SHOP = """<h1>Shop</h1><form action=/thanks><label>Email <input name=mail></label>
<input name=q placeholder="Search us"><img alt="Our Logo" width=9 height=9>
<p data-testid=box><i title="Close it">x</i></p><button>Pay</button></form>"""


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as site:
        site.pages |= {"/shop": SHOP, "/thanks": "<h1>Thank you</h1>"}
        yield site


async def checked(
    capsys: pytest.CaptureFixture[str], file: Path, **options: Any
) -> tuple[ExitCode, dict[str, Any], list[str]]:
    """The exit code, what `--json` prints, and the lines that came before."""
    code = await check(Settings(browsers=["chromium"]), str(file), json=True, **options)
    said = capsys.readouterr()
    return code, json.loads(said.out), said.err.splitlines()


async def test_recorded_code_becomes_a_journey_that_passes(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shop.py").write_text(
        f"""
from playwright.sync_api import Playwright, sync_playwright, expect

def run(playwright: Playwright) -> None:
    page = playwright.chromium.launch().new_page()
    page.goto("{site.url}/shop")
    page.get_by_label("Email").fill("ada@shop.test")
    page.get_by_placeholder("search").fill("shoes")
    page.get_by_alt_text("Our Logo", exact=True).click()
    page.get_by_test_id("box").locator("i").click()
    page.get_by_title("close").click()
    page.get_by_role("button", name="Pay").click()
    expect(page).to_have_url("{site.url}/thanks?mail=ada%40shop.test&q=shoes")
    expect(page.get_by_role("heading")).to_contain_text("Thank you")
"""
    )
    output = tmp_path / "shop.yaml"
    assert import_(str(tmp_path / "shop.py"), output=output, strict=True) == 0
    capsys.readouterr()
    code, result, lines = await checked(capsys, output, pictures=tmp_path / "pictures")
    assert (code, result["status"], result["error"]) == (0, "ok", None)
    assert [s.get("ok", True) for s in result["steps"]] == [True] * 8
    # Each as it ended, with its time.
    assert [line.split(",")[0].split()[-2:] for line in lines if " step " in line] == [
        ["step", str(n)] for n in range(1, 9)
    ]
    assert not (tmp_path / "pictures").exists()


async def test_a_failure_is_pictured_and_code_1(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journey = tmp_path / "pay.yaml"
    journey.write_text(
        "steps:\n  - screenshot: shop\n  - {click: '#gone', name: pay, timeout: 300ms}\n  - press: Enter\n"
    )
    code, result, lines = await checked(
        capsys, journey, url=f"{site.url}/shop", pictures=tmp_path / "pictures"
    )
    assert (code, result["status"], result["error"]["kind"]) == (1, "failed", "step_failed")
    assert [(s["name"], s.get("ok", True)) for s in result["steps"]] == [
        ("screenshot shop", True),
        ("pay", False),
    ]
    assert lines[-1].endswith('step 2, "pay" (click #gone): Timeout 300ms exceeded.')
    assert {Path(p).name for p in result["pictures"]} == {"pay-failure.jpg", "pay-shot-1-shop.jpg"}
    assert all(Path(p).read_bytes().startswith(b"\xff\xd8") for p in result["pictures"])


async def test_a_script_and_a_session_of_a_job_with_data(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pay.py").write_text(
        "async def journey(page, context, data):\n"
        "    async with step('open'):\n"
        "        await page.goto('/shop')\n"
        "    assert data.get('user.name') == 'bob', data\n"
    )
    (tmp_path / "job.yaml").write_text(
        f"targets: [{{url: '{site.url}/'}}]\nsessions: 2\nscript: {{file: pay.py}}\n"
        "platforms: [windows-chromium]\n"
        "data: {name: user, rows: [{name: ada}, {name: bob}]}\n"
    )
    code, result, lines = await checked(capsys, tmp_path / "job.yaml", session=2)
    assert (code, [s["name"] for s in result["steps"]]) == (0, ["open"])
    if this_system() != "windows":
        assert lines[0].startswith("asked for windows-chromium; checked with ")
    code, result, _ = await checked(capsys, tmp_path / "pay.py", url=site.url, pictures=tmp_path)
    assert (code, result["error"]["kind"]) == (1, "script_failed")
    assert result["error"]["detail"].startswith("pay.py line 4: AssertionError: {'session': 1")
    assert (tmp_path / "pay-failure.jpg").exists()


@pytest.mark.parametrize(
    ("name", "text", "options", "words"),
    [
        ("a.yaml", "steps: [{goto: /}]", {}, "it names no page; say which by --url"),
        (
            "a.yaml",
            "steps: [{goto: /}]",
            {"url": "http://shop.test/"},
            "http://shop.test is not an allowed origin",
        ),
        ("a.yaml", "steps: [{goto: /}]", {"url": "http://127.0.0.1:1/", "session": 2}, "no session 2 of 1"),
        ("a.yaml", "steps: [{jump: /}]", {"url": "http://127.0.0.1:1/"}, "journey.steps[0]"),
        ("a.py", "from playwright.sync_api import sync_playwright", {}, "tb journeys import"),
        (
            "a.py",
            "async def journy(page, context): ...",
            {"url": "http://127.0.0.1:1/"},
            "did you mean journy?",
        ),
        (
            "a.yaml",
            "targets: [{url: 'http://127.0.0.1:1/'}]\negress: {pool: eu}",
            {},
            "never goes directly instead",
        ),
    ],
)
async def test_what_cannot_be_checked_is_said_before_anything_is_started(
    tmp_path: Path, name: str, text: str, options: dict[str, Any], words: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(SpecError) as e:
        await check(Settings(), str(tmp_path / name), **options)
    assert words in str(e.value)
