from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from loopwright.core.errors import DamagedData, InvalidConfig
from loopwright.core.interface import Observation
from loopwright.core.learner import FitJob
from loopwright.core.policy import ForeseeingPolicy, MotionReadingPolicy
from loopwright.models.registry import load_policy
from loopwright.models.wam.sample import WamPolicy
from loopwright.train.wam import WamFit, fit, motion_trust

QUICK = WamFit(
    size="tiny", policy_steps=20, motion_steps=20, batch_demos=8, batch_video=8, batch_motion=16
)


def _fit(folder, episodes, config=QUICK, seed=0):
    job = FitJob(
        episodes=episodes,
        seed=seed,
        out=folder / "out",
        scratch=folder / "scratch",
        lineage={"recipe": "test"},
    )
    return fit(config, job)


def test_equal_arguments_give_equal_bytes(tmp_path, blob_episodes):
    first = _fit(tmp_path / "a", blob_episodes)
    second = _fit(tmp_path / "b", blob_episodes)
    assert first == second
    assert _fit(tmp_path / "c", blob_episodes, seed=1).candidate != first.candidate
    json.dumps(first.to_json(), allow_nan=False)


def test_a_model_that_never_learned_to_foresee_says_so(tmp_path, blob_episodes):
    _fit(tmp_path, blob_episodes, config=replace(QUICK, use_forward=False))
    policy = load_policy(tmp_path / "out")
    assert isinstance(policy, ForeseeingPolicy)
    assert policy.imagine(blob_episodes[0]) is None
    assert policy.surprise(blob_episodes[0]) is None


def test_a_sealed_candidate_acts_imagines_and_reads_motion(tmp_path, blob_episodes):
    _fit(tmp_path, blob_episodes)
    policy = load_policy(tmp_path / "out")
    assert isinstance(policy, WamPolicy)
    demo, video = blob_episodes[0], blob_episodes[-1]
    observation = Observation(
        images={"front": demo.images["front"][0]}, proprio=demo.proprio[0], instruction="follow"
    )
    chunk = demo.header.interface.check_chunk(policy.act(observation))
    assert chunk.shape == (4, 2)
    seen = policy.imagine(video, every=3)
    assert seen is not None
    assert seen.imagined.shape == seen.real.shape == (6, 32, 32, 3)
    assert seen.imagined.dtype == np.uint8
    np.testing.assert_array_equal(seen.real[-1], video.images["front"][-1])
    surprise = policy.surprise(demo)
    assert surprise is not None
    assert surprise.shape == (demo.num_steps,)
    assert isinstance(policy, MotionReadingPolicy)
    policy.model.motion_trust_A.fill_(1.0)  # so few steps teach nothing that is trusted
    agreement = policy.agreement(video)
    assert agreement is not None
    assert agreement.shape == (video.num_steps,)
    assert ((agreement >= 0) & (agreement <= 1)).all()


def test_a_model_that_never_learned_to_read_motion_says_so(tmp_path, blob_episodes):
    _fit(tmp_path, blob_episodes, config=replace(QUICK, use_idm=False, use_video=False))
    policy = load_policy(tmp_path / "out")
    assert isinstance(policy, WamPolicy)
    assert policy.agreement(blob_episodes[0]) is None


def test_a_flipped_bit_is_noticed(tmp_path, blob_episodes):
    _fit(tmp_path, blob_episodes)
    weights = tmp_path / "out" / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(DamagedData, match="weights"):
        load_policy(tmp_path / "out")


def test_cloning_needs_no_play_and_no_video(tmp_path, blob_episodes):
    demos = [e for e in blob_episodes if e.header.kind == "demo"]
    clone = WamFit(size="tiny", policy_steps=5, use_video=False, use_idm=False, use_forward=False)
    report = _fit(tmp_path, demos, clone)
    assert not report.agreement
    assert not any(name.startswith("motion") for name in report.curves)


def test_without_a_demonstration_there_is_no_task(tmp_path, blob_episodes):
    with pytest.raises(InvalidConfig, match="demonstration"):
        _fit(tmp_path, [e for e in blob_episodes if e.header.kind != "demo"])


def test_motion_models_learn_to_read_a_moving_blob(tmp_path, blob_episode):
    episodes = [blob_episode("demo", n) for n in range(5)]
    episodes += [blob_episode("play", 50 + n) for n in range(30)]
    episodes += [blob_episode("video", 90)]
    config = WamFit(size="tiny", motion_steps=200, policy_steps=1, batch_demos=2, batch_video=2)
    report = _fit(tmp_path, episodes, config)
    assert report.validation["motion_trust/right"] == 1.0
    assert report.validation["motion_trust/down"] == 1.0
    assert set(report.agreement) == {episodes[-1].id}


def test_video_without_play_is_read_by_what_demonstrations_showed(tmp_path, blob_episode):
    episodes = [blob_episode("demo", n) for n in range(35)] + [blob_episode("video", 90)]
    config = WamFit(size="tiny", motion_steps=200, policy_steps=1, batch_demos=2, batch_video=2)
    report = _fit(tmp_path, episodes, config)
    assert report.validation["motion_trust/right"] == report.validation["motion_trust/down"] == 1.0
    assert 0.0 < report.agreement[episodes[-1].id] <= 1.0


def test_video_with_nothing_to_learn_motion_from_is_refused(tmp_path, blob_episode):
    with pytest.raises(InvalidConfig, match=r"1 episode .* Request play"):
        _fit(tmp_path, [blob_episode("demo", 0), blob_episode("video", 1)])


def test_motion_that_shows_nothing_agrees_on_nothing_and_takes_no_rows(tmp_path, blob_episodes):
    blind = replace(QUICK, use_idm=False)
    assert not _fit(tmp_path / "a", blob_episodes, blind).agreement
    alone = replace(blind, use_forward=False)
    with_video = _fit(tmp_path / "b", blob_episodes, alone)
    without = _fit(tmp_path / "c", blob_episodes, replace(alone, use_video=False))
    assert with_video.candidate == without.candidate


def test_trust_tells_visible_from_invisible_components():
    random = np.random.default_rng(0)
    true = random.uniform(-1, 1, (500, 2))
    read = np.stack([0.8 * true[:, 0], random.uniform(-0.1, 0.1, 500)], axis=1)
    trust, gain = motion_trust(read, true)
    assert trust.tolist() == [1.0, 0.0]
    assert gain[0] == pytest.approx(1.25)


def test_configuration_survives_json_and_refuses_unknown_keys():
    config = WamFit(size="tiny", policy_steps=7)
    assert WamFit.from_json(json.loads(json.dumps(config.to_json()))) == config
    with pytest.raises(InvalidConfig, match="steps"):
        WamFit.from_json({"steps": 3})
