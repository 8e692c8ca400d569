"""What the episodes of an export have in common, decided before the first byte is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from loopwright.core.episode import EpisodeHeader, Verdict
from loopwright.core.errors import InvalidConfig
from loopwright.core.interface import Interface, VectorSpec
from loopwright.store.episode_files import TABLE, DamagedEpisode
from loopwright.store.exchange import lerobot_layout as layout
from loopwright.store.reading import EpisodeReader
from loopwright.store.table import read_table
from loopwright.store.workspace import Workspace

_SAME_CLOCK_S = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What all episodes have in common, decided before the first byte is written."""

    headers: Mapping[str, EpisodeHeader]
    verdicts: Mapping[str, Verdict]
    has_requests: bool
    """Some episode's requested actions are not the applied ones."""
    has_clock: bool
    """Some episode's times are not its frame numbers divided by the rate."""

    @property
    def interface(self) -> Interface:
        """The interface of every episode."""
        return next(iter(self.headers.values())).interface

    @property
    def fps(self) -> int | float:
        """Frames a second, whole where it can be."""
        rate = film_rate(self.interface)
        return int(rate) if rate.denominator == 1 else float(rate)

    @property
    def unjudged(self) -> int:
        """How many episodes have no verdict of success or failure."""
        return sum(self.success(episode) is None for episode in self.headers)

    def success(self, episode_id: str) -> bool | None:
        """Tell whether the verdict that counts says success; None if it says neither."""
        verdict = self.verdicts.get(episode_id)
        return {"success": True, "failure": False}.get(verdict.outcome) if verdict else None

    def features(self) -> dict[str, dict[str, Any]]:
        """Return the features of the dataset, as ``info.json`` lists them."""
        interface, found = self.interface, {}
        for camera in interface.cameras:
            found[layout.IMAGES + camera.name] = _film_feature(
                camera.height_px, camera.width_px, self.fps
            )
        vectors = {layout.STATE: interface.proprio, layout.ACTION: interface.action}
        if self.has_requests:
            vectors[layout.REQUESTED] = interface.action
        found |= {key: _vector_feature(spec) for key, spec in vectors.items() if spec.size}
        if self.has_clock:
            found[layout.TIME] = _number("float64")
        if not self.unjudged:
            found[layout.SUCCESS] = _number("bool")
        found[layout.DONE] = _number("bool")
        found["timestamp"] = _number("float32")
        for key in ("frame_index", "episode_index", "index", "task_index"):
            found[key] = _number("int64")
        return found

    def notes(self) -> tuple[str, ...]:
        """Return what LeRobot has no place for, one sentence each."""
        headers = self.headers.values()
        has_evidence = any(header.evidence for header in headers)
        censored = sum(header.censored is not None for header in headers)
        said = {
            "what verifiers looked at (evidence) is not exported, their verdict is": has_evidence,
            f"{self.unjudged} of {len(headers)} episodes have no verdict of success or failure, "
            f"so there is no {layout.SUCCESS} column (LeRobot knows no 'unknown'); "
            "'success' in meta/episodes is null for them": bool(self.unjudged),
            f"the times are not frame number / {self.fps} Hz, as LeRobot demands of 'timestamp'; "
            f"the world's own clock is in {layout.TIME!r}": self.has_clock,
            f"{censored} episodes end early; {layout.DONE} stays false in them": bool(censored),
        }
        return tuple(sentence for sentence, holds in said.items() if holds)


def plan_export(workspace: Workspace, reader: EpisodeReader, episodes: Sequence[str]) -> Plan:
    """Look at every header and table, and decide what the dataset will hold.

    Raises:
        InvalidConfig: The episodes cannot be one dataset.
        DamagedEpisode: One is missing or damaged, or holds numbers that are not finite.
    """
    if not episodes:
        raise InvalidConfig("there is no episode to export; expected at least one id")
    if twice := {name for name in episodes if episodes.count(name) > 1}:
        raise InvalidConfig(f"each episode is exported once, but {sorted(twice)} come again")
    headers = {episode_id: reader.header(episode_id) for episode_id in episodes}
    _refuse_videos(headers)
    _refuse_mixture(headers)
    requests, clocks = False, False
    for episode_id, header in headers.items():
        rows = _rows(workspace, episode_id, header)
        _refuse_not_finite(episode_id, rows)
        regular_s = np.arange(len(rows["time_s"])) / float(film_rate(header.interface))
        requests |= not np.array_equal(rows["requested"], rows["applied"], equal_nan=True)
        clocks |= bool(np.abs(rows["time_s"] - regular_s).max(initial=0.0) > _SAME_CLOCK_S)
    return Plan(
        headers=headers,
        verdicts=workspace.ledger.standing_verdicts(episodes),
        has_requests=requests,
        has_clock=clocks,
    )


def _rows(workspace: Workspace, episode_id: str, header: EpisodeHeader) -> Mapping[str, np.ndarray]:
    """Return the table of an episode; its digest is checked later, when it is written."""
    path = workspace.episodes_folder / episode_id / TABLE
    if not path.exists():
        raise DamagedEpisode(episode_id, f"{path} is missing")
    return read_table(path.read_bytes(), header, str(path))


def _refuse_not_finite(episode_id: str, rows: Mapping[str, np.ndarray]) -> None:
    """Refuse numbers that would make the statistics of the whole dataset not a number."""
    for part in ("time_s", "proprio", "requested", "applied"):
        finite = np.isfinite(rows[part]).reshape(len(rows[part]), -1).all(1)
        if not finite.all():
            raise DamagedEpisode(
                episode_id,
                f"{part} is not finite in row {int(np.argmin(finite))}; LeRobot normalises with "
                "statistics of every row, so leave this episode out",
            )


def _refuse_videos(headers: Mapping[str, EpisodeHeader]) -> None:
    videos = [name for name, header in headers.items() if header.kind == "video"]
    if videos:
        raise InvalidConfig(
            f"{len(videos)} of {len(headers)} episodes are videos ({_some(videos)}): they have "
            "images only, and a LeRobot dataset without actions trains nothing; "
            "export a snapshot without them"
        )


def _refuse_mixture(headers: Mapping[str, EpisodeHeader]) -> None:
    first, *others = headers
    wanted = headers[first].interface.to_json()
    differing = {}
    for name in others:
        found = headers[name].interface.to_json()
        if parts := [part for part in wanted if found[part] != wanted[part]]:
            differing[name] = f"{name} (its {' and '.join(parts)})"
    if differing:
        raise InvalidConfig(
            f"{len(differing)} of {len(headers)} episodes have another interface than {first}: "
            f"{_some(list(differing.values()))}; a LeRobot dataset has one set of features, "
            "so export those of one interface at a time"
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def film_rate(interface: Interface) -> Fraction:
    """Return the rate that the films have: the nearest one that their format can say."""
    return Fraction(interface.rate_hz).limit_denominator(1001)


def _film_feature(height_px: int, width_px: int, fps: float) -> dict[str, Any]:
    return {
        "dtype": "video",
        "shape": [height_px, width_px, 3],
        "names": ["height", "width", "channels"],
        "info": {
            "video.height": height_px,
            "video.width": width_px,
            "video.codec": "h264",
            "video.pix_fmt": "yuv444p",
            "video.is_depth_map": False,
            "video.fps": fps,
            "video.channels": 3,
            "has_audio": False,
        },
    }


def _vector_feature(spec: VectorSpec) -> dict[str, Any]:
    return {"dtype": "float32", "shape": [spec.size], "names": list(spec.names)}


def _number(dtype: str) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [1], "names": None}
