"""The films of an episode: their length, and whether they show anything at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from loopwright.core.errors import DamagedData
from loopwright.core.interface import CameraSpec
from loopwright.store.doctor import Finding, Severity
from loopwright.store.episode_files import Description, film_name
from loopwright.store.video import BROKEN, size_px

_EVEN_LEVELS = 4
"""An image whose brightest and darkest point differ by less shows nothing (of 256 levels)."""
_BLACK_LUMA = 30
"""Nor does one that is nowhere brighter; black is 16, and a covered lens not quite black."""
_STILL_LEVELS = 10
"""Coding alone changes no value by more from frame to frame (9 levels of pure noise)."""
_FEWEST_STILL = 10
_STILL_SHARE = 0.6
_MOVED_SHARE = 0.1
"""Share of its range by which the state must move while the camera stands still."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Footage:
    """One camera of one episode."""

    folder: Path
    description: Description
    camera: CameraSpec

    @property
    def path(self) -> Path:
        """Its file."""
        return self.folder / film_name(self.camera.name)


@dataclass(kw_only=True, slots=True)
class _Seen:
    """What was seen in the frames so far."""

    frames: int = 0
    even: int = 0
    """Frames that show nothing."""
    run_begin: int = 0
    longest: tuple[int, int] = (0, 0)
    """First frame and one after the last of the longest stretch that stands still."""
    still: np.ndarray | None = None
    """First image of the present stretch, uint8 ``(3, H, W)``: luma and colours."""

    def look(self, image: np.ndarray) -> None:
        spread = max(int(plane.max()) - int(plane.min()) for plane in image)
        self.even += spread < _EVEN_LEVELS or image[0].max() < _BLACK_LUMA
        if self.still is None or _differ(image, self.still):
            self.still, self.run_begin = image, self.frames
        self.frames += 1
        if self.frames - self.run_begin > self.longest[1] - self.longest[0]:
            self.longest = (self.run_begin, self.frames)


def examine_footage(
    film: Footage, proprio: np.ndarray | None, *, decode: bool
) -> Iterator[Finding]:
    """Look at a film; frames are counted at least, and looked at when ``decode`` is asked for."""
    expected = film.description.num_steps
    try:
        seen = _watch(film) if decode else _Seen(frames=_count_packets(film))
    except DamagedData as error:
        yield _finding(film, "film/unreadable", str(error), severity="damage")
        return
    if seen.frames != expected:
        more = "at least " if seen.frames > expected and decode else ""
        yield _finding(
            film,
            "film/length",
            f"it has {more}{seen.frames} frames, the table {expected} rows",
            severity="damage",
        )
        return
    if 2 * seen.even >= expected and decode:
        yield _finding(
            film,
            "film/constant",
            f"{seen.even} of {expected} images are black or of one brightness: a covered lens?",
        )
    elif decode and proprio is not None and len(proprio) == expected:
        yield from _frozen(film, proprio, seen.longest)


def _frozen(film: Footage, proprio: np.ndarray, longest: tuple[int, int]) -> Iterator[Finding]:
    begin, end = longest
    if end - begin < max(_FEWEST_STILL, _STILL_SHARE * len(proprio)) or not proprio.shape[1]:
        return
    spec = film.description.header.interface.proprio
    width = np.asarray(spec.high) - np.asarray(spec.low)
    moved = np.ptp(proprio[begin:end].astype(float), axis=0) / np.where(width > 0, width, np.inf)
    if (most := int(np.nanargmax(moved))) is not None and moved[most] > _MOVED_SHARE:
        yield _finding(
            film,
            "film/frozen",
            f"the image stands still from frame {begin} to {end - 1} of {len(proprio)}, while "
            f"{spec.names[most]!r} moves through {100 * moved[most]:.0f} % of its range",
        )


def _watch(film: Footage) -> _Seen:
    """Decode frame after frame, at most one more than there may be; memory stays bounded."""
    seen, camera = _Seen(), film.camera
    try:
        with film.path.open("rb") as source, av.open(source, "r", format="mp4") as container:
            stream = container.streams.video[0]
            stream.thread_count = 1
            converter = VideoReformatter()  # has nothing to do for our own films
            _check_size(camera, *size_px(stream))
            for frame in container.decode(stream):
                _check_size(camera, frame.height, frame.width)
                seen.look(converter.reformat(frame, format="yuv444p").to_ndarray())
                if seen.frames > film.description.num_steps:
                    break
    except (*BROKEN, OSError) as error:
        raise DamagedData(f"it cannot be decoded after frame {seen.frames}: {error}") from error
    return seen


def _count_packets(film: Footage) -> int:
    try:
        with film.path.open("rb") as source, av.open(source, "r", format="mp4") as container:
            return sum(1 for packet in container.demux(video=0) if packet.size)
    except (*BROKEN, OSError) as error:
        raise DamagedData(f"it cannot be read: {error}") from error


def _differ(image: np.ndarray, other: np.ndarray) -> bool:
    """Tell whether a value differs by more than coding does; uint8 wraps, so both ways."""
    return bool(((image - other > _STILL_LEVELS) & (other - image > _STILL_LEVELS)).any())


def _check_size(camera: CameraSpec, height_px: int, width_px: int) -> None:
    if (height_px, width_px) != (camera.height_px, camera.width_px):
        raise DamagedData(
            f"its images have {height_px}x{width_px} px, "
            f"expected {camera.height_px}x{camera.width_px}"
        )


def _finding(
    film: Footage, check: str, message: str, *, severity: Severity = "suspicion"
) -> Finding:
    is_damage = severity == "damage"
    return Finding(
        check=check,
        severity=severity,
        where=f"episodes/{film.description.id}/{film.path.name}",
        message=message,
        repair="move the episode to episodes/quarantine, with the reason" if is_damage else None,
        episode=film.description.id,
    )
