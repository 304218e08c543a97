"""A small shop to aim at: what `tb demo` visits. It lives in memory and asks no other host for anything."""

from __future__ import annotations

from .shop import create_shop

__all__ = ["create_shop"]
