"""The packets of a film as an H.264 byte stream (Annex B); no image is encoded again.

In an mp4 every packet says how long its parts are, and what a decoder needs to know first stands
once, in the head of the file. In a byte stream start codes separate the parts, and every frame that
can be decoded alone carries what is needed to begin there.
"""

from __future__ import annotations

import io

import av
import av.bitstream
import av.error

from loopwright.core.errors import DamagedData
from loopwright.store.video import BROKEN

_COLOURS = "colour_primaries=6:transfer_characteristics=6:matrix_coefficients=6"
_FILTERS = f"h264_mp4toannexb,h264_metadata={_COLOURS}:video_full_range_flag=0"
"""Besides, the parameter sets get told how colours became numbers (BT.601, as the converter of
:mod:`loopwright.store.video` does it unasked). Chromium guesses BT.709 of a film that does not say,
and shows it 30 dB away from our images; told, it shows the same within 52 dB."""


def annex_b_packets(film: bytes, name: str) -> list[bytes]:
    """Return one access unit per frame, in the order in which the frames are shown.

    Args:
        film: The bytes of an mp4 file.
        name: What to call it in errors.

    Raises:
        DamagedData: It is no film, is not H.264, or has frames that depend on later ones.
    """
    try:
        return _packets(film, name)
    except BROKEN as error:
        raise DamagedData(f"{name} is no readable film: {error}") from error


def _packets(film: bytes, name: str) -> list[bytes]:
    found: list[bytes] = []
    last_pts = -1
    with av.open(io.BytesIO(film), "r", format="mp4") as container:
        stream = container.streams.video[0]
        if stream.codec_context.name != "h264":
            raise DamagedData(f"{name} is {stream.codec_context.name}, expected h264")
        to_annex_b = av.bitstream.BitStreamFilterContext(_FILTERS, stream)
        for packet in container.demux(stream):
            if packet.size == 0:  # marks the end
                continue
            if packet.pts is None or packet.pts <= last_pts:
                raise DamagedData(
                    f"{name}: frame {len(found)} is shown before one that is stored ahead of it, "
                    "which no player of a byte stream expects"
                )
            last_pts = packet.pts
            found += [bytes(part) for part in to_annex_b.filter(packet)]
    return found
