"""One simulated field: cells, nuclei, endolysosomes and cargo, as a microscope shows them, with the truth.

The picture follows a live colony with endogenous LAMP1 (hundreds of rings, perinuclear clusters, brightness over a
decade, discs out of focus, tubules, haze) and the cargo of Morone et al. 2020: a reticular ER, kept out of empty
lumens, condensed in loaded ones, or docked on the outside of the membrane (their STX17 knock-out): still empty.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lysoquant.simulate import vesicles as endolysosomes
from lysoquant.simulate.optics import Camera, Image, Optics, Points, image_points, join
from lysoquant.simulate.vesicles import Vesicles, random_directions

CHANNELS = ("nucleus", "lysosome", "cargo")


@dataclass(frozen=True)
class Biology:
    """What the cells of a condition are like.

    Attributes
    ----------
    occupancy : float
        Chance of an endolysosome of a transfected cell to be loaded.
    docked : float
        Chance of an empty endolysosome of a transfected cell to carry cargo on its outside.
    transfected : float
        Chance of a cell to express the cargo.
    cell_radius_um, cell_spacing_um : float
        Typical radius of a cell; least distance between nuclei.
    per_cell : int
        Endolysosomes of a typical cell, in and out of focus.
    """

    occupancy: float = 0.7
    docked: float = 0.05
    transfected: float = 0.85
    cell_radius_um: float = 13.0
    cell_spacing_um: float = 17.0
    per_cell: int = 170


@dataclass(frozen=True)
class SecondCargo:
    """Another cargo of the same cells, in a channel of its own, looking like the first; chances as in `Biology`."""

    occupancy: float = 0.4
    docked: float = 0.05
    transfected: float = 1.0


@dataclass(frozen=True)
class Appearance:
    """How stain and structure look. Lengths in um; brightness relative to a typical membrane.

    Attributes
    ----------
    radius_um, radius_spread : float
        Median of the vesicles' radius and standard deviation of its logarithm.
    swollen : float
        Share of vesicles that are two to five times as wide, as vacuoles are.
    clustering : float
        Share of vesicles that touch another one.
    out_of_focus : float
        Share of vesicles that the focal plane does not cut.
    brightness_spread : float
        Standard deviation of the logarithm of a membrane's brightness.
    patchiness, bulge, stretch : float
        Largest unevenness of a membrane's stain and of its shape; largest elongation.
    haze, tubules, specks : float
        Diffuse cytosolic stain, thin tubules and small puncta of the lysosome channel.
    luminal : float
        Share of vesicles with lysosome stain in the lumen.
    cargo, expression_spread : float
        Brightness of the reticulum, and standard deviation of its logarithm over cells.
    mesh_um, sheets : float
        Mesh size of the reticulum; share of it that is smooth.
    reticulum, exclusion : float
        Brightness of the reticulum relative to what lumens and docked vesicles are filled with; share of its light
        that an endolysosome keeps out.
    cargo_haze : float
        Cargo light from above and below, in clouds of 1.5 um, that lies over lumens too.
    load : tuple of float
        Range of a loaded lumen's concentration relative to the reticulum's.
    partial : float
        Share of loaded lumens that are filled in part only.
    inclusions : float
        Cargo granules outside endolysosomes, per 10 um2 of an expressing cell.
    bleed : float
        Share of the lysosome signal that shows in the cargo channel.
    vignetting : float
        Loss of light in the corners of the field.
    """

    radius_um: float = 0.38
    radius_spread: float = 0.33
    swollen: float = 0.0
    clustering: float = 0.4
    out_of_focus: float = 0.3
    brightness_spread: float = 0.7
    patchiness: float = 0.5
    bulge: float = 0.06
    stretch: float = 0.05
    haze: float = 0.15
    tubules: float = 0.4
    specks: float = 0.4
    luminal: float = 0.1
    cargo: float = 1.0
    expression_spread: float = 0.5
    mesh_um: float = 0.8
    sheets: float = 0.3
    reticulum: float = 1.0
    exclusion: float = 1.0
    cargo_haze: float = 0.0
    load: tuple[float, float] = (2.0, 6.0)
    partial: float = 0.3
    inclusions: float = 0.1
    bleed: float = 0.01
    vignetting: float = 0.1


@dataclass(frozen=True)
class SceneSettings:
    """All that defines a scene besides its seed."""

    shape: tuple[int, int] = (512, 512)
    biology: Biology = field(default_factory=Biology)
    appearance: Appearance = field(default_factory=Appearance)
    optics: Optics = field(default_factory=Optics)
    camera: Camera = field(default_factory=Camera)
    second_cargo: SecondCargo | None = None


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
    cells, nuclei = _cells(settings, rng)
    count = int(cells.max(initial=0))
    transfected = rng.random(count) < settings.biology.transfected
    found = _vesicles(settings, cells, nuclei, rng)
    first = _delivery(settings.biology, transfected, found, rng)
    room = 1 - endolysosomes.excluded_share(found, shape=shape, optics=optics)
    depth = _depth(cells, nuclei, optics.pixel_size_um)

    lysosome = image_points(_lysosome_points(found, cells, settings, rng), shape=shape, optics=optics)
    lysosome += np.float32(look.haze) * _haze(depth, optics, rng) * room
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
    reticulum = _reticulum(cells, depth, look, optics, rng) * level
    granules = _granules(cells, expression * look.cargo, settings, rng)
    delivered = _cargo_points(found, delivery.loaded, delivery.docked, expression * look.cargo, look, rng)
    open_to_cargo = 1 - np.float32(look.exclusion) * (1 - room)
    cargo = np.float32(look.reticulum) * reticulum * open_to_cargo + image_points(
        join([granules, delivered]), shape=shape, optics=optics
    )
    if look.cargo_haze:
        cargo += np.float32(look.cargo_haze) * level * _haze(depth, optics, rng, strength=0.7)
    cargo += np.float32(look.bleed) * lysosome + np.float32(0.02) * (cells > 0)
    return np.asarray(cargo, np.float32)


def regions_at(scene: Scene, *, pixel_size_um: float, shape: tuple[int, int]) -> NDArray[np.int32]:
    """The truth's label image drawn at another pixel size, from the geometry and not from pixels."""
    return endolysosomes.draw_sections(scene.vesicles, shape=shape, pixel_size_um=pixel_size_um)


