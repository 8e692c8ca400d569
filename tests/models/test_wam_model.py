from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from loopwright.core.errors import ContractError, InvalidConfig, UnknownName
from loopwright.core.interface import CameraSpec, Interface, Observation, VectorSpec
from loopwright.models.check import check_model
from loopwright.models.layers.flow import image_pyramid, local_flow
from loopwright.models.layers.transformer import Transformer, TransformerConfig
from loopwright.models.registry import families
from loopwright.models.wam.config import WamConfig, sized
from loopwright.models.wam.model import Wam, parameter_count
from loopwright.models.wam.sample import WamPolicy


def _interface(side_px: int = 64) -> Interface:
    return Interface(
        cameras=(CameraSpec(name="front", height_px=side_px, width_px=side_px),),
        proprio=VectorSpec(names=("x", "y"), units=("m", "m"), low=(-1, -1), high=(1, 1)),
        action=VectorSpec(
            names=("a", "b", "c"), units=("1",) * 3, low=(-1.0,) * 3, high=(1.0,) * 3
        ),
        rate_hz=40.0,
    )


def _outputs(model):
    generator = torch.Generator().manual_seed(1)
    side = model.config.image_px
    frames = torch.randint(0, 256, (6, side, side, 3), dtype=torch.uint8, generator=generator)
    known = torch.tensor([True, False] * 3)
    state = model.see(frames, torch.ones(6, 2), known, torch.zeros(6, dtype=torch.long))
    _, chunk = model.act(state)
    imagined = model.imagine(state, model.latent_action.encode(chunk), frames)
    motion = torch.stack([m(model.motion_of(frames)) for m in model.motion])
    return {"chunk": chunk, "imagined": imagined, "motion": motion}


@pytest.mark.parametrize("layers", [0, 1])
def test_the_model_keeps_its_promises(layers):
    config = sized("tiny", _interface(32), ("go",), transformer_layers=layers)
    check_model(
        lambda: Wam(config),
        _outputs,
        shapes={"chunk": (6, 8, 3), "imagined": (6, 3, 32, 32), "motion": (2, 6, 4, 3)},
    )


def test_a_dead_parameter_is_found():
    config = sized("tiny", _interface(32), ("go",))

    def without_motion(model):
        return {"chunk": _outputs(model)["chunk"]}

    with pytest.raises(ContractError, match="motion"):
        check_model(lambda: Wam(config), without_motion, shapes={"chunk": (6, 8, 3)})


def test_sizes_are_what_they_are_called():
    small = parameter_count(Wam(sized("small", _interface(), ("go",))))
    assert 1_000_000 < small < 3_000_000
    medium = parameter_count(Wam(sized("medium", _interface(), ("go",))))
    assert 20_000_000 < medium < 50_000_000
    with pytest.raises(UnknownName, match="small"):
        sized("smal", _interface(), ("go",))  # type: ignore[arg-type]


def test_hidden_proprioception_cannot_change_the_state():
    model = Wam(sized("tiny", _interface(32), ("go",))).eval()
    frames = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    hidden, task = torch.tensor([False]), torch.tensor([0])
    first = model.see(frames, torch.full((1, 2), -3.0), hidden, task)
    assert torch.equal(first, model.see(frames, torch.full((1, 2), 3.0), hidden, task))


def test_one_step_of_the_small_size_takes_at_most_3_ms():
    torch.set_num_threads(1)
    interface = _interface()
    policy = WamPolicy(Wam(sized("small", interface, ("go",))), interface)
    image = np.zeros((64, 64, 3), np.uint8)
    observation = Observation(images={"front": image}, proprio=np.zeros(2, np.float32))
    times = []
    for _ in range(60):
        began = time.process_time()
        policy.act(observation)
        times.append(time.process_time() - began)
    assert np.median(times) < 0.003


def test_configuration_survives_json_and_refuses_the_impossible():
    config = sized("small", _interface(), ("go", "stop"))
    assert WamConfig.from_json(config.to_json()) == config
    with pytest.raises(InvalidConfig, match="unknown"):
        WamConfig.from_json({**config.to_json(), "layers": 3})
    with pytest.raises(InvalidConfig, match="execute"):
        replace(config, execute=9)


def test_flow_finds_the_way_and_does_not_care_for_colour():
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")

    def disc(x: float, colour: tuple[float, float, float]) -> torch.Tensor:
        glow = torch.sigmoid(8 - ((columns - x) ** 2 + (rows - 32) ** 2).sqrt())
        return torch.stack([0.5 + 0.4 * c * glow for c in colour])[None]

    def speed(colour: tuple[float, float, float]) -> torch.Tensor:
        flow = local_flow(image_pyramid(disc(30, colour)), image_pyramid(disc(31, colour)), cells=8)
        return flow[0, 0].max()

    red, dark_green = speed((1.0, 0.0, 0.0)), speed((0.0, -1.0, 0.0))
    assert 0.5 < red < 1.5
    assert red == pytest.approx(float(dark_green), rel=1e-3)


def test_a_causal_backbone_does_not_see_ahead():
    config = TransformerConfig(width=32, layers=2, heads=4, key_heads=2, hidden=64, causal=True)
    backbone = Transformer(config)
    tokens = torch.randn(1, 6, 32)
    changed = tokens.clone()
    changed[:, 4:] += torch.randn(32)
    before, after = backbone(tokens), backbone(changed)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


def test_rotary_attention_depends_on_distance_only():
    config = TransformerConfig(width=32, layers=2, heads=4, key_heads=4, hidden=64)
    backbone, tokens = Transformer(config), torch.randn(1, 5, 32)
    here = backbone(tokens, torch.arange(5))
    torch.testing.assert_close(here, backbone(tokens, torch.arange(5) + 7), atol=1e-4, rtol=1e-4)


def test_the_family_is_known():
    assert families()["wam"].startswith("loopwright.models.wam")
