"""A private authority, and a server's certificate of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificates:
    """Files in PEM: the authority that clients trust, and the server's own."""

    ca: Path
    cert: Path
    key: Path

    @classmethod
    def issued(cls, folder: Path) -> Certificates:
        """Make an authority and a certificate for this host, in a folder."""
        found = cls(folder / "ca.pem", folder / "server.pem", folder / "server.key")
        authority = trustme.CA()
        issued = authority.issue_cert("localhost", "127.0.0.1")
        authority.cert_pem.write_to_path(found.ca)
        issued.cert_chain_pems[0].write_to_path(found.cert)
        issued.private_key_pem.write_to_path(found.key)
        return found

    def redis_settings(self, port: int) -> dict[str, object]:
        """Return what Redis needs to speak TLS on a port, to clients that need no certificate."""
        files = {"tls-cert-file": self.cert, "tls-key-file": self.key, "tls-ca-cert-file": self.ca}
        return {**files, "tls-auth-clients": "no", "tls-port": port}
