"""One simulated field: cells, nuclei, endolysosomes and cargo, as a microscope shows them, with the truth.

The picture follows a live colony with endogenous LAMP1 (hundreds of rings, perinuclear clusters, brightness over a
decade, discs out of focus, tubules, haze) and the cargo of Morone et al. 2020: a reticular ER, kept out of empty
lumens, condensed in loaded ones, or docked on the outside of the membrane (their STX17 knock-out): still empty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lysoquant.simulate import vesicles as endolysosomes
from lysoquant.simulate.cell_shapes import cells_and_nuclei, cytosol_depth
from lysoquant.simulate.cytoplasm import granules, haze, noise_field, reticulum, specks, tubules
from lysoquant.simulate.optics import Image, Optics, Points, image_points, join
from lysoquant.simulate.placement import place_vesicles
from lysoquant.simulate.settings import Appearance, Biology, SceneSettings, SecondCargo
from lysoquant.simulate.vesicles import Vesicles


@dataclass(frozen=True)
class Delivery:
    """Truth of one cargo: which endolysosomes hold it or have it docked, bool array (V,), and which cells express it.

    `transfected` is a bool array (N,); cell n has number n + 1.
    """

    loaded: NDArray[np.bool_]
    docked: NDArray[np.bool_]
    transfected: NDArray[np.bool_]


@dataclass(frozen=True)
class Scene:
    """A simulated field and its truth.

    Attributes
    ----------
    image : uint16 array (3, Y, X)
        Channels nucleus, lysosome, cargo; (4, Y, X) with a second cargo, which comes last.
    cells, nuclei : int32 array (Y, X)
        Label images; a nucleus has the number of its cell.
    regions : int32 array (Y, X)
        Label image of the endolysosomes that the focal plane cuts, 1 + index into `vesicles`.
    vesicles : Vesicles
        All endolysosomes, cut or not.
    loaded, docked : bool array (V,)
        Truth of each.
    transfected : bool array (N,)
        Truth of each cell; cell n has number n + 1.
    settings : SceneSettings
        What the scene was made from.
    second : Delivery or None
        Truth of the second cargo.
    """

    image: NDArray[np.uint16]
    cells: NDArray[np.int32]
    nuclei: NDArray[np.int32]
    regions: NDArray[np.int32]
    vesicles: Vesicles
    loaded: NDArray[np.bool_]
    docked: NDArray[np.bool_]
    transfected: NDArray[np.bool_]
    settings: SceneSettings
    second: Delivery | None = None


def simulate_scene(settings: SceneSettings, rng: np.random.Generator) -> Scene:
    """Make one field.

    Parameters
    ----------
    settings : SceneSettings
        Size, biology, appearance, optics and camera.
    rng : numpy.random.Generator
        All chance of the scene comes from here, that of a second cargo last: it changes nothing else.
    """
    optics, look, shape = settings.optics, settings.appearance, settings.shape
    cells, nuclei = cells_and_nuclei(settings, rng)
    count = int(cells.max(initial=0))
    transfected = rng.random(count) < settings.biology.transfected
    found = place_vesicles(settings, cells, nuclei, rng)
    first = _delivery(settings.biology, transfected, found, rng)
    room = 1 - endolysosomes.excluded_share(found, shape=shape, optics=optics)
    depth = cytosol_depth(cells, nuclei, optics.pixel_size_um)

    lysosome = image_points(_lysosome_points(found, cells, settings, rng), shape=shape, optics=optics)
    lysosome += np.float32(look.haze) * haze(depth, optics, rng) * room
    cargo = _cargo_image(first, found, cells, depth, lysosome, room, settings, rng)
    nucleus = _nucleus_image(nuclei, optics, rng)
    light = _illumination(shape, look.vignetting)
    planes = [settings.camera.expose(channel * light, rng) for channel in (nucleus, lysosome, cargo)]
    regions = endolysosomes.draw_sections(found, shape=shape, pixel_size_um=optics.pixel_size_um, within=cells > 0)
    second = None
    if settings.second_cargo is not None:
        second = _delivery(settings.second_cargo, rng.random(count) < settings.second_cargo.transfected, found, rng)
        other = _cargo_image(second, found, cells, depth, lysosome, room, settings, rng)
        planes.append(settings.camera.expose(other * light, rng))
    return Scene(
        np.stack(planes),
        cells,
        nuclei,
        regions,
        found,
        first.loaded,
        first.docked,
        transfected,
        settings,
        second,
    )


def _delivery(
    chances: Biology | SecondCargo, transfected: NDArray[np.bool_], found: Vesicles, rng: np.random.Generator
) -> Delivery:
    owner = transfected[found.cell]
    loaded = owner & (rng.random(len(found)) < chances.occupancy)
    docked = owner & ~loaded & (rng.random(len(found)) < chances.docked)
    return Delivery(loaded, docked, transfected)


def _cargo_image(
    delivery: Delivery,
    found: Vesicles,
    cells: NDArray[np.int32],
    depth: Image,
    lysosome: Image,
    room: Image,
    settings: SceneSettings,
    rng: np.random.Generator,
) -> Image:
    """Expected image of a cargo; `lysosome` bleeds into it, and `room` is what endolysosomes leave to it."""
    optics, look, shape = settings.optics, settings.appearance, settings.shape
    spread = np.exp(rng.normal(0, look.expression_spread, len(delivery.transfected)))
    expression = np.where(delivery.transfected, spread, 0)
    level = np.concatenate([[0], expression]).astype(np.float32)[cells] * np.float32(look.cargo)
    level = ndimage.gaussian_filter(level, 0.3 / optics.pixel_size_um, truncate=2)
    net = reticulum(cells, depth, look, optics, rng) * level
    grains = granules(cells, expression * look.cargo, settings, rng)
    delivered = _cargo_points(found, delivery.loaded, delivery.docked, expression * look.cargo, look, rng)
    open_to_cargo = 1 - np.float32(look.exclusion) * (1 - room)
    cargo = np.float32(look.reticulum) * net * open_to_cargo + image_points(
        join([grains, delivered]), shape=shape, optics=optics
    )
    if look.cargo_haze:
        cargo += np.float32(look.cargo_haze) * level * haze(depth, optics, rng, strength=0.7)
    cargo += np.float32(look.bleed) * lysosome + np.float32(0.02) * (cells > 0)
    return np.asarray(cargo, np.float32)


def regions_at(scene: Scene, *, pixel_size_um: float, shape: tuple[int, int]) -> NDArray[np.int32]:
    """The truth's label image drawn at another pixel size, from the geometry and not from pixels."""
    return endolysosomes.draw_sections(scene.vesicles, shape=shape, pixel_size_um=pixel_size_um)


