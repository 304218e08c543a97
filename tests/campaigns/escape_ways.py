"""Ways out of a page, each towards a foreign origin of its own.

In the texts `{F}` stands for the foreign origin, `{H}` for its host, `{P}` for its port, `{W}` for the way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

Act = Callable[[Any, "Places"], Awaitable[None]]


class Places(NamedTuple):
    """`site` and `foreign` are origins; `{S}` stands for the site's in texts, `{N}` for its port."""

    way: str
    site: str
    foreign: str
    host: str
    port: int

    def fill(self, text: str) -> str:
        return text.format(
            F=self.foreign,
            H=self.host,
            P=self.port,
            W=self.way,
            S=self.site,
            N=self.site.rpartition(":")[2],
        )


class Way(NamedTuple):
    """`page` and `headers` are those of the site's page `/page/<way>`, where a session begins if it does not
    at `url`; `script` is what `/script/<way>` holds. `act` is done on the loaded page. A plain browser needs
    so many `contexts`, one after the other: each looks names up anew. `inside` ways need a network
    namespace."""

    name: str
    page: str = ""
    headers: str = ""
    script: str = ""
    act: Act | None = None
    url: str = "{S}/page/{W}"
    contexts: int = 1
    inside: bool = False


def js(code: str) -> str:
    return f"<!doctype html><body><script>{code}</script>"


def html(body: str) -> str:
    return f"<!doctype html><body>{body}"


async def _click(page: Any, places: Places) -> None:
    await page.evaluate("document.querySelector('#x').click()")


def _goto(url: str) -> Act:
    async def act(page: Any, p: Places) -> None:
        await page.goto(p.fill(url), timeout=3000)

    return act


async def _request(page: Any, places: Places) -> None:
    # By number: the driver resolves no names below localhost.
    await page.context.request.get(f"http://127.0.0.1:{places.port}/", timeout=3000)


_PDF = (
    "%PDF-1.4\\n1 0 obj<</Type/Catalog/Pages 2 0 R/OpenAction<</S/URI/URI({F}/pdf)>>>>endobj\\n"
    "2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\\n"
    "3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>endobj\\ntrailer<</Root 1 0 R>>"
)
_ICE = (
    "const c=new RTCPeerConnection({{iceServers:[%s]}});c.createDataChannel('x');"
    "c.createOffer().then(o=>c.setLocalDescription(o))"
)
#: Two ends in one page, of which one is told that the other is abroad.
_PEER = (
    "const a=new RTCPeerConnection(),b=new RTCPeerConnection();a.createDataChannel('x');(async()=>{{"
    "await a.setLocalDescription(await a.createOffer());await b.setRemoteDescription(a.localDescription);"
    "await b.setLocalDescription(await b.createAnswer());await a.setRemoteDescription(b.localDescription);"
    "await a.addIceCandidate({{sdpMid:'0',candidate:'candidate:1 1 %s 203.0.113.7 {P} typ host %s'}})}})()"
)

