"""C2PA manifests ("content credentials"): sign a video, and read what any file holds.

Needs the extra `c2pa`. The library that parses files is native code: files of others are read in a
process of its own, with a time limit and without network access, as ffmpeg reads them.
Specification: https://spec.c2pa.org (2.x).
"""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from lipsync_core.errors import ClipError, LipsyncError, Reason
from lipsync_core.media.ffmpeg import TIME_LIMIT, input_path
from lipsync_core.runtime.files import PathLike

EMPTY = "http://c2pa.org/digitalsourcetype/empty"
REMEDY = "pip install 'lipsync-pipeline[c2pa]'"
# No network: a manifest can name addresses to load it, or the state of its certificate, from.
# Purposes of certificates that sign manifests: e-mail protection, document signing, and C2PA's own.
PURPOSES = ("1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.62558.2.1")
SETTINGS = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    "builder": {"thumbnail": {"enabled": False}},
    # Signing takes 0.5 GB of memory by default; hashed by blocks and with temporary files, none.
    "core": {"merkle_tree_chunk_size_in_kb": 4096, "backing_store_memory_threshold_in_mb": 16},
    "trust": {"trust_config": "\n".join(PURPOSES)},
}
# The smallest file to try a certificate with: one black pixel.
TRIAL_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
TRIAL_MANIFEST = {
    "claim_generator_info": [{"name": "lipsync"}],
    "format": "image/png",
    "assertions": [
        {
            "label": "c2pa.actions.v2",
            "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": EMPTY}]},
        }
    ],
}
MAX_MEMORY = 4 << 30  # bytes of address space, of the process that reads others' files
UNTRUSTED = "signingCredential.untrusted"
MEDIA_TYPES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime"}
CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}


def is_installed() -> bool:
    """True where the extra `c2pa` is installed."""
    return importlib.util.find_spec("c2pa") is not None


@dataclass(frozen=True)
class SigningKey:
    """A checked certificate chain and its private key, both PEM, and the C2PA algorithm."""

    certificates: bytes
    private_key: bytes
    algorithm: str


