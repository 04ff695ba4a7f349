"""Certificates for tests, made on the spot: an authority, and signers that it vouches for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)


class Authority:
    """A certificate authority whose files lie in `folder`: `anchors` is its own certificate."""

    def __init__(self, folder: Path, name: str = "Test CA") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        unsigned = _certificate(self._name, self._name, self._key.public_key(), 365, ca=True)
        self._certificate = unsigned.sign(self._key, hashes.SHA256())
        self.anchors = folder / "ca.pem"
        self.anchors.write_bytes(_pem(self._certificate))

    def issue(
        self,
        name: str = "Test signer",
        key: Any = None,
        days: int = 30,
        usage: Any = ExtendedKeyUsageOID.EMAIL_PROTECTION,
        password: bytes | None = None,
    ) -> tuple[Path, Path]:
        """Files of a certificate chain and of its private key, both PEM."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        issued = _certificate(_named(name), self._name, key.public_key(), days, usage=usage)
        issued = issued.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False
        ).sign(self._key, hashes.SHA256())
        chain, private = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        chain.write_bytes(_pem(issued) + _pem(self._certificate))
        encryption = (
            serialization.BestAvailableEncryption(password)
            if password
            else serialization.NoEncryption()
        )
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        private.write_bytes(key.private_bytes(*form, encryption))
        return chain, private


def _named(name: str) -> x509.Name:
    parts = (NameOID.ORGANIZATION_NAME, "lipsync tests"), (NameOID.COMMON_NAME, name)
    return x509.Name([x509.NameAttribute(*part) for part in parts])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: Any, days: int, ca: bool = False, usage: Any = None
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    uses = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    uses |= {"digital_signature": not ca, "key_cert_sign": ca, "crl_sign": ca}
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 40 * DAY)
        .not_valid_after(now + days * DAY)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), True)
        .add_extension(x509.KeyUsage(**uses), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), False)
    )
    return builder.add_extension(x509.ExtendedKeyUsage([usage]), False) if usage else builder


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
