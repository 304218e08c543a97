"""Two networks of their own, with a cable between them: what a machine opens to others is seen from another.

Linux, by `unshare` and `nsenter`; in a user namespace of its own, where the tests are not run by root.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

HERE, THERE = "192.0.2.1", "192.0.2.2"


class Network(NamedTuple):
    """`enter` stands before a command that is to run in it. `pid` is of a process in it."""

    pid: int
    enter: list[str]

    def open_ports(self) -> set[int]:
        """TCP ports on which somebody listens for others than this machine itself."""
        found = set()
        for name in ("tcp", "tcp6"):
            for line in Path(f"/proc/{self.pid}/net/{name}").read_text().splitlines()[1:]:
                address, port = line.split()[1].split(":")
                # Each four bytes of an address stand there backwards.
                own = address.endswith("7F") if name == "tcp" else address == "0" * 24 + "01000000"
                if line.split()[3] == "0A" and not own:
                    found.add(int(port, 16))
        return found


@contextmanager
def two_machines() -> Iterator[tuple[Network, Network]]:
    """At the addresses `HERE` and `THERE`."""
    with ExitStack() as stack:
        root = os.geteuid() == 0
        here = stack.enter_context(_network([] if root else ["-r"], [], [] if root else ["-U"]))
        there = stack.enter_context(_network([], here.enter, [] if root else ["-U"]))
        _run(here, "ip", "link", "add", "cable", "type", "veth", "peer", "cable", "netns", str(there.pid))
        for network, address in ((here, HERE), (there, THERE)):
            _run(network, "ip", "addr", "add", f"{address}/24", "dev", "cable")
            _run(network, "ip", "link", "set", "cable", "up")
        yield here, there


@contextmanager
def _network(flags: list[str], inside: list[str], user: list[str]) -> Iterator[Network]:
    """It goes when the pipe closes, and that when this process ends."""
    command = [*inside, "unshare", "-n", *flags, "sh", "-ec", "ip link set lo up; echo; exec cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"\n"
        keep = ["--preserve-credentials"] if user else []
        yield Network(holder.pid, ["nsenter", "-t", str(holder.pid), "-n", *user, *keep])


def _run(network: Network, *command: str) -> None:
    subprocess.run([*network.enter, *command], check=True, capture_output=True)