def load_signing_key(certificates: PathLike, private_key: PathLike) -> SigningKey:
    """Read a certificate chain (the signer's own first) and its private key, and try them out.

    To be called before the work begins, so that a wrong file costs no dubbing. Raises LipsyncError
    when the extra is missing, a file is unusable, the two do not belong together, or C2PA does not
    accept the certificate.
    """
    if not is_installed():
        raise LipsyncError(f"signing needs the package c2pa-python; run `{REMEDY}`")
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    cert_path, key_path = Path(certificates), Path(private_key)
    cert_pem, key_pem = _read(cert_path, "certificate"), _read(key_path, "private key")
    chain = _certificates(cert_pem, cert_path)
    try:
        key = serialization.load_pem_private_key(key_pem, None)
    except TypeError as error:
        raise LipsyncError(
            f"{key_path}: this key has a password; give one without, which only you can read"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise LipsyncError(f"{key_path}: no PEM private key ({error})") from error
    if chain[0].public_key() != key.public_key():
        raise LipsyncError(
            f"{key_path}: not the key of the first certificate in {cert_path}; the signer's own "
            "certificate comes first, those that issued it after it"
        )
    ends = chain[0].not_valid_after_utc
    if not chain[0].not_valid_before_utc <= datetime.now(UTC) <= ends:
        raise LipsyncError(f"{cert_path}: not valid today (until {ends:%Y-%m-%d}); renew it")
    found = SigningKey(cert_pem, key_pem, _algorithm(key, key_path))
    try:
        _sign(found, TRIAL_MANIFEST, io.BytesIO(TRIAL_PNG), io.BytesIO())
    except _c2pa().C2paError as error:
        raise LipsyncError(
            f"{cert_path}: C2PA does not accept this certificate ({error}); see docs/provenance.md"
        ) from error
    return found


def media_type(path: PathLike) -> str:
    """The format of a video that can be signed, by its suffix. Raises LipsyncError for others."""
    suffix = Path(path).suffix.lower()
    if suffix not in MEDIA_TYPES:
        wanted = ", ".join(MEDIA_TYPES)
        raise LipsyncError(f"{path}: only videos named {wanted} can be signed; choose one of these")
    return MEDIA_TYPES[suffix]


def sign(path: PathLike, manifest: Mapping[str, Any], key: SigningKey) -> None:
    """Sign the video `path` in place, with a manifest definition of C2PA as a dict.

    path: a temporary file of the caller, who renames it into place afterwards: it is incomplete
    meanwhile, and when this raises LipsyncError. Takes 1 s for 100 MB, a few MB of memory, and
    as much room for temporary files as the file has.
    """
    target = Path(path)
    with open(target, "rb") as unsigned:
        target.unlink()  # stays readable through `unsigned`: no second file that could be left
        try:
            with open(target, "w+b") as signed:
                _sign(key, manifest, unsigned, signed)
        except _c2pa().C2paError as error:
            raise LipsyncError(f"{path}: it could not be signed ({error})") from error


@dataclass(frozen=True)
class Credentials:
    """What the C2PA manifest of a file says.

    state: "none" (the file holds no manifest), "invalid" (the file or the manifest was changed),
        "valid" (unchanged since it was signed, by an unknown signer), "trusted" (by a trusted
        one), or "unchecked" (the extra is not installed).
    signer: the name in the certificate. failures: codes of the C2PA specification, or a message.
    sources: IPTC terms (digitalSourceType) of its actions. dates: of its actions, ISO 8601.
    assertions: label -> content.
    """

    state: str
    signer: str = ""
    failures: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()
    assertions: Mapping[str, Any] = field(default_factory=dict)


def read(path: PathLike, anchors: PathLike | None = None) -> Credentials:
    """The C2PA manifest of any media file, checked against the file's content.

    anchors: PEM file of the certificates whose signers are trusted; None trusts nobody. Raises
    ClipError: unreadable (no such file, the library crashed), timed_out; LipsyncError for
    unreadable anchors.
    """
    source = input_path(path)
    if not is_installed():
        return Credentials("unchecked")
    trusted = b""
    if anchors:
        trusted = _read(Path(anchors), "certificate")
        _certificates(trusted, Path(anchors))
    try:
        done = subprocess.run(
            [sys.executable, "-m", __spec__.name, source],
            input=trusted,
            capture_output=True,
            timeout=TIME_LIMIT,
        )
    except subprocess.TimeoutExpired as error:
        message = f"{source}: reading its C2PA manifest was stopped after {TIME_LIMIT:.0f} s"
        raise ClipError(Reason.TIMED_OUT, message) from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        message = f"{source}: its C2PA manifest cannot be read ({said or done.returncode})"
        raise ClipError(Reason.UNREADABLE, message)
    found = json.loads(done.stdout)
    lists = {name: tuple(value) for name, value in found.items() if isinstance(value, list)}
    return Credentials(**found | lists)


def _c2pa() -> Any:
    """The library, imported when it is needed: it loads 23 MB of native code."""
    import c2pa

    return c2pa


def _sign(key: SigningKey, manifest: Mapping[str, Any], source: IO[bytes], to: IO[bytes]) -> None:
    """Sign `source`, of the manifest's format, check the result, and write it. Raises C2paError."""
    c2pa = _c2pa()
    info = c2pa.C2paSignerInfo(key.algorithm, key.certificates, key.private_key, None)
    with (
        c2pa.Signer.from_info(info) as signer,
        c2pa.Context.from_dict(SETTINGS) as context,
        c2pa.Builder(dict(manifest), context) as builder,
    ):
        builder.sign(signer, manifest["format"], source, to)


def _read_here(path: str, anchors: str) -> Credentials:
    """`read`, in this process."""
    c2pa = _c2pa()
    trust = SETTINGS["trust"] | ({"user_anchors": anchors} if anchors else {})
    try:
        with (
            c2pa.Context.from_dict(SETTINGS | {"trust": trust}) as context,
            c2pa.Reader(path, context=context) as reader,
        ):
            report = json.loads(reader.json())
    except (c2pa.C2paError.ManifestNotFound, c2pa.C2paError.NotSupported):
        return Credentials("none")
    except c2pa.C2paError as error:
        return Credentials("invalid", failures=(str(error),))
    return _credentials(report)


def _credentials(report: Mapping[str, Any]) -> Credentials:
    """The part of the library's report that is shown."""
    manifest = report["manifests"].get(report.get("active_manifest"), {})
    signature = manifest.get("signature_info") or {}
    assertions = {each["label"]: each.get("data") for each in manifest.get("assertions", ())}
    actions = [
        action
        for label, data in assertions.items()
        if label.startswith("c2pa.actions") and isinstance(data, dict)
        for action in data.get("actions", ())
    ]
    failures = [each["code"] for each in report.get("validation_status", ())]
    return Credentials(
        state=report["validation_state"].lower(),
        signer=signature.get("common_name") or signature.get("issuer") or "",
        failures=tuple(code for code in failures if code != UNTRUSTED),
        sources=_values(actions, "digitalSourceType"),
        dates=_values(actions, "when"),
        assertions=assertions,
    )


def _values(actions: Sequence[Mapping[str, Any]], key: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(action[key]) for action in actions if action.get(key)))


if __name__ == "__main__":  # the process that `read` starts
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))  # a file can claim any size
    json.dump(asdict(_read_here(sys.argv[1], sys.stdin.read())), sys.stdout)


def _read(path: Path, what: str) -> bytes:
    if not path.is_file():
        raise LipsyncError(f"{path}: no such {what} file; check the name")
    return path.read_bytes()


def _certificates(pem: bytes, path: Path) -> list[Any]:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise LipsyncError(f"{path}: no PEM file of certificates ({error})") from error


def _algorithm(key: Any, path: Path) -> str:
    """The C2PA name of the signature that a key makes."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in CURVES:
        return CURVES[key.curve.name]
    if isinstance(key, rsa.RSAPrivateKey):
        return "ps256"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    raise LipsyncError(f"{path}: C2PA takes keys of P-256, P-384, P-521, RSA and Ed25519 only")