WAYS: tuple[Way, ...] = (
    # The session's own document
    Way("goto", act=_goto("{F}/goto")),
    *(
        Way(f"redirect-{code}", url=f"{{S}}/to/{code}/{{W}}?{{F}}/redirect")
        for code in (301, 302, 303, 307, 308)
    ),
    Way("meta-refresh", html("<meta http-equiv=refresh content='0;url={F}/'>")),
    Way("refresh-header", html("x"), headers="Refresh: 0;url={F}/\r\n"),
    Way("location", js("location='{F}/'")),
    Way("location-replace", js("location.replace('{F}/')")),
    Way("navigation-api", js("navigation.navigate('{F}/')")),
    Way("form-post", html("<form id=f method=post action='{F}/'></form><script>f.submit()</script>")),
    Way("form-get", html("<form id=f action='{F}/'></form><script>f.submit()</script>")),
    Way("link-click", html("<a id=x href='{F}/'>x</a>"), act=_click),
    Way("link-blank", html("<a id=x target=_blank rel=noopener href='{F}/'>x</a>"), act=_click),
    Way("link-download", html("<a id=x download href='{F}/'>x</a>"), act=_click),
    Way("link-ping", html("<a id=x ping='{F}/' href='#y'>x</a>"), act=_click),
    Way("window-open", js("window.open('{F}/')")),
    Way("opened-window-moves", js("const w=window.open('about:blank');w&&(w.location='{F}/')")),
    # Frames
    Way("iframe", html("<iframe src='{F}/'></iframe>")),
    Way("iframe-srcdoc", html("<iframe srcdoc=\"<img src='{F}/'>\"></iframe>")),
    Way("data-url", html("<iframe src=\"data:text/html,<img src='{F}/'>\"></iframe>")),
    Way(
        "blob-url",
        js(
            "const f=document.body.appendChild(document.createElement('iframe'));"
            "f.src=URL.createObjectURL(new Blob([\"<img src='{F}/'>\"],{{type:'text/html'}}))"
        ),
    ),
    Way("object", html("<object data='{F}/' type='text/html'></object>")),
    Way("embed", html("<embed src='{F}/' type='text/html'>")),
    Way("pdf", html(f'<iframe src="data:application/pdf,{_PDF}"></iframe>')),
    # Requests by script
    Way("fetch", js("fetch('{F}/',{{mode:'no-cors'}})")),
    Way("fetch-redirected", js("fetch('/to/307?{F}/',{{mode:'no-cors'}})")),
    Way("fetch-preflight", js("fetch('{F}/',{{method:'PUT',headers:{{'x-y':'z'}}}})")),
    Way(
        "fetch-keepalive", js("onpagehide=()=>fetch('{F}/',{{keepalive:true,mode:'no-cors'}});location='/x'")
    ),
    Way("xhr", js("const x=new XMLHttpRequest();x.open('POST','{F}/');x.send('y')")),
    Way("beacon", js("navigator.sendBeacon('{F}/','y')")),
    Way("event-source", js("new EventSource('{F}/')")),
    Way("websocket", js("new WebSocket('ws://{H}:{P}/')")),
    Way("websocket-tls", js("new WebSocket('wss://{H}:{P}/')")),
    Way("https", js("fetch('https://{H}:{P}/',{{mode:'no-cors'}})")),
    Way("webrtc-stun", js(_ICE % "{{urls:'stun:{H}:{P}'}}")),
    Way("webrtc-stun-address", js(_ICE % "{{urls:'stun:203.0.113.7:{P}'}}"), inside=True),
    Way("webrtc-peer", js(_PEER % ("udp 2122260223", "")), inside=True),
    Way("webrtc-peer-tcp", js(_PEER % ("tcp 1518280447", "tcptype passive")), inside=True),
    Way("webrtc-turn-tcp", js(_ICE % "{{urls:'turn:{H}:{P}?transport=tcp',username:'u',credential:'p'}}")),
    Way("quic-webtransport", js("new WebTransport('https://{H}:{P}/')")),
    # Sub-resources
    Way("image", html("<img src='{F}/'>")),
    Way("image-srcset", html("<picture><source srcset='{F}/a 1x'><img src='/none'></picture>")),
    Way("image-redirected", html("<img src='/to/302?{F}/'>")),
    Way("script", html("<script src='{F}/'></script>")),
    Way("module-import", js("import('{F}/')")),
    Way("stylesheet", html("<link rel=stylesheet href='{F}/'>")),
    Way("css-import", html("<style>@import url('{F}/');</style>")),
    Way("css-background", html("<style>body{{background:url('{F}/')}}</style>x")),
    Way("font", html("<style>@font-face{{font-family:f;src:url('{F}/')}}p{{font-family:f}}</style><p>x")),
    Way("video", html("<video autoplay muted src='{F}/'></video>")),
    Way("svg-image", html("<svg><image href='{F}/' width=9 height=9 /></svg>")),
    Way("input-image", html("<input type=image src='{F}/'>")),
    Way("favicon", html("<link rel=icon href='{F}/'>")),
    Way("manifest", html("<link rel=manifest href='{F}/'>")),
    # Ahead of time
    Way("prefetch", html("<link rel=prefetch href='{F}/'>")),
    Way("preload", html("<link rel=preload as=image href='{F}/'>")),
    Way("preload-header", html("x"), headers="Link: <{F}/>; rel=preload; as=image\r\n"),
    Way("modulepreload", html("<link rel=modulepreload href='{F}/'>")),
    Way("preconnect", html("<link rel=preconnect href='{F}/'>")),
    Way("dns-prefetch", html("<link rel=dns-prefetch href='{F}/'>"), inside=True),
    Way(
        "speculation-prefetch",
        html(
            '<script type=speculationrules>{{"prefetch":[{{"urls":["{F}/"],"eagerness":'
            '"immediate"}}]}}</script>'
        ),
    ),
    # Workers
    Way("worker", js("new Worker(URL.createObjectURL(new Blob([\"fetch('{F}/',{{mode:'no-cors'}})\"])))")),
    Way("worker-import", js("new Worker(URL.createObjectURL(new Blob([\"importScripts('{F}/')\"])))")),
    Way("shared-worker", js("new SharedWorker('/script/{W}')"), script="fetch('{F}/',{{mode:'no-cors'}})"),
    Way(
        "service-worker",
        js("navigator.serviceWorker.register('/script/{W}')"),
        script="addEventListener('install',e=>e.waitUntil(fetch('{F}/',{{mode:'no-cors'}})))",
    ),
    # Reports
    Way(
        "csp-report",
        html("<img src='http://127.0.0.1:9/'>"),
        headers="Content-Security-Policy: img-src 'none'; report-uri {F}/\r\n",
    ),
    # Other spellings and places
    Way("own-host-other-port", js("fetch('http://site.localhost:{P}/',{{mode:'no-cors'}})")),
    Way("upper-case", js("fetch('http://SITE.LOCALHOST:{P}/',{{mode:'no-cors'}})")),
    Way("trailing-dot", js("fetch('http://site.localhost.:{P}/',{{mode:'no-cors'}})")),
    Way("user-info", js("location='http://site.localhost:80@{H}:{P}/'")),
    Way("loopback-name", js("fetch('http://localhost:{P}/',{{mode:'no-cors'}})")),
    Way("loopback-address", js("fetch('http://127.0.0.1:{P}/',{{mode:'no-cors'}})")),
    Way("loopback-short", js("fetch('http://127.1:{P}/',{{mode:'no-cors'}})")),
    Way("loopback-decimal", js("fetch('http://2130706433:{P}/',{{mode:'no-cors'}})")),
    Way("loopback-octal", js("fetch('http://0177.0.0.1:{P}/',{{mode:'no-cors'}})")),
    Way("loopback-ipv6", js("fetch('http://[::1]:{P}/',{{mode:'no-cors'}})")),
    Way("loopback-mapped", js("fetch('http://[::ffff:127.0.0.1]:{P}/',{{mode:'no-cors'}})")),
    Way("any-address", js("fetch('http://0.0.0.0:{P}/',{{mode:'no-cors'}})")),
    Way("address", js("fetch('http://203.0.113.7:{P}/',{{mode:'no-cors'}})"), inside=True),
    Way("address-decimal", js("fetch('http://3405803783:{P}/',{{mode:'no-cors'}})"), inside=True),
    Way("address-ipv6", js("fetch('http://[2001:db8::7]:{P}/',{{mode:'no-cors'}})"), inside=True),
    Way("address-mapped", js("fetch('http://[::ffff:203.0.113.7]:{P}/',{{mode:'no-cors'}})"), inside=True),
    Way(
        "rebinding",
        js("for(let i=0;i<8;i++)fetch('/page/{W}?'+i)"),
        url="http://rebound.test:{N}/page/{W}",
        contexts=3,
        inside=True,
    ),
    # Beside the browser
    Way("request-of-the-driver", act=_request),
    Way("environment-proxy", act=_goto("http://elsewhere.test:81/")),
    Way("proxy-auto-configuration", act=_goto("http://elsewhere.test:81/")),
)
