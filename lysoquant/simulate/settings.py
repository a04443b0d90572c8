"""What a simulated scene is made from: biology, appearance, optics, camera."""

from __future__ import annotations

from dataclasses import dataclass, field

from lysoquant.simulate.optics import Camera, Optics

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
