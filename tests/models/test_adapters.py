"""Foreign policies enter as candidates, or are refused with a reason."""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from loopwright.core.errors import InvalidConfig, MissingExtra, PolicyError, UnsafeCandidate
from loopwright.core.interface import CameraSpec, Interface, Observation, VectorSpec
from loopwright.core.policy import Candidate
from loopwright.models.adapters import lerobot, python_function
from loopwright.models.adapters.adopt import adopt
from loopwright.models.adapters.lerobot import FeatureMap, LerobotPolicy, adopt_lerobot
from loopwright.models.adapters.python_function import adopt_function


def vector(*names: str) -> VectorSpec:
    return VectorSpec(
        names=names,
        units=("m",) * len(names),
        low=(-1.0,) * len(names),
        high=(1.0,) * len(names),
    )


INTERFACE = Interface(
    cameras=(CameraSpec(name="corner", height_px=16, width_px=32),),
    proprio=vector("x", "y", "z"),
    action=vector("dx", "dy"),
    rate_hz=40.0,
)
OBSERVATION = Observation(
    images={"corner": np.arange(16 * 32 * 3, dtype=np.uint8).reshape(16, 32, 3)},
    proprio=np.array([0.1, 0.2, 0.3], dtype=np.float32),
    instruction="press the button",
)
CONFIG: dict[str, Any] = {
    "type": "act",
    "input_features": {
        "observation.images.corner": {"type": "VISUAL", "shape": [3, 16, 32]},
        "observation.state": {"type": "STATE", "shape": [3]},
    },
    "output_features": {"action": {"type": "ACTION", "shape": [2]}},
}


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


class TestPythonFunction:
    def test_a_function_becomes_a_policy_and_one_action_a_chunk(self, tmp_path: Path) -> None:
        source = write(tmp_path / "mine.py", "def act(observation):\n    return [0.5, -0.5]\n")
        candidate = adopt_function(source, tmp_path / "candidate", INTERFACE)
        opened = Candidate.open(tmp_path / "candidate")
        assert opened.digest == candidate.digest
        chunk = python_function.load(tmp_path / "candidate", opened).act(OBSERVATION)
        np.testing.assert_array_equal(INTERFACE.check_chunk(chunk), [[0.5, -0.5]])

    def test_a_policy_of_its_own_keeps_memory_and_is_seeded(self, tmp_path: Path) -> None:
        source = write(
            tmp_path / "mine.py",
            "from __future__ import annotations\n"
            "from dataclasses import dataclass\n"
            "import numpy as np\n"
            "@dataclass\n"
            "class Wander:\n"
            "    noise: np.random.Generator | None = None\n"
            "    def reset(self, seed):\n"
            "        self.noise = np.random.default_rng(seed)\n"
            "    def act(self, observation):\n"
            "        return self.noise.normal(size=(3, 2))\n"
            "def make_policy():\n"
            "    return Wander()\n",
        )
        candidate = adopt_function(source, tmp_path / "candidate", INTERFACE)
        policy = python_function.load(tmp_path / "candidate", candidate)
        chunks = []
        for seed in (1, 1, 2):
            policy.reset(seed)
            chunks.append(policy.act(OBSERVATION))
        assert chunks[0].shape == (3, 2)
        assert chunks[0].dtype == np.float32
        np.testing.assert_array_equal(chunks[0], chunks[1])
        assert not np.array_equal(chunks[0], chunks[2])

    def test_it_reads_its_attachments_and_leaves_the_folder_sealed(self, tmp_path: Path) -> None:
        source = write(
            tmp_path / "mine.py",
            "import json, pathlib\n"
            "GAIN = json.loads((pathlib.Path(__file__).parent / 'gain.json').read_text())\n"
            "def act(observation):\n    return observation.proprio[:2] * GAIN\n",
        )
        gain = write(tmp_path / "gain.json", "2.0")
        folder = tmp_path / "candidate"
        candidate = adopt_function(source, folder, INTERFACE, attachments=[gain])
        chunk = python_function.load(folder, candidate).act(OBSERVATION)
        np.testing.assert_allclose(chunk, [[0.2, 0.4]], rtol=1e-6)
        assert sorted(p.name for p in folder.iterdir()) == [
            "candidate.json",
            "gain.json",
            "policy.py",
        ]
        Candidate.open(folder)

    def test_another_file_is_another_candidate(self, tmp_path: Path) -> None:
        digests = set()
        for gain in (0.1, 0.2):
            source = write(tmp_path / "mine.py", f"def act(o):\n    return [{gain}, 0]\n")
            digests.add(adopt_function(source, tmp_path / str(gain), INTERFACE).digest)
        assert len(digests) == 2

    @pytest.mark.parametrize(
        ("text", "error", "words"),
        [
            ("x = 1\n", InvalidConfig, "defines neither act"),
            ("def act(:\n", PolicyError, "SyntaxError"),
            ("import no_such_module\n", PolicyError, "no_such_module"),
            ("def make_policy():\n    return 3\n", PolicyError, "returned 3"),
        ],
    )
    def test_a_file_that_cannot_act_is_refused_and_leaves_nothing(
        self, tmp_path: Path, text: str, error: type[Exception], words: str
    ) -> None:
        source = write(tmp_path / "mine.py", text)
        with pytest.raises(error, match=words):
            adopt_function(source, tmp_path / "candidate", INTERFACE)
        assert not (tmp_path / "candidate").exists()

    def test_a_pickle_is_no_attachment(self, tmp_path: Path) -> None:
        source = write(tmp_path / "mine.py", "def act(o):\n    return [0, 0]\n")
        weights = write(tmp_path / "weights.pkl", "")
        with pytest.raises(UnsafeCandidate, match="pickle"):
            adopt_function(source, tmp_path / "candidate", INTERFACE, attachments=[weights])
        assert not (tmp_path / "candidate").exists()

    def test_an_attachment_cannot_replace_the_policy(self, tmp_path: Path) -> None:
        source = write(tmp_path / "mine.py", "def act(o):\n    return [0, 0]\n")
        (tmp_path / "sub").mkdir()
        other = write(tmp_path / "sub" / "policy.py", "")
        with pytest.raises(InvalidConfig, match="taken"):
            adopt_function(source, tmp_path / "candidate", INTERFACE, attachments=[other])

    def test_what_is_no_number_is_named(self, tmp_path: Path) -> None:
        source = write(tmp_path / "mine.py", "def act(o):\n    return 'left'\n")
        candidate = adopt_function(source, tmp_path / "candidate", INTERFACE)
        with pytest.raises(PolicyError, match="'left'"):
            python_function.load(tmp_path / "candidate", candidate).act(OBSERVATION)


