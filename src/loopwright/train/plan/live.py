"""How much memory tensors hold at a time, on any device: the meta device too."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of tensors that operations make inside the block, until they are freed."""

    def __init__(self) -> None:
        """Start at nothing; what exists already is not counted."""
        super().__init__()
        self.now = 0
        self.most = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run one operation and count what is new in its result."""
        if any(hasattr(kind, "device_mesh") for kind in types):
            # A tensor that is spread over processes asks again with the part that is here.
            return NotImplemented
        given = {storage for storage, _ in _storages((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        for key, tensor in _storages(result):
            if key not in given and key not in self._known:
                self._watch(key, tensor)
        return result

    def _watch(self, key: int, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        size = storage.nbytes()
        self._known.add(key)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def _storages(found: object) -> Iterator[tuple[int, Tensor]]:
    """Yield what identifies each storage among the tensors of a nest, and one that lies in it."""
    for leaf in tree_leaves(found):
        if isinstance(leaf, Tensor):
            yield leaf.untyped_storage()._cdata, leaf
