"""Certificates for tests, made on the spot with the openssl command."""

import subprocess
from pathlib import Path


def make_certificate(folder: Path, name: str = "localhost", *, password: str = "") -> tuple[Path, Path]:
    """Write a self-signed certificate and its key; return their paths."""
    folder.mkdir(exist_ok=True)
    cert, key = folder / "tls.crt", folder / "tls.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2"]
    command += ["-passout", f"pass:{password}"] if password else ["-nodes"]
    names = f"subjectAltName=DNS:{name},DNS:localhost,IP:127.0.0.1"
    command += ["-subj", f"/CN={name}", "-addext", names, "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key
