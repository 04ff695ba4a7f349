"""Tell what a media file says about its origin: its metadata and its C2PA manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lipsync_core.dubbing.provenance import ASSERTION, IPTC, SYNTHETIC_TERMS, parse_comment
from lipsync_core.errors import printable
from lipsync_core.media.content_credentials import REMEDY, Credentials, read
from lipsync_core.media.metadata import read_tags
from lipsync_core.runtime.files import PathLike


@dataclass(frozen=True)
class Findings:
    """What `verify` found. claim: of the metadata, None without one. passed: see `verify`."""

    file: Path
    claim: Mapping[str, Any] | None
    credentials: Credentials
    passed: bool

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        found = asdict(self.credentials)
        return {
            "file": str(self.file),
            "passed": self.passed,
            "metadata": None if self.claim is None else dict(self.claim),
            "c2pa": found,
        }

    def lines(self) -> list[str]:
        """A few lines of text for people."""
        verdict = "marked as synthetic" if self.passed else "not validly marked as synthetic"
        rows = [f"{self.file}: {verdict}", f"  metadata  {_claim_text(self.claim)}"]
        rows.append(f"  C2PA      {_credentials_text(self.credentials)}")
        own = self.credentials.assertions.get(ASSERTION)
        if isinstance(own, Mapping):
            rows.append(f"            {_claim_text(own)}")
        return [printable(row) for row in rows]


def verify(path: PathLike, anchors: PathLike | None = None) -> Findings:
    """Read what a media file says about its origin.

    anchors: PEM file of certificates; then a C2PA manifest counts only when one of them issued its
    signer's certificate. It passes when its metadata or its C2PA manifest says that it is
    synthetic, and the manifest, where there is one, is valid. Without a manifest nothing protects
    the metadata: anyone could have written it, or removed it.

    Raises ClipError (unreadable, timed_out) when it is no media file, LipsyncError for anchors that
    cannot be read.
    """
    claim = parse_comment(read_tags(path).get("comment", ""))
    found = read(path, anchors)
    marked = claim is not None or not SYNTHETIC_TERMS.isdisjoint(found.sources)
    accepted = {"trusted"} if anchors else {"trusted", "valid", "none", "unchecked"}
    return Findings(Path(path), claim, found, marked and found.state in accepted)


def _claim_text(claim: Mapping[str, Any] | None) -> str:
    if claim is None:
        return "says nothing about its origin"
    if "model_sha256" not in claim:
        return "synthetic"
    return (
        f"synthetic, by {claim.get('software')} {claim.get('version')}, model "
        f"{claim.get('model')} (SHA-256 {claim['model_sha256']})"
    )


def _credentials_text(found: Credentials) -> str:
    by = f"signed by {found.signer or 'an unnamed signer'}"
    if found.dates:
        by += f", {found.dates[0]}"
    terms = ", ".join(term.removeprefix(IPTC) for term in found.sources) or "no source named"
    return {
        "none": "no manifest",
        "unchecked": f"not checked; run `{REMEDY}`",
        "invalid": f"INVALID: {', '.join(found.failures) or 'unknown reason'}",
        "valid": f"valid, {by}, whom no given certificate vouches for; {terms}",
        "trusted": f"valid, {by}, trusted; {terms}",
    }[found.state]