class QueueingNetwork(torch.nn.Module):
    """A small network with LeRobot's contract: a chunk is computed, then handed out singly."""

    def __init__(self, noise: float = 0.0) -> None:
        super().__init__()
        self.head = torch.nn.Linear(3 + 3, 2 * 2)
        self.noise = noise
        self.queue: deque[torch.Tensor] = deque()
        self.calls = 0

    def reset(self) -> None:
        self.queue.clear()

    def select_action(self, batch: dict[str, Any]) -> torch.Tensor:
        if not self.queue:
            self.calls += 1
            colour = batch["observation.images.corner"].mean(dim=(2, 3))
            features = torch.cat([colour, batch["observation.state"]], dim=1)
            chunk = self.head(features).reshape(1, 2, 2)
            chunk = chunk + self.noise * torch.randn_like(chunk)
            self.queue.extend(chunk.transpose(0, 1))
        return self.queue.popleft()


class TestLerobotMapping:
    def test_the_batch_is_what_lerobot_expects(self) -> None:
        batch = FeatureMap.fit(CONFIG, INTERFACE).batch(OBSERVATION)
        image = batch["observation.images.corner"]
        assert image.shape == (1, 3, 16, 32)
        assert image.dtype == torch.float32
        assert image[0, 1, 2, 3].item() == pytest.approx(
            OBSERVATION.images["corner"][2, 3, 1] / 255.0
        )
        torch.testing.assert_close(batch["observation.state"], torch.tensor([[0.1, 0.2, 0.3]]))
        assert batch["task"] == "press the button"

    def test_actions_are_queued_inside_and_forgotten_on_reset(self) -> None:
        torch.manual_seed(0)
        network = QueueingNetwork()
        policy = LerobotPolicy(network, FeatureMap.fit(CONFIG, INTERFACE))
        policy.reset(0)
        first, second = policy.act(OBSERVATION), policy.act(OBSERVATION)
        assert first.shape == (1, 2)
        assert INTERFACE.check_chunk(first).dtype == np.float32
        assert network.calls == 1
        policy.reset(0)
        np.testing.assert_array_equal(policy.act(OBSERVATION), first)
        assert network.calls == 2
        assert not np.array_equal(first, second)

    def test_processing_wraps_the_policy(self) -> None:
        network = QueueingNetwork()
        features = FeatureMap.fit(CONFIG, INTERFACE)
        plain = LerobotPolicy(network, features).act(OBSERVATION)
        network.reset()
        scaled = LerobotPolicy(
            network,
            features,
            preprocess=lambda batch: {**batch, "observation.state": batch["observation.state"] * 1},
            postprocess=lambda action: action * 10,
        ).act(OBSERVATION)
        np.testing.assert_allclose(scaled, plain * 10, rtol=1e-6)

    def test_noise_comes_from_the_seed_and_leaves_the_process_alone(self) -> None:
        policy = LerobotPolicy(QueueingNetwork(noise=1.0), FeatureMap.fit(CONFIG, INTERFACE))
        before = torch.get_rng_state()
        actions = []
        for seed in (5, 5, 6):
            policy.reset(seed)
            actions.append(np.concatenate([policy.act(OBSERVATION) for _ in range(6)]))
        torch.testing.assert_close(torch.get_rng_state(), before)
        np.testing.assert_array_equal(actions[0], actions[1])
        assert not np.array_equal(actions[0], actions[2])
        assert not np.array_equal(actions[0][0:2], actions[0][2:4])

    def test_the_only_camera_feeds_the_only_image_whatever_its_name(self) -> None:
        config = {
            **CONFIG,
            "input_features": {"observation.image": {"type": "VISUAL", "shape": [3, 16, 32]}},
        }
        features = FeatureMap.fit(config, INTERFACE)
        assert dict(features.cameras) == {"observation.image": "corner"}
        assert not features.state

    def test_a_result_that_is_no_action_is_named(self) -> None:
        class Broken(QueueingNetwork):
            def select_action(self, batch: dict[str, Any]) -> torch.Tensor:
                return torch.zeros(1, 2, 2)

        with pytest.raises(PolicyError, match="select_action"):
            LerobotPolicy(Broken(), FeatureMap.fit(CONFIG, INTERFACE)).act(OBSERVATION)

    @pytest.mark.parametrize(
        "features",
        [
            [{"name": "observation.state", "shape": [3]}],
            "observation.state",
            {"observation.state": [3]},
            {"observation.state": {"type": "STATE"}},
            {"observation.state": {"type": "STATE", "shape": 3}},
        ],
    )
    @pytest.mark.parametrize("part", ["input_features", "output_features"])
    def test_features_in_another_form_are_told_the_form(self, part: str, features: Any) -> None:
        with pytest.raises(InvalidConfig, match=rf"{part} of config\.json is .*expected"):
            FeatureMap.fit({**CONFIG, part: features}, INTERFACE)

    @pytest.mark.parametrize(
        ("part", "feature", "words"),
        [
            ("input_features", {"observation.images.corner": ("VISUAL", [3, 96, 96])}, "3, 96, 96"),
            ("input_features", {"observation.state": ("STATE", [14])}, "14"),
            ("input_features", {"observation.images.wrist": ("VISUAL", [3, 16, 32])}, "wrist"),
            ("input_features", {"observation.environment_state": ("ENV", [2])}, "environment"),
            ("output_features", {"action": ("ACTION", [7])}, "7"),
        ],
    )
    def test_features_that_do_not_fit_are_named(
        self, part: str, feature: dict[str, tuple[str, list[int]]], words: str
    ) -> None:
        extra = {key: {"type": kind, "shape": shape} for key, (kind, shape) in feature.items()}
        with pytest.raises(InvalidConfig, match=words):
            FeatureMap.fit({**CONFIG, part: {**CONFIG[part], **extra}}, INTERFACE)


