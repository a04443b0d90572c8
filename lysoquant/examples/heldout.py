"""Cells that no training ever sees: the named conditions of the accuracy tables."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lysoquant.examples.example import Example, too_small
from lysoquant.examples.simulated import to_model, true_cells
from lysoquant.model.preprocess import model_length
from lysoquant.simulate.flat import draw_ellipses, simulate_flat
from lysoquant.simulate.optics import Camera, Optics
from lysoquant.simulate.randomise import random_settings
from lysoquant.simulate.scene import simulate_scene
from lysoquant.simulate.settings import Appearance, Biology, SceneSettings
from lysoquant.units import MODEL_PIXEL_SIZE_UM

PIXEL_SIZES_UM: Final = (0.04, 0.065, 0.09, 0.12)
PHOTONS: Final = {"low noise": 300.0, "middle noise": 100.0, "high noise": 35.0}
"""Photo-electrons a um2 of brightness 1; a typical ring's ridge has about three times as many a um2."""
CASES: Final = ("typical", "docked", "clustered")
_EXTENT_UM = 24.0
_STREAM, _TUNING_STREAM, _WIDE_STREAM, _FLAT_STREAM, _RESCALED_STREAM = 900_001, 900_007, 900_011, 900_019, 900_023
_SHIFTED_STREAM = 900_029


def held_out(
    *, seed: int, per_condition: int = 1, only: Collection[str] | None = None
) -> Iterator[tuple[str, Example]]:
    """Cells like those of `lysoquant simulate plate`, over pixel size, noise and case (36 conditions).

    Parameters
    ----------
    only : collection of str, optional
        Names of conditions; default: all.

    Yields
    ------
    condition, example
        The condition's name is such as ``0.065 um, middle noise, docked``.
    """
    for first, pixel in enumerate(PIXEL_SIZES_UM):
        for second, (noise, photons) in enumerate(PHOTONS.items()):
            for third, case in enumerate(CASES):
                name = f"{pixel:g} um, {noise}, {case}"
                for repeat in range(per_condition if only is None or name in only else 0):
                    rng = np.random.default_rng((_STREAM, seed, first, second, third, repeat))
                    yield name, _one_cell(_settings(pixel, photons, case, rng), rng, name=f"{name} {repeat + 1}")


def tuning(*, seed: int, count: int) -> Iterator[tuple[str, Example]]:
    """Other cells of the same kinds, in random conditions: what baselines are tuned on."""
    for number in range(count):
        rng = np.random.default_rng((_TUNING_STREAM, seed, number))
        pixel, photons = float(rng.choice(PIXEL_SIZES_UM)), float(rng.choice(list(PHOTONS.values())))
        case = str(rng.choice(CASES))
        yield "tuning", _one_cell(_settings(pixel, photons, case, rng), rng, name=f"tuning {number + 1}")


def wide(*, seed: int, count: int) -> Iterator[tuple[str, Example]]:
    """Unseen scenes from the whole range that training draws from, far wider than any plate."""
    for number in range(count):
        rng = np.random.default_rng((_WIDE_STREAM, seed, number))
        yield "wide", _one_cell(random_settings(rng, extent_um=_EXTENT_UM), rng, name=f"wide {number + 1}")