def _lysosome_points(
    found: Vesicles, cells: NDArray[np.int32], settings: SceneSettings, rng: np.random.Generator
) -> Points:
    look, pixel = settings.appearance, settings.optics.pixel_size_um
    clouds = [endolysosomes.membrane_points(found, density_um2=350, rng=rng)] if len(found) else []
    filled = np.flatnonzero(rng.random(len(found)) < look.luminal)
    if len(filled):
        concentration = found.brightness[filled] * rng.uniform(0.3, 1.6, len(filled)) / 0.35
        clouds.append(
            endolysosomes.lumen_points(
                found, filled, concentration=concentration.astype(np.float32),
                fill=rng.uniform(0.5, 1, len(filled)).astype(np.float32), density_um3=700, rng=rng,
            )
        )  # fmt: skip
    area = np.count_nonzero(cells) * pixel**2
    clouds += [
        tubules(cells, int(look.tubules * area / 8), pixel, rng),
        specks(cells, int(look.specks * area / 4), pixel, rng),
    ]
    return join(clouds)


def _cargo_points(
    found: Vesicles,
    loaded: NDArray[np.bool_],
    docked: NDArray[np.bool_],
    expression: NDArray[np.float64],
    look: Appearance,
    rng: np.random.Generator,
) -> Points:
    level = expression[found.cell] if len(found) else np.zeros(0)
    clouds = []
    inside, outside = np.flatnonzero(loaded), np.flatnonzero(docked)
    if len(inside):
        low, high = (float(np.log(bound)) for bound in look.load)
        strength = np.exp(rng.uniform(low, high, len(inside))) * level[inside] / 0.75
        part = rng.random(len(inside)) < look.partial
        fill = np.where(part, rng.uniform(0.6, 0.95, len(inside)), 1)
        clouds.append(
            endolysosomes.lumen_points(
                found,
                inside,
                concentration=strength.astype(np.float32),
                fill=fill.astype(np.float32),
                density_um3=700,
                rng=rng,
            )
        )
    if len(outside):
        strength = rng.uniform(2, 11, len(outside)) * level[outside]
        clouds.append(endolysosomes.docked_points(found, outside, concentration=strength.astype(np.float32), rng=rng))
    return join(clouds)


def _illumination(shape: tuple[int, int], vignetting: float) -> Image:
    y, x = (np.linspace(-1, 1, length, dtype=np.float32) for length in shape)
    return 1 - np.float32(vignetting / 2) * (y[:, None] ** 2 + x[None] ** 2)


def _nucleus_image(nuclei: NDArray[np.int32], optics: Optics, rng: np.random.Generator) -> Image:
    count = int(nuclei.max(initial=0))
    level = np.concatenate([[0], rng.uniform(0.5, 1.3, count)]).astype(np.float32)
    texture = np.exp(np.float32(0.25) * noise_field(nuclei.shape, 0.8 / optics.pixel_size_um, rng))
    return ndimage.gaussian_filter(level[nuclei] * texture, 0.25 / optics.pixel_size_um) + np.float32(0.02)