def _cells(settings: SceneSettings, rng: np.random.Generator) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Star-shaped cells around nuclei that keep their distance; a pixel of two cells is the relatively nearer's."""
    biology, pixel = settings.biology, settings.optics.pixel_size_um
    extent = np.array(settings.shape) * pixel
    centres: list[NDArray[np.float64]] = []
    for _ in range(600):
        place = rng.uniform(-0.1, 1.1, 2) * extent
        if all(np.linalg.norm(place - other) > biology.cell_spacing_um for other in centres):
            centres.append(place)
    step = max(1, round(0.2 / pixel))
    y, x = (np.arange(0, length, step) * pixel for length in settings.shape)
    best = np.ones((len(y), len(x)), np.float32)
    cells = np.zeros(best.shape, np.int32)
    nuclei = np.zeros(best.shape, np.int32)
    for number, centre in enumerate(centres, start=1):
        dy, dx = y[:, None] - centre[0], x[None] - centre[1]
        distance, azimuth = np.hypot(dy, dx), np.arctan2(dy, dx)
        radius = biology.cell_radius_um * rng.uniform(0.75, 1.2)
        outline = radius * (1 + _wavy(azimuth, rng, amplitude=0.22))
        relative = (distance / np.maximum(outline, 1)).astype(np.float32)
        mine = relative < best
        best[mine] = relative[mine]
        cells[mine] = number
        turn, long = rng.uniform(0, np.pi), radius * rng.uniform(0.42, 0.55)
        along, across = dy * np.sin(turn) + dx * np.cos(turn), dy * np.cos(turn) - dx * np.sin(turn)
        nuclei[((along / long) ** 2 + (across / (long * rng.uniform(0.6, 0.9))) ** 2 < 1) & (relative < 0.9)] = number
    nuclei[cells != nuclei] = 0
    cells, nuclei = (_enlarge(image, settings.shape, step) for image in (cells, nuclei))
    return _renumber(cells, nuclei)


def _wavy(azimuth: NDArray[np.float64], rng: np.random.Generator, *, amplitude: float) -> NDArray[np.float64]:
    waves = [np.cos(n * azimuth + rng.uniform(0, 2 * np.pi)) * rng.uniform(0, amplitude) / n**0.5 for n in (2, 3, 5)]
    return np.asarray(sum(waves), np.float64)


