"""Append-only files that show tampering: framed, hash-chained, with signed heads.

A chain is one file of frames (:mod:`.frames`). Every frame carries the digest of the one before
it, so that nothing inside can change unnoticed; *heads* (:mod:`.heads`), signed and copied to a
second place, fix how far the file had come. :mod:`.writer` writes, :mod:`.reading` reads,
:mod:`.verify` says whether it is what was written, and :mod:`.diagnosis` what was done to it.
"""

from loopwright.safety.chain.frames import FIRST_KIND, LONGEST_PAYLOAD, Frame
from loopwright.safety.chain.heads import Head, SignedHead, read_heads
from loopwright.safety.chain.reading import Chain, read_chain
from loopwright.safety.chain.report import ChainReport, Finding, FindingName
from loopwright.safety.chain.verify import verify_chain
from loopwright.safety.chain.writer import ChainWriter

__all__ = [
    "FIRST_KIND",
    "LONGEST_PAYLOAD",
    "Chain",
    "ChainReport",
    "ChainWriter",
    "Finding",
    "FindingName",
    "Frame",
    "Head",
    "SignedHead",
    "read_chain",
    "read_heads",
    "verify_chain",
]
