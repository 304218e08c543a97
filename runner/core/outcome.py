"""What became of one attempt at a session."""

from __future__ import annotations

from typing import Literal

import msgspec

from broker_config.messages import ErrorInfo, Measures


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """`error` is set exactly when `status` is `failed`. `duration_ms` runs from the first browser call to the
    close of the context."""

    status: Literal["ok", "failed", "cancelled"]
    duration_ms: float = 0.0
    error: ErrorInfo | None = None
    measures: Measures = msgspec.field(default_factory=Measures)
