"""A nats-server with settings that `tb up` has no use for: a port for leaf nodes, or a leaf itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from broker_config.embedded_server import EmbeddedServer
from broker_config.server_config import NodeConfig


class NodeServer(EmbeddedServer):
    """`node` are fields of `NodeConfig`, and go over those of an `EmbeddedServer`."""

    def __init__(self, data_dir: Path, *, node: dict[str, Any], **more: Any) -> None:
        super().__init__(data_dir, sync_always=False, on_event=lambda _: None, **more)
        self._node = node

    def _config(self) -> NodeConfig:
        return msgspec.structs.replace(super()._config(), **self._node)
