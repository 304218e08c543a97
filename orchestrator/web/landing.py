"""The page at `/` where the frontend is not built."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from broker_config.api import API_PREFIX

from .authentication import principal
from .security_headers import page_policy

_STYLE = """
:root { color-scheme: light dark; --ink: #1f2a30; --soft: #55666f; --paper: #fff; --line: #dfe6e8;
  --code: #eef2f3; --link: #0b5d6b }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edef; --soft: #a3b3ba; --paper: #12191c; --line: #2a363b; --code: #1e282c;
    --link: #6ecbdb }
}
body { font: 17px/1.6 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 40rem; margin: 12vh auto; padding: 0 1.25rem }
h1 { font-size: 2rem; letter-spacing: -0.02em; margin: 0 0 .5rem }
h2 { font-size: 1.05rem; margin: 2rem 0 .25rem }
code { background: var(--code); padding: .1em .35em; border-radius: 4px; overflow-wrap: anywhere }
ul { list-style: none; padding: 0; margin: .5rem 0 }
li + li { border-top: 1px solid var(--line) }
a { color: var(--link); text-decoration: none }
li a { display: block; padding: .7rem 0 }
a:hover { text-decoration: underline }
.soft { color: var(--soft) }
"""
_OPEN = f"""
<li><a href="{API_PREFIX}/ready">Status</a></li>
<li><a href="{API_PREFIX}/openapi.json">The API as an OpenAPI document</a></li>
<li><a href="{API_PREFIX}/job-schema">The JSON Schema of a job</a></li>
"""
_SIGN_IN = """
<h2>Sign in</h2>
<p>What runs here is for those who are known. On the command line:
<code>tb login</code>, with the address of this page as <code>--server</code>. On the machine that runs it,
<code>tb</code> needs no login. Programs send a token (<code>tb tokens create</code>) as
<code>Authorization: Bearer …</code>.</p>
"""
_ANYBODY = f"""
<li><a href="{API_PREFIX}/jobs">Jobs</a></li>
<li><a href="{API_PREFIX}/runners">Runners</a></li>
"""


def _page(sign_in: str, links: str) -> str:
    return f"""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>TrafficBuster</title>
<style>{_STYLE}</style>
<h1>TrafficBuster</h1>
<p class="soft">The orchestrator runs. Its frontend is not part of this installation; use the command line
(<code>tb --help</code>) or the API.</p>
{sign_in}
<h2>Open to everybody</h2>
<ul>{links}</ul>
</html>
"""


_CLOSED, _OPENED = _page(_SIGN_IN, _OPEN), _page("", _OPEN + _ANYBODY)


async def landing(request: Request) -> Response:
    """Links to what is open to who asks."""
    who = principal(request)
    page = _OPENED if who.kind == "anonymous" and who.role is not None else _CLOSED
    return HTMLResponse(page, headers={"Content-Security-Policy": page_policy(_STYLE)})
