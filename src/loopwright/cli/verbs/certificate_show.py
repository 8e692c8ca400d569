"""``loopwright certificate show``: what a certificate says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.site import written
from loopwright.safety.certificate.document import CATEGORIES, Certificate
from loopwright.safety.certificate.verify import read_certificate


def main(
    certificate: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CERTIFICATE")],
    /,
    *,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Print what a certificate says, without asking whether it holds ('certificate verify' does).

    Args:
        certificate: Certificate file.
        json_output: Print JSON.
    """
    signed = read_certificate(certificate)
    found = Certificate.from_statement(signed.statement)
    if json_output:
        print(json.dumps({"digest": found.digest, **found.to_json()}))
        return 0
    for line in _lines(found):
        print(line)
    print(f"signed with: {', '.join(name for name, _ in signed.signatures)}")
    return 0


def _lines(certificate: Certificate) -> Iterator[str]:
    bare = certificate.level_without_filter
    yield f"certificate {certificate.digest[:16]}: {certificate.scenario}"
    yield f"level {certificate.level} with the filter, {bare or 'none shown'} without it"
    yield f"valid {written(certificate.issued_s)} to {written(certificate.expires_s)} UTC"
    yield f"plan {certificate.plan[:16]}, attempt {certificate.attempt}"
    for name, digest in certificate.identity.subjects.items():
        yield f"  {name:<9} {digest[:16]}"
    for claim in certificate.claims:
        yield f"  {claim}"
    for item in certificate.degraded:
        days = CATEGORIES[item.category]
        yield f"  without {', '.join(item.absent)}: {days} days, {item.condition}"
    yield "Evidence from simulation about exactly these digests, inside the operating domain."
