"""Proxies that failed while a job was watched."""

from __future__ import annotations

from collections.abc import Callable

from broker_config.messages import JobLog

#: How runners begin the line of a job's log that tells it.
_DOWN = "proxy down "
_MOST = 100


class Fallen:
    """`reasons` by proxy, without credentials. `say` hears of each once."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.reasons: dict[str, str] = {}
        self._say = say

    def hear(self, log: JobLog) -> None:
        if log.event != "line" or not log.text.startswith(_DOWN):
            return
        proxy, _, reason = log.text.removeprefix(_DOWN).partition(": ")
        if proxy not in self.reasons and len(self.reasons) < _MOST:
            self.reasons[proxy] = reason
            self._say(f"proxy {proxy} failed ({reason}); its sessions go by others, if there are any")
