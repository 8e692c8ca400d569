from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from loopwright.core.errors import DamagedData
from loopwright.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

KINDS = [
    *(torch.float64, torch.float32, torch.bfloat16, torch.float16),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
]


@pytest.fixture
def checkpoint() -> Checkpoint:
    random = torch.Generator().manual_seed(0)
    tensors = {str(kind): torch.randint(0, 2, (3, 5), generator=random).to(kind) for kind in KINDS}
    tensors |= {
        "scalar": torch.tensor(7.0),
        "empty": torch.empty(0, 4),
        "turned": torch.arange(6.0).view(2, 3).t(),
        'a "name", ü': torch.ones(1),
    }
    return Checkpoint(step=3, fingerprint="me", tensors=tensors)


def test_every_kind_of_tensor_comes_back_and_other_readers_agree(tmp_path, checkpoint):
    path = tmp_path / "run.safetensors"
    save_checkpoint(path, checkpoint)
    found = load_checkpoint(path)
    assert found is not None
    assert (found.step, found.fingerprint) == (3, "me")
    foreign = load_file(path)
    assert found.tensors.keys() == foreign.keys() == checkpoint.tensors.keys()
    for name, value in checkpoint.tensors.items():
        for read in (found.tensors[name], foreign[name]):
            assert read.dtype == value.dtype
            assert torch.equal(read, value)


def test_a_cut_checkpoint_is_named_and_refused(tmp_path, checkpoint):
    path = tmp_path / "run.safetensors"
    save_checkpoint(path, checkpoint)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DamagedData, match="cannot be read"):
        load_checkpoint(path)


def test_a_checkpoint_with_one_flipped_bit_is_named_and_refused(tmp_path, checkpoint):
    path = tmp_path / "run.safetensors"
    save_checkpoint(path, checkpoint)
    whole = path.read_bytes()
    begin = 8 + int.from_bytes(whole[:8], "little")
    for place in (whole.index(b'\\"step\\": 3') + 10, begin, len(whole) - 1):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(DamagedData, match=r"run\.safetensors is not what was written"):
            load_checkpoint(path)
