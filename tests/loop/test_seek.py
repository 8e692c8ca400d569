from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.scenario import Box
from loopwright.loop.config import SeekConfig
from loopwright.loop.seek import Attempt, failing_region, seek_data

DOMAIN = Box(low={"x": 0.0, "y": -1.0}, high={"x": 1.0, "y": 1.0})
starts = st.fixed_dictionaries({"x": st.floats(0, 1), "y": st.floats(-1, 1)})


def _at(x: float, *, failed: bool = True, surprise: float = 0.0, agreement: float = 1.0) -> Attempt:
    start = {"x": x, "y": 0.0}
    return Attempt(start=start, failed=failed, surprise=surprise, agreement=agreement)


def test_nothing_is_asked_for_when_nothing_failed() -> None:
    attempts = [_at(0.5, failed=False)]
    assert seek_data(attempts, DOMAIN, SeekConfig(), video_tried=[], first=0) == ()


def test_video_first_and_a_label_only_when_video_of_the_region_did_not_help() -> None:
    attempts = [_at(0.8), _at(0.9), _at(0.1, failed=False)]
    config = SeekConfig(videos=7, demos=2, body="recoloured")
    (video,) = seek_data(attempts, DOMAIN, config, video_tried=[], first=40)
    assert (video.kind, video.count, video.body, video.first) == ("video", 7, "recoloured", 40)
    assert video.box is not None
    (demo,) = seek_data(attempts, DOMAIN, config, video_tried=[video.box], first=50)
    assert (demo.kind, demo.count, demo.body) == ("demo", 2, "robot")


def test_failures_elsewhere_ask_for_video_again() -> None:
    tried = Box(low={"x": 0.7, "y": -1.0}, high={"x": 1.0, "y": 1.0})
    (request,) = seek_data([_at(0.1)], DOMAIN, SeekConfig(), video_tried=[tried], first=0)
    assert request.kind == "video"


def test_the_most_surprising_half_is_where_it_looks() -> None:
    calm = [_at(x, surprise=0.1) for x in (0.0, 0.05, 0.1)]
    astonished = [_at(x, surprise=0.9) for x in (0.8, 0.85, 0.9)]
    region = failing_region(calm + astonished, DOMAIN)
    assert region is not None
    assert region.low["x"] > 0.6


def test_it_looks_where_its_motion_models_agree_least() -> None:
    read = [_at(x, agreement=0.9) for x in (0.0, 0.05, 0.1)]
    strange = [_at(x, agreement=0.4) for x in (0.8, 0.85, 0.9)]
    region = failing_region(read + strange, DOMAIN)
    assert region is not None
    assert region.low["x"] > 0.6


def test_surprise_and_disagreement_count_alike() -> None:
    attempts = [
        _at(0.05, surprise=0.1, agreement=0.9),
        _at(0.10, surprise=0.2, agreement=0.9),
        _at(0.15, surprise=0.3, agreement=0.8),
        _at(0.80, surprise=0.4, agreement=0.7),
        _at(0.85, surprise=0.5, agreement=0.5),
        _at(0.90, surprise=0.1, agreement=0.1),  # foreseen, but never read before
    ]
    region = failing_region(attempts, DOMAIN)
    assert region is not None
    assert region.contains({"x": 0.9, "y": 0.0})
    assert region.low["x"] > 0.6


@given(st.lists(starts, min_size=1, max_size=12))
def test_the_region_lies_in_the_domain_and_holds_every_equally_surprising_failure(
    failures: list[dict[str, float]],
) -> None:
    region = failing_region([Attempt(start=f, failed=True) for f in failures], DOMAIN)
    assert region is not None
    assert all(region.contains(f) for f in failures)
    for name in DOMAIN.low:
        assert DOMAIN.low[name] <= region.low[name] <= region.high[name] <= DOMAIN.high[name]