class TestLerobotFolder:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "pretrained_model"
        folder.mkdir()
        write(folder / "config.json", json.dumps(CONFIG))
        save_file({"head": torch.zeros(2, 3)}, folder / "model.safetensors")
        write(folder / "policy_preprocessor.json", "{}")
        write(folder / "README.md", "a card")
        write(folder / "optimizer.pt", "a pickle")
        return folder

    def test_it_is_sealed_with_what_lerobot_reads_and_nothing_else(
        self, folder: Path, tmp_path: Path
    ) -> None:
        candidate = adopt_lerobot(folder, tmp_path / "out", INTERFACE)
        opened = Candidate.open(tmp_path / "out")
        assert opened.digest == candidate.digest
        assert set(opened.files) == {
            "config.json",
            "model.safetensors",
            "policy_preprocessor.json",
        }
        features: Any = opened.config["features"]
        assert FeatureMap(**features) == FeatureMap.fit(CONFIG, INTERFACE)

    def test_running_it_names_the_missing_package(self, folder: Path, tmp_path: Path) -> None:
        candidate = adopt_lerobot(folder, tmp_path / "out", INTERFACE)
        with pytest.raises(MissingExtra, match=r'pip install "loopwright\[lerobot\]"'):
            lerobot.load(tmp_path / "out", candidate)

    def test_a_folder_that_is_no_policy_is_refused(self, folder: Path, tmp_path: Path) -> None:
        (folder / "model.safetensors").unlink()
        with pytest.raises(InvalidConfig, match=r"model\.safetensors"):
            adopt_lerobot(folder, tmp_path / "out", INTERFACE)
        assert not (tmp_path / "out").exists()


class TestAdopt:
    def test_a_file_and_a_candidate_are_told_apart(self, tmp_path: Path) -> None:
        source = write(tmp_path / "mine.py", "def act(o):\n    return [0, 0]\n")
        assert adopt(source, tmp_path / "candidate", INTERFACE).family == "python"
        with pytest.raises(InvalidConfig, match="already"):
            adopt(tmp_path / "candidate", tmp_path / "again", INTERFACE)
        with pytest.raises(InvalidConfig, match="neither"):
            adopt(tmp_path, tmp_path / "again", INTERFACE)
