"""A certificate of 127.0.0.1 by nobody's authority, for sites and proxies of tests."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path


def make_certificate(folder: Path, names: str = "IP:127.0.0.1") -> Path:
    """The folder, with `cert.pem` and `key.pem` in it."""
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=p",
            "-addext", f"subjectAltName={names}",
        ],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder


def server_tls(folder: Path) -> ssl.SSLContext:
    """For a server with the certificate in this folder."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return tls
