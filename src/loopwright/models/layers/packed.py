"""Weights kept in 8 or 4 bits and multiplied as they are.

Symmetric and weight-only: 8 bits with a scale a row, 4 bits with a scale for every 32 weights of a
row. Scales are bfloat16, and a weight is rounded against the scale that is kept. The products are
torch's own kernels for bfloat16 activations on a CPU; elsewhere the weights are unpacked first.

Shapes: E experts, O outputs, I inputs, G groups of a row, B bytes of a row, M rows of activations,
D width, F hidden width of an expert.
"""

from __future__ import annotations

from typing import Final, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.utils import parametrize

from loopwright.core.errors import InvalidConfig
from loopwright.models.layers.experts import Experts

Bits = Literal[8, 4]
GROUP: Final = 32
"""Weights that share a scale in 4 bits."""
_ROWS: Final = 16
"""The kernels compute so many outputs at once."""
_SHRINK: Final = (1.0, 0.95, 0.9, 0.85, 0.8)
"""Scales that are tried in 4 bits: clipping the largest weight often rounds the others better."""


def check_bits(bits: object) -> Bits:
    """Return a number of bits that weights can be packed in; raise :class:`InvalidConfig` else."""
    if bits == 8:
        return 8
    if bits == 4:
        return 4
    raise InvalidConfig(f"weights of {bits!r} bits; expected 8 or 4")


def pack(weight_OI: Tensor, bits: Bits) -> tuple[Tensor, Tensor]:
    """Round weights.

    Args:
        weight_OI: Weights, or several matrices of them ``(..., O, I)``; I divides by 32.
        bits: Of each weight.

    Returns:
        The codes, int8 ``(..., O, I)`` or two in a byte ``(..., O, I / 2)``, and the scales,
        bfloat16 ``(..., O)`` or ``(..., O, G)``.
    """
    weight_OI = weight_OI.detach().float()
    if bits == 8:
        scale_O = _kept(weight_OI.abs().amax(dim=-1) / 127)
        codes = (weight_OI / scale_O.float()[..., None]).round().clamp(-127, 127)
        return codes.to(torch.int8), scale_O
    weight = weight_OI.unflatten(-1, (-1, GROUP))
    # The largest weight of a group becomes -8, so that all 16 steps are used.
    largest = weight.gather(-1, weight.abs().argmax(dim=-1, keepdim=True))[..., 0]
    tried = [_kept(largest / -8 * shrink) for shrink in _SHRINK]
    off = torch.stack(
        [_rounded(weight, s).mul(s.float()[..., None]).sub(weight).square().sum(-1) for s in tried]
    )
    scale_OG = torch.stack(tried).gather(0, off.argmin(dim=0, keepdim=True))[0]
    nibble = (_rounded(weight, scale_OG) + 8).flatten(-2).to(torch.uint8)
    return nibble[..., 0::2] | nibble[..., 1::2] << 4, scale_OG


def unpack(codes: Tensor, scale: Tensor) -> Tensor:
    """Return the weights that codes and scales stand for, float32 ``(..., O, I)``."""
    if codes.dtype == torch.int8:
        return codes.float() * scale.float()[..., None]
    weight = _nibbles(codes).float().unflatten(-1, (-1, GROUP))
    return (weight * scale.float()[..., None]).flatten(-2)


class Ready:
    """One packed matrix as the kernels for CPUs read it."""

    def __init__(self, codes: Tensor, scale: Tensor) -> None:
        """Copy a matrix.

        The kernels read whole cache lines and end the process where memory does not begin with
        one, as that of a file does not; what torch allocates does.

        Args:
            codes: int8 ``(O, I)`` or two in a byte, ``(O, I / 2)``.
            scale: bfloat16, ``(O,)`` or ``(O, G)``.
        """
        self._bits = 8 if codes.dtype == torch.int8 else 4
        if self._bits == 8:
            self._codes, self._scale = codes.clone(), scale.clone()
            return
        whole = (_nibbles(codes) + 8).to(torch.int32)
        self._codes = torch.ops.aten._convert_weight_to_int4pack_for_cpu(whole, 1)
        both = torch.stack([scale, torch.zeros_like(scale)], dim=-1)
        self._scale = both.transpose(0, 1).contiguous()

    def multiply(self, x_MI: Tensor) -> Tensor:
        """Return the products with activations, ``(M, O)`` in the precision they came in."""
        x = x_MI.to(torch.bfloat16).contiguous()
        if self._bits == 8:
            y = torch.ops.aten._weight_int8pack_mm(x, self._codes, self._scale)
        else:
            y = torch.ops.aten._weight_int4pack_mm_for_cpu(x, self._codes, GROUP, self._scale)
        return y.to(x_MI.dtype)


