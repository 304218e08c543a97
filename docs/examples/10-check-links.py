"""Open every link of a page that leads to the same site; the first one that is broken fails the session.

`step` is there without an import: it times what stands below it.
"""
# ruff: noqa: F821

from urllib.parse import urlsplit


async def journey(page, context, data):
    async with step("open"):
        await page.goto(data["url"])
    links = await page.eval_on_selector_all("main a[href]", "all => all.map(link => link.href)")
    own = [link for link in dict.fromkeys(links) if urlsplit(link).netloc == urlsplit(data["url"]).netloc]
    for link in own:
        async with step("follow"):
            answer = await page.goto(link)
            assert answer is None or answer.status < 400, f"{urlsplit(link).path} answers {answer.status}"
