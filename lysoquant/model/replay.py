"""The same work on tensors of few shapes: recorded once a shape where the device can, replayed from then on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from lysoquant.model.flow import is_out_of_memory
from lysoquant.model.lanes import Lanes

MOST_GRAPHS: Final = 32
MOST_KEPT_PX: Final = 64 * 1024**2
"""Shapes that are recorded, and pixels of their images, which are kept with their answers: 20 to 24 bytes a pixel.
Further shapes are called as they come, which costs large ones little."""


@dataclass
class _Shape:
    given: Tensor
    replay: Callable[[], object] | None = None
    found: Tensor | None = None


class Replays:
    """A function of one tensor, called with tensors of few shapes.

    The first call with a shape is made as it is, which also lets libraries set up what must not be recorded; the second
    is recorded, all others replay it. Where recording fails, all calls are made as they are, with the same result.

    Attributes
    ----------
    reason : str or None
        Why calls are not recorded.
    replayed : int
        Calls that were replays.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], lanes: Lanes) -> None:
        self._function, self._lanes = function, lanes
        self._shapes: dict[tuple[int, ...], _Shape] = {}
        self.reason = None if lanes.can_capture else f"no graphs on {lanes.device.type}"
        self.replayed = 0

    def given(self, shape: tuple[int, ...]) -> Tensor:
        """Where the next call with this shape takes its float32 images (N, C, Y, X) from."""
        known = self._shapes.get(shape)
        if known is None:
            zeros = torch.zeros(shape, device=self._lanes.device)
            known = _Shape(zeros.contiguous(memory_format=torch.channels_last))
            if self.reason is None and self._has_room_for(shape):
                self._shapes[shape] = known
            return known.given
        if self.reason is None and known.replay is None:
            self._record(known)
        return known.given

    def call(self, given: Tensor) -> Tensor:
        """Result for what lies in a tensor of :meth:`given`; it stands until the next call with the same shape."""
        known = self._shapes.get(tuple(given.shape))
        if known is None or known.given is not given or known.replay is None or known.found is None:
            return self._function(given)
        known.replay()
        self.replayed += 1
        return known.found

    def forget(self) -> None:
        """Give back the memory of all recordings."""
        self._shapes.clear()

    def _has_room_for(self, shape: tuple[int, ...]) -> bool:
        kept_px = sum(count * height * width for count, _, height, width in (*self._shapes, shape))
        return len(self._shapes) < MOST_GRAPHS and kept_px <= MOST_KEPT_PX

    def _record(self, known: _Shape) -> None:
        try:
            known.replay, known.found = self._lanes.capture(self._function, known.given)
        except RuntimeError as error:
            # A recording that ends for want of memory may end in an error about the recording.
            if is_out_of_memory(error) or (error.__context__ and is_out_of_memory(error.__context__)):
                raise torch.OutOfMemoryError(str(error)) from error
            self.reason = f"recording failed: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
            self.forget()