def outside(*, seed: int, count: int) -> Iterator[tuple[str, Example]]:
    """Cells of a second simulator that training never draws from (:mod:`lysoquant.simulate.flat`)."""
    for number in range(count):
        rng = np.random.default_rng((_FLAT_STREAM, seed, number))
        pixel = PIXEL_SIZES_UM[number % len(PIXEL_SIZES_UM)]
        photons = 20.0 * 2.5 ** (number // len(PIXEL_SIZES_UM) % 3)
        scene = simulate_flat(rng, pixel_size_um=pixel, photons=photons, docked=0.3)
        shape = (model_length(scene.inside.shape[0], pixel), model_length(scene.inside.shape[1], pixel))
        regions = draw_ellipses(scene.ellipses, shape=shape, pixel_size_um=MODEL_PIXEL_SIZE_UM)
        regions[~to_model(scene.inside, pixel).astype(bool)] = 0
        yield (
            f"{pixel:g} um, {photons:g} photo-electrons, second simulator",
            Example(
                name=f"outside {number + 1}",
                cargo=scene.cargo,
                lysosome=scene.lysosome,
                inside=scene.inside,
                pixel_size_um=pixel,
                regions=regions,
                classes=np.concatenate([[0], scene.classes]).astype(np.uint8),
                ignored=too_small(regions),
                docked=np.concatenate([[False], scene.docked]),
            ),
        )


def rescaled(*, seed: int, count: int) -> Iterator[tuple[str, Example]]:
    """Pairs of one cell: as taken at 0.05 um, and with blocks of 2 x 2 pixels averaged (paper, Supplemental Fig. 3).

    Both of a pair have the same name, and what differs in their occupancy comes from the pixel size alone.
    """
    for number in range(count):
        rng = np.random.default_rng((_RESCALED_STREAM, seed, number))
        example = _one_cell(_settings(0.05, 100.0, CASES[number % len(CASES)], rng), rng, name=f"rescaled {number + 1}")
        yield "0.05 um, as taken", example
        yield "0.1 um, binned", binned(example)


def usual(*, seed: int, count: int) -> Iterator[tuple[str, Example]]:
    """The cells of :func:`shifted` with the usual appearance."""
    for number in range(count):
        rng = np.random.default_rng((_SHIFTED_STREAM, seed, number))
        yield "usual", _one_cell(_settings(0.08, 60.0, "typical", rng), rng, name=f"usual {number + 1}")


def shifted(*, seed: int, count: int) -> Iterator[tuple[str, Example]]:
    """Cells of an appearance that training never drew: stained lumens, a blunter objective, more haze and tubules.

    What a laboratory with another stain and another lens might see; for trying corrections by people.
    """
    for number in range(count):
        rng = np.random.default_rng((_SHIFTED_STREAM, seed, number))
        settings = _settings(0.08, 60.0, "typical", rng)
        look = replace(settings.appearance, luminal=1.0, haze=1.5, tubules=4.0, specks=4.0, patchiness=1.2)
        optics = replace(settings.optics, sigma_um=0.19, sigma_z_um=0.8)
        changed = replace(settings, appearance=look, optics=optics)
        yield "shifted", _one_cell(changed, rng, name=f"shifted {number + 1}")


def binned(example: Example) -> Example:
    """An example with blocks of 2 x 2 pixels averaged; its truth, which lies at the model's pixel size, stays.

    A last odd row or column is dropped. The picture moves by half a small pixel against the truth.
    """
    height, width = (length // 2 * 2 for length in example.inside.shape)

    def blocks(image: NDArray[np.generic]) -> NDArray[np.floating]:
        return np.asarray(image[:height, :width].reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3)))

    pixel = 2 * example.pixel_size_um
    rows, columns = model_length(height // 2, pixel), model_length(width // 2, pixel)
    return replace(
        example,
        cargo=np.rint(blocks(example.cargo)).astype(np.uint16),
        lysosome=np.rint(blocks(example.lysosome)).astype(np.uint16),
        inside=blocks(example.inside) >= 0.5,
        pixel_size_um=pixel,
        regions=example.regions[:rows, :columns],
        ignored=example.ignored[:rows, :columns],
    )


def _settings(pixel_size_um: float, photons: float, case: str, rng: np.random.Generator) -> SceneSettings:
    look = replace(
        Appearance(),
        cargo=rng.uniform(0.7, 1.5),
        haze=rng.uniform(0.1, 0.25),
        clustering=rng.uniform(0.85, 1) if case == "clustered" else Appearance().clustering,
    )
    biology = Biology(
        occupancy=rng.uniform(0.1, 0.4) if case == "docked" else rng.uniform(0.2, 0.8),
        docked=rng.uniform(0.4, 0.7) if case == "docked" else 0.05,
        transfected=1.0,
        cell_radius_um=12.5,
        cell_spacing_um=16.0,
        per_cell=260 if case == "clustered" else Biology().per_cell,
    )
    shape = (round(_EXTENT_UM / pixel_size_um),) * 2
    optics = Optics(pixel_size_um=pixel_size_um, sigma_um=rng.uniform(0.09, 0.12), sigma_z_um=rng.uniform(0.3, 0.4))
    return SceneSettings(shape, biology, look, optics, Camera(photons=photons, offset=rng.uniform(90, 130)))


def _one_cell(settings: SceneSettings, rng: np.random.Generator, *, name: str) -> Example:
    """The cell with most endolysosomes of a scene; another scene if none has any."""
    while True:
        found = true_cells(simulate_scene(settings, rng), name=name)
        best = max(found, key=lambda example: len(example.classes), default=None)
        if best is not None and len(best.classes) > 5:
            return best