def _enlarge(labels: NDArray[np.int32], shape: tuple[int, int], step: int) -> NDArray[np.int32]:
    rows, columns = (
        np.minimum(np.rint(np.arange(n) / step).astype(int), m - 1) for n, m in zip(shape, labels.shape, strict=True)
    )
    return labels[np.ix_(rows, columns)]


def _renumber(cells: NDArray[np.int32], nuclei: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    present = np.unique(cells[cells > 0])
    table = np.zeros(int(max(cells.max(initial=0), nuclei.max(initial=0))) + 1, np.int32)
    table[present] = np.arange(1, len(present) + 1)
    return table[cells], table[nuclei]


def _depth(cells: NDArray[np.int32], nuclei: NDArray[np.int32], pixel_size_um: float) -> Image:
    """Thickness of the cytosol: 1 beside the nucleus, falling to the rim, little over the nucleus, 0 outside."""
    step = max(1, round(0.4 / pixel_size_um))
    small_cells, small_nuclei = cells[::step, ::step], nuclei[::step, ::step]
    away = ndimage.distance_transform_edt(small_nuclei == 0) * step * pixel_size_um
    edge = ndimage.distance_transform_edt(small_cells > 0) * step * pixel_size_um
    depth = (0.25 + 0.75 * np.exp(-away / 5)) * np.clip(edge / 2, 0, 1)
    depth = np.where(small_nuclei > 0, 0.12, depth) * (small_cells > 0)
    rows, columns = (np.arange(length) / step for length in cells.shape)
    smooth = ndimage.gaussian_filter(depth, 0.6 / (step * pixel_size_um))
    return ndimage.map_coordinates(smooth, np.meshgrid(rows, columns, indexing="ij"), order=1, mode="nearest").astype(
        np.float32
    )


def _vesicles(
    settings: SceneSettings, cells: NDArray[np.int32], nuclei: NDArray[np.int32], rng: np.random.Generator
) -> Vesicles:
    look, pixel = settings.appearance, settings.optics.pixel_size_um
    depth = _depth(cells, nuclei, pixel) * (nuclei == 0)
    typical = np.pi * settings.biology.cell_radius_um**2
    wanted = int(settings.biology.per_cell * np.count_nonzero(cells) * pixel**2 / typical)
    radius = _radii(wanted, look, rng)
    flat = np.flatnonzero(depth > 0.05)
    if not wanted or not len(flat):
        place = np.zeros((0, 2))
        radius = radius[:0]
    else:
        chance = depth.ravel()[flat].astype(np.float64) ** 1.5
        chosen = rng.choice(flat, size=wanted, p=chance / chance.sum())
        place = (np.stack(np.unravel_index(chosen, cells.shape), axis=1) + rng.random((wanted, 2)) - 0.5) * pixel
    centre = np.concatenate([place, _heights(radius, look, rng)[:, None]], axis=1).astype(np.float32)
    _cluster(centre, radius, look.clustering, rng)
    index = np.rint(centre[:, :2] / pixel).astype(int)
    inside = ((index >= 0) & (index < np.array(cells.shape))).all(axis=1)
    owner = np.zeros(len(radius), int)
    owner[inside] = cells[tuple(index[inside].T)]
    on_nucleus = np.zeros(len(radius), bool)
    on_nucleus[inside] = nuclei[tuple(index[inside].T)] > 0
    keep = (owner > 0) & ~on_nucleus & endolysosomes.settle(centre, radius, gap_um=-0.02)
    count = len(radius)
    wave = random_directions(3 * count, rng).reshape(count, 3, 3) * rng.uniform(1.5, 5, (count, 3, 1))
    bright = np.exp(rng.normal(0, look.brightness_spread, count))
    found = Vesicles(
        centre_um=centre,
        radius_um=radius,
        wave=wave.astype(np.float32),
        phase=rng.uniform(0, 2 * np.pi, (count, 3)).astype(np.float32),
        bulge=rng.uniform(0, look.bulge, count).astype(np.float32),
        stretch=rng.uniform(0, look.stretch, count).astype(np.float32),
        axis=_in_plane(count, rng),
        patch=rng.uniform(0.05, max(0.06, look.patchiness), count).astype(np.float32),
        brightness=np.clip(bright, 0.12, 8).astype(np.float32),
        cell=owner - 1,
    )
    return found.take(np.flatnonzero(keep))


def _radii(count: int, look: Appearance, rng: np.random.Generator) -> NDArray[np.float32]:
    radius = np.clip(look.radius_um * np.exp(rng.normal(0, look.radius_spread, count)), 0.14, 1.6)
    if look.swollen:
        wide = rng.random(count) < look.swollen
        radius[wide] = np.minimum(radius[wide] * rng.uniform(2, 5, np.count_nonzero(wide)), 2.8)
    return radius.astype(np.float32)


def _in_plane(count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    azimuth = rng.uniform(0, 2 * np.pi, count)
    return np.stack([np.sin(azimuth), np.cos(azimuth), 0 * azimuth], axis=1).astype(np.float32)


def _heights(radius: NDArray[np.float32], look: Appearance, rng: np.random.Generator) -> NDArray[np.float32]:
    """Height of each centre over the focal plane: cut by it, or wholly out of focus."""
    count = len(radius)
    cut = rng.uniform(-0.7, 0.7, count) * radius
    away = (radius * rng.uniform(0.85, 1.3, count) + rng.exponential(0.5, count)) * rng.choice([-1, 1], count)
    return np.where(rng.random(count) < look.out_of_focus, away, cut).astype(np.float32)


def _cluster(centre: NDArray[np.float32], radius: NDArray[np.float32], share: float, rng: np.random.Generator) -> None:
    """Move a share of the vesicles so that each touches an earlier one, in place."""
    for index in np.flatnonzero(rng.random(len(radius)) < share).tolist():
        if index == 0:
            continue
        other = int(rng.integers(max(0, index - 6), index))
        apart = radius[index] + radius[other] + rng.uniform(0, 0.08)
        high = centre[index, 2] - centre[other, 2]
        flat = np.sqrt(max(apart**2 - high**2, (0.3 * apart) ** 2))
        azimuth = rng.uniform(0, 2 * np.pi)
        centre[index, :2] = centre[other, :2] + flat * np.array([np.sin(azimuth), np.cos(azimuth)])


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
        _tubules(cells, int(look.tubules * area / 8), pixel, rng),
        _specks(cells, int(look.specks * area / 4), pixel, rng),
    ]
    return join(clouds)


def _in_cells(cells: NDArray[np.int32], count: int, pixel: float, rng: np.random.Generator) -> NDArray[np.float64]:
    flat = np.flatnonzero(cells)
    if not count or not len(flat):
        return np.zeros((0, 2))
    places = np.stack(np.unravel_index(rng.choice(flat, count), cells.shape), axis=1)
    return np.asarray(places * pixel, np.float64)


def _tubules(cells: NDArray[np.int32], count: int, pixel: float, rng: np.random.Generator) -> Points:
    """Thin, wavy, dim tubules of 0.5 to 3 um."""
    start = _in_cells(cells, count, pixel, rng)
    count, steps = len(start), 60
    turn = rng.uniform(0, 2 * np.pi, (count, 1)) + np.cumsum(rng.normal(0, 0.16, (count, steps)), axis=1)
    stride = rng.uniform(0.5, 3, (count, 1)) / steps
    y = start[:, :1] + np.cumsum(np.sin(turn) * stride, axis=1)
    x = start[:, 1:] + np.cumsum(np.cos(turn) * stride, axis=1)
    z = rng.normal(0, 0.4, (count, 1)) + np.cumsum(rng.normal(0, 0.02, (count, steps)), axis=1)
    weight = np.exp(rng.normal(-1.2, 0.6, (count, 1))) * stride * 0.35 + 0 * x
    return Points(np.stack([y, x, z], axis=2).reshape(-1, 3).astype(np.float32), weight.ravel().astype(np.float32))


def _specks(cells: NDArray[np.int32], count: int, pixel: float, rng: np.random.Generator) -> Points:
    """Transport vesicles below the resolution."""
    place = _in_cells(cells, count, pixel, rng)
    z = rng.normal(0, 0.5, (len(place), 1))
    weight = np.exp(rng.normal(-3.2, 0.8, len(place)))
    return Points(np.concatenate([place, z], axis=1).astype(np.float32), weight.astype(np.float32))


def _haze(depth: Image, optics: Optics, rng: np.random.Generator, *, strength: float = 0.35) -> Image:
    cloudy = _noise_field(depth.shape, 1.5 / optics.pixel_size_um, rng)
    return np.asarray(depth * np.exp(np.float32(strength) * cloudy), np.float32)


def _noise_field(shape: tuple[int, ...], scale_px: float, rng: np.random.Generator) -> Image:
    """Smooth Gaussian noise of unit variance and correlation length `scale_px`, made coarse and enlarged."""
    step = max(1, int(scale_px / 2))
    coarse = tuple(length // step + 3 for length in shape)
    noise = ndimage.gaussian_filter(rng.standard_normal(coarse).astype(np.float32), scale_px / step, mode="wrap")
    noise = np.asarray(noise / max(float(noise.std()), 1e-6), np.float32)
    if step == 1:
        return np.asarray(noise[: shape[0], : shape[1]])
    axes = [np.arange(length) / step for length in shape]
    grid = np.meshgrid(*axes, indexing="ij")
    return ndimage.map_coordinates(noise, grid, order=1, mode="nearest").astype(np.float32)


def _reticulum(
    cells: NDArray[np.int32], depth: Image, look: Appearance, optics: Optics, rng: np.random.Generator
) -> Image:
    """A net of tubules (zero crossings of two smooth fields), sheets near the nucleus, its copy out of focus."""
    pixel = optics.pixel_size_um
    net = np.zeros(cells.shape, np.float32)
    for scale in (0.5, 0.8):
        wave = _noise_field(cells.shape, scale * look.mesh_um / pixel, rng)
        net += np.exp(-((wave / np.float32(0.22)) ** 2))
    net = ndimage.gaussian_filter(net, max(0.3, optics.sigma_um / pixel), truncate=3)
    net *= np.exp(np.float32(0.3) * _noise_field(cells.shape, 1.2 / pixel, rng))
    far = ndimage.gaussian_filter(net, 0.5 / pixel, truncate=2)
    smooth = np.float32(look.sheets)
    return ((1 - smooth) * (0.8 * net + 0.2 * far) + smooth * 0.6) * (0.25 + depth) * (cells > 0)


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


def _granules(
    cells: NDArray[np.int32], expression: NDArray[np.float64], settings: SceneSettings, rng: np.random.Generator
) -> Points:
    """Condensed cargo in the cytosol, 0.1 to 0.5 um wide, without a membrane of its own."""
    pixel = settings.optics.pixel_size_um
    expected = settings.appearance.inclusions * np.count_nonzero(cells) * pixel**2 / 10
    place = _in_cells(cells, int(rng.poisson(expected)), pixel, rng)
    level = expression[cells[tuple(np.rint(place / pixel).astype(int).T)] - 1] if len(place) else np.zeros(0)
    size = rng.uniform(0.05, 0.25, len(place))
    grains = 60
    centre = np.concatenate([place, rng.normal(0, 0.3, (len(place), 1))], axis=1)
    offset = rng.standard_normal((len(place), grains, 3)) * size[:, None, None] * 0.6
    weight = level * np.exp(rng.uniform(0, 1.6, len(place))) * 4 / 3 * np.pi * size**3 * 2.5 / grains
    return Points(
        (centre[:, None] + offset).reshape(-1, 3).astype(np.float32), np.repeat(weight, grains).astype(np.float32)
    )


def _illumination(shape: tuple[int, int], vignetting: float) -> Image:
    y, x = (np.linspace(-1, 1, length, dtype=np.float32) for length in shape)
    return 1 - np.float32(vignetting / 2) * (y[:, None] ** 2 + x[None] ** 2)


def _nucleus_image(nuclei: NDArray[np.int32], optics: Optics, rng: np.random.Generator) -> Image:
    count = int(nuclei.max(initial=0))
    level = np.concatenate([[0], rng.uniform(0.5, 1.3, count)]).astype(np.float32)
    texture = np.exp(np.float32(0.25) * _noise_field(nuclei.shape, 0.8 / optics.pixel_size_um, rng))
    return ndimage.gaussian_filter(level[nuclei] * texture, 0.25 / optics.pixel_size_um) + np.float32(0.02)
