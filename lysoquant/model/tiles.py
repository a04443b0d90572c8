"""Crops on their way through the network, and their tiles."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor

from lysoquant.errors import InputError
from lysoquant.model.card import ModelCard
from lysoquant.model.cuts import Cuts, TilePlan, abutting_cuts, mirrored, up
from lysoquant.model.preprocess import CellPixels

Key = TypeVar("Key", bound=Hashable)
Source = Tensor | CellPixels
"""A crop as the network sees it, float32 (C, Y, X) in the processor's memory, or as it was acquired."""


@dataclass
class Crop(Generic[Key]):
    """A crop and what is known of it so far.

    Attributes
    ----------
    image : float32 tensor (C, Y, X)
        What the network sees.
    probabilities : float32 tensor (planes, Y, X)
        Background until a tile's answer is drawn into it.
    waiting : int
        Tiles whose answer is not drawn yet.
    complete : bool
        No more tiles will come.
    source : tensor or CellPixels, optional
        What the crop was made from, as long as it is asked for signal.
    arrived : callable
        Waits until the probabilities are in the processor's memory.
    """

    key: Key
    image: Tensor
    probabilities: Tensor
    source: Source | None = None
    waiting: int = 0
    complete: bool = False
    arrived: Callable[[], object] = bool

    @property
    def done(self) -> bool:
        """Whether all answers are drawn."""
        return self.complete and not self.waiting


@dataclass(frozen=True)
class Tile(Generic[Key]):
    """What a tile answers for, and where its own image begins; `shape` is that image's."""

    crop: Crop[Key]
    row: int
    column: int
    rows: slice
    columns: slice
    shape: tuple[int, int]

    @property
    def pixels(self) -> int:
        """Pixels of its image."""
        return self.shape[0] * self.shape[1]

    def draw(self, answer: Tensor) -> None:
        """Put what the network answered (planes, Y, X) into the crop."""
        row, column = self.row, self.column
        inner = answer[
            :, self.rows.start - row : self.rows.stop - row, self.columns.start - column : self.columns.stop - column
        ]
        self.crop.probabilities[:, self.rows, self.columns] = inner
        self.crop.waiting -= 1


class Tiler:
    """How the crops of one model are cut.

    Raises
    ------
    InputError
        If the largest tile does not fit the model's depth.
    """

    def __init__(self, plan: TilePlan, card: ModelCard) -> None:
        self._plan, self._architecture = plan, card.architecture
        self._multiple = card.architecture.multiple
        self._valid = card.architecture.padding == "valid"
        self._largest = up(plan.tile_px, self._multiple)
        if self._largest != plan.tile_px and not self._valid:
            raise InputError(
                f"tile_px is {plan.tile_px}; the {card.architecture.levels} levels of model "
                f"{card.name!r} need a multiple of {self._multiple}; give {self._largest}"
            )

    @property
    def largest_shape(self) -> tuple[int, int]:
        """Image of the largest tile."""
        edge = self._image_px(self._largest)
        return edge, edge

    def tiles(self, crop: Crop[Key]) -> Iterator[Tile[Key]]:
        """All tiles of a crop."""
        height, width = (self._cuts(length) for length in crop.image.shape[1:])
        shape = self._image_px(height.size), self._image_px(width.size)
        for row, rows in height.tiles:
            for column, columns in width.tiles:
                yield Tile(crop, row, column, rows, columns, shape)

    def image(self, tile: Tile[Key]) -> Tensor:
        """Image (C, Y, X) of a tile, as far as there is one."""
        image = tile.crop.image
        height, width = tile.shape
        if not self._valid:
            return image[:, tile.row : tile.row + height, tile.column : tile.column + width]
        rows, columns = (indices.to(image.device) for indices in self.indices(tile))
        return image[:, rows[:, None], columns]

    def indices(self, tile: Tile[Key]) -> tuple[Tensor, Tensor]:
        """Rows and columns of the crop that a tile's image is made of."""
        length = tile.crop.image.shape[1:]
        if self._valid:
            margin = self._architecture.loss_px // 2
            starts = tile.row - margin, tile.column - margin
            rows, columns = (mirrored(*edge) for edge in zip(starts, tile.shape, length, strict=True))
            return rows, columns
        rows, columns = (
            mirrored(start, min(size, whole - start), whole)
            for start, size, whole in zip((tile.row, tile.column), tile.shape, length, strict=True)
        )
        return rows, columns

    def _cuts(self, length: int) -> Cuts:
        if self._valid:
            return abutting_cuts(length, self._largest, multiple=self._multiple)
        return self._plan.cuts(length, multiple=self._multiple)

    def _image_px(self, size: int) -> int:
        """Edge of the image of a tile that answers for `size` pixels."""
        architecture = self._architecture
        return architecture.answer_px(size) + architecture.loss_px if self._valid else size