class PackedLinear(nn.Module):
    """A linear layer with packed weights."""

    def __init__(self, linear: nn.Linear, bits: Bits) -> None:
        """Pack a layer."""
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.codes: Tensor
        self.scale: Tensor
        codes, scale = pack(linear.weight, bits)
        self.register_buffer("codes", codes)
        self.register_buffer("scale", scale)
        self.bias = linear.bias
        self._ready: Ready | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x @ weight.T + bias``."""
        if x.device.type != "cpu":
            return F.linear(x, unpack(self.codes, self.scale).to(x.dtype), self.bias)
        if self._ready is None:
            self._ready = Ready(self.codes, self.scale)
        y = self._ready.multiply(x.reshape(-1, self.in_features))
        y = y.view(*x.shape[:-1], self.out_features)
        return y if self.bias is None else y + self.bias


class PackedExperts(nn.Module):
    """The experts of a mixture, packed; those that got no token are not touched."""

    def __init__(self, experts: Experts, bits: Bits) -> None:
        """Pack experts."""
        super().__init__()
        self.inner: Tensor
        self.inner_scale: Tensor
        self.outer: Tensor
        self.outer_scale: Tensor
        for name, weight in (("inner", experts.gate_value_E2FD), ("outer", experts.out_EDF)):
            codes, scale = pack(weight, bits)
            self.register_buffer(name, codes)
            self.register_buffer(f"{name}_scale", scale)
        self._ready: list[tuple[Ready, Ready]] | None = None

    def forward(self, x_MD: Tensor, load_E: Tensor) -> Tensor:
        """Return ``(M, D)``; see :class:`Experts`."""
        parts = x_MD.split(load_E.tolist())
        done = [self._expert(e, part) for e, part in enumerate(parts) if len(part)]
        return torch.cat(done) if done else x_MD

    def _expert(self, number: int, x_MD: Tensor) -> Tensor:
        if x_MD.device.type == "cpu":
            inner, outer = self._readied()[number]
            gate, value = inner.multiply(x_MD).chunk(2, dim=-1)
            return outer.multiply(F.silu(gate) * value)
        inner = unpack(self.inner[number], self.inner_scale[number]).to(x_MD.dtype)
        outer = unpack(self.outer[number], self.outer_scale[number]).to(x_MD.dtype)
        gate, value = F.linear(x_MD, inner).chunk(2, dim=-1)
        return F.linear(F.silu(gate) * value, outer)

    def _readied(self) -> list[tuple[Ready, Ready]]:
        if self._ready is None:
            inner = map(Ready, self.inner, self.inner_scale)
            self._ready = list(zip(inner, map(Ready, self.outer, self.outer_scale), strict=True))
        return self._ready


class _Unpacking(nn.Module):
    """Packs a parameter of a layer that is not ours; it is unpacked whenever it is read."""

    def __init__(self, bits: Bits, dtype: torch.dtype) -> None:
        super().__init__()
        self._bits: Bits = bits
        self._dtype = dtype

    def forward(self, codes: Tensor, scale: Tensor) -> Tensor:
        return unpack(codes, scale).to(self._dtype)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return pack(weight, self._bits)


def pack_layers(module: nn.Module, bits: Bits, *, keep: tuple[str, ...] = ()) -> list[str]:
    """Pack the linear layers and experts of a network in place.

    Works on the meta device too, which gives the shape of a packed network to be filled.

    Args:
        module: The network.
        bits: Of each weight.
        keep: Layers whose name ends so stay as they are (heads, routers).

    Returns:
        Names of what was packed.

    Raises:
        InvalidConfig: There is nothing to pack.
    """
    packed: list[str] = []
    for name, layer in list(module.named_modules()):
        if name.endswith(keep) and keep:
            continue
        if isinstance(layer, nn.Linear) and _fits(layer.weight):
            _replace(module, name, PackedLinear(layer, bits))
        elif isinstance(layer, Experts):
            if not all(map(_fits, layer.parameters())):
                continue
            _replace(module, name, PackedExperts(layer, bits))
        elif type(layer).__name__.endswith("Experts"):
            packed += [f"{name}.{p}" for p in _pack_parameters(layer, bits)]
            continue
        else:
            continue
        packed.append(name)
    if not packed:
        raise InvalidConfig(
            f"nothing can be packed: no linear layer has inputs that divide by {GROUP}"
        )
    return packed


def _pack_parameters(layer: nn.Module, bits: Bits) -> list[str]:
    names = [
        name
        for name, value in layer.named_parameters(recurse=False)
        if value.ndim == 3 and _fits(value)
    ]
    for name in names:
        value = layer.get_parameter(name).requires_grad_(False)
        parametrize.register_parametrization(
            layer, name, _Unpacking(bits, value.dtype), unsafe=True
        )
    return names


def _fits(weight: Tensor) -> bool:
    """Whether the kernels take such a matrix."""
    return weight.shape[-1] % GROUP == 0 and weight.shape[-2] % _ROWS == 0


def _replace(module: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, layer)


def _kept(scale: Tensor) -> Tensor:
    """Return scales as they are kept; a group of zeros gets any."""
    return torch.where(scale == 0, torch.ones_like(scale), scale).to(torch.bfloat16)


def _rounded(weight: Tensor, scale: Tensor) -> Tensor:
    return (weight / scale.float()[..., None]).round().clamp(-8, 7)


def _nibbles(codes: Tensor) -> Tensor:
    """Return 4-bit codes one by one, int8 from -8 to 7."""
    pair = torch.stack([codes & 15, codes >> 4], dim=-1).flatten(-2)
    return pair.to(torch.int8) - 8
