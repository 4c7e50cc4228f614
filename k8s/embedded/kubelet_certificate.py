"""A self-signed certificate for the node's own API, as a kubelet makes one when it was given none.

The API server does not check it unless it was told to (`--kubelet-certificate-authority`).
"""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALID_FOR = timedelta(days=365)
_RENEW_BEFORE = timedelta(days=30)


@frozen
class KubeletCertificate:
    """Paths of the certificate and its key, in PEM."""

    certificate: Path
    key: Path


def kubelet_certificate(directory: Path, node_name: str, address: str) -> KubeletCertificate:
    """The node's certificate in `directory`, made anew when there is none that is valid for another month.

    The key is readable by its owner only.
    """
    paths = KubeletCertificate(directory / "kubelet.crt", directory / "kubelet.key")
    if not _is_usable(paths, address):
        _make(paths, node_name, address)
    return paths


def _is_usable(paths: KubeletCertificate, address: str) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(paths.certificate.read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    covers = ipaddress.ip_address(address) in names.get_values_for_type(x509.IPAddress)
    return paths.key.exists() and covers and certificate.not_valid_after_utc > datetime.now(UTC) + _RENEW_BEFORE


def _make(paths: KubeletCertificate, node_name: str, address: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{node_name}")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + _VALID_FOR)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(node_name), x509.IPAddress(ipaddress.ip_address(address))]),
            critical=False,
        )
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths.key.parent.mkdir(parents=True, exist_ok=True)
    paths.key.touch(mode=0o600)
    paths.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    paths.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
