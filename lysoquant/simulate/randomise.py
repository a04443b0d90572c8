"""Scenes of every kind: the ranges that training draws from (domain randomisation)."""

from __future__ import annotations

import numpy as np

from lysoquant.simulate.optics import Camera, Optics
from lysoquant.simulate.settings import Appearance, Biology, SceneSettings


def random_settings(rng: np.random.Generator, *, extent_um: float) -> SceneSettings:
    """Settings of a square field of `extent_um`, drawn far wider than any one plate.

    Pixel sizes from 0.038 to 0.125 um, brightest rings from about 30 to 1,800 photo-electrons.
    """
    pixel = _log_uniform(rng, 0.038, 0.125)
    size = round(extent_um / pixel)
    return SceneSettings(
        shape=(size, size),
        biology=random_biology(rng),
        appearance=random_appearance(rng),
        optics=Optics(
            pixel_size_um=pixel,
            sigma_um=rng.uniform(0.06, 0.145),
            sigma_z_um=rng.uniform(0.1, 0.6),
            spread=rng.uniform(0.25, 0.6),
            leak=rng.uniform(0, 0.15),
        ),
        camera=Camera(
            photons=_log_uniform(rng, 10, 600),
            offset=rng.uniform(0, 500),
            gain=_log_uniform(rng, 0.4, 6),
            read_noise=rng.uniform(0.5, 6),
            maximum=65535 if rng.random() < 0.6 else 4095,
        ),
    )


def random_biology(rng: np.random.Generator) -> Biology:
    """Occupancy from none to all, docked cargo from rare to common, cells of many sizes."""
    radius = rng.uniform(8, 16)
    return Biology(
        occupancy=float(np.clip(rng.uniform(-0.08, 1.08), 0, 1)),
        docked=rng.uniform(0, 0.15) if rng.random() < 0.6 else rng.uniform(0.15, 0.8),
        transfected=0.85,
        cell_radius_um=radius,
        cell_spacing_um=radius * rng.uniform(1.1, 1.6),
        per_cell=int(rng.uniform(60, 330) * (radius / 13) ** 2),
    )


def random_appearance(rng: np.random.Generator) -> Appearance:
    """Stain and structure from sparse, crisp rings to crowded, dim and hazy ones."""
    least = rng.uniform(1.4, 3)
    return Appearance(
        radius_um=rng.uniform(0.28, 0.65),
        radius_spread=rng.uniform(0.2, 0.45),
        swollen=rng.uniform(0.01, 0.12) if rng.random() < 0.2 else 0.0,
        clustering=rng.uniform(0, 0.8),
        out_of_focus=max(0.0, rng.uniform(-0.1, 0.5)),
        brightness_spread=rng.uniform(0.25, 1.0),
        patchiness=rng.uniform(0.1, 0.9),
        bulge=rng.uniform(0, 0.12),
        stretch=rng.uniform(0, 0.25),
        haze=rng.uniform(0, 0.6),
        tubules=rng.uniform(0, 1.2),
        specks=rng.uniform(0, 1.2),
        luminal=rng.uniform(0, 0.4),
        cargo=_log_uniform(rng, 0.3, 3),
        expression_spread=rng.uniform(0.2, 0.8),
        mesh_um=rng.uniform(0.5, 1.5),
        sheets=rng.uniform(0, 1),
        reticulum=1.0 if rng.random() < 0.6 else _log_uniform(rng, 0.03, 1),
        exclusion=float(rng.choice([0.0, rng.uniform(0, 1), 1.0])),
        cargo_haze=rng.uniform(0.1, 2.0) if rng.random() < 0.4 else 0.0,
        load=(least, least * rng.uniform(1.5, 4)),
        partial=rng.uniform(0, 0.5),
        inclusions=rng.uniform(0, 0.6),
        bleed=rng.uniform(0, 0.06),
        vignetting=rng.uniform(0, 0.3),
    )


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
