"""The methods of the comparison, in the order of the table."""

from __future__ import annotations

from pathlib import Path

from lysoquant.benchmark.baselines.extras import CELLPOSE, STARDIST
from lysoquant.benchmark.baselines.hough import HOUGH
from lysoquant.benchmark.baselines.isodata import ISODATA
from lysoquant.benchmark.baselines.method import Baseline
from lysoquant.benchmark.baselines.networks import lysoquant_model, unet5_model
from lysoquant.benchmark.baselines.pixels import FOREST, SVM
from lysoquant.benchmark.baselines.regions import REGIONS
from lysoquant.benchmark.baselines.spots import LOG, WAVELET
from lysoquant.errors import InputError


def methods(*, model: Path, unet5: Path | None) -> list[Baseline]:
    """All methods.

    Parameters
    ----------
    model : Path
        LysoQuant's model file.
    unet5 : Path, optional
        Model file of the five-level U-Net; without it that method is not available.
    """
    classic: list[Baseline] = [ISODATA, FOREST, SVM, REGIONS, WAVELET, LOG, HOUGH]
    return [*classic, STARDIST, CELLPOSE, unet5_model(unet5), lysoquant_model(model)]


def choose(names: str | None, *, model: Path, unet5: Path | None) -> list[Baseline]:
    """The methods of a comma-separated list of names, in the order of the table; all of them for None.

    Raises
    ------
    InputError
        If a name is not known, naming those that are.
    """
    every = methods(model=model, unet5=unet5)
    if names is None:
        return every
    wanted = {name.strip() for name in names.split(",")}
    known = [method.name for method in every]
    unknown = sorted(wanted - set(known))
    if unknown:
        raise InputError(f"--methods has {unknown[0]!r}; expected names among {', '.join(known)}")
    return [method for method in every if method.name in wanted]
