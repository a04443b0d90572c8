"""What correcting a few cells wins back where images look unlike those of the training.

Cells of an unseen appearance are written as images with ImageJ outlines, as a person would hand them in; the model is
trained on with them, as ``lysoquant train --data`` does; other cells of that appearance say what was won.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pandas as pd

from lysoquant.evaluate.run import evaluate, summarise
from lysoquant.examples.annotated import read_examples
from lysoquant.examples.heldout import shifted, usual
from lysoquant.examples.written import write_example
from lysoquant.metrics.overlap import share
from lysoquant.model.card import read_card
from lysoquant.train.loop import train
from lysoquant.train.settings import TrainSettings
from lysoquant.train.sources import AnnotatedSource, MixedSource, SimulatedSource

METRICS = ("f1_objects", "iou_objects_empty", "iou_objects_loaded", "class_accuracy", "occupancy_error")
WON = "f1_objects"
"""The figure of which the share won back is told."""
LEARNING_RATE = 1e-4
SIMULATED_SHARE = 0.3


def adapt(
    model: Path,
    output: Path,
    *,
    cells: int = 10,
    iterations: int = 600,
    test_cells: int = 16,
    seed: int = 0,
    device: str = "cpu",
    on_step: Callable[[str], None] = lambda step: None,
) -> tuple[pd.DataFrame, float]:
    """Correct, train on, and compare.

    Parameters
    ----------
    model : pathlib.Path
        Where the training starts from.
    output : pathlib.Path
        Folder for the corrected cells (``corrected``), the training (``training``) and ``adaptation.csv``.
    cells : int
        Cells that are corrected.

    Returns
    -------
    table : pandas.DataFrame
        Mean of each of `METRICS` over the test cells, usual and shifted ones, before and after.
    won_back : float
        Share of the lost F1 that came back; also in the table.
    """
    corrected = output / "corrected"
    corrected.mkdir(parents=True, exist_ok=True)
    if not any(corrected.iterdir()):
        for _, example in shifted(seed=seed, count=cells):
            write_example(corrected, example)
    on_step(f"wrote {cells} corrected cells")
    trained = _train_on(model, corrected, output / "training", iterations=iterations, seed=seed, device=device)
    on_step("trained on")
    rows: dict[str, dict[str, float]] = {}
    for name, file in (("before", model), ("after", trained)):
        for kind, stream in (("usual", usual), ("shifted", shifted)):
            unseen = islice(stream(seed=seed, count=cells + test_cells), cells, None)
            found = summarise(evaluate(file, unseen, device=device).table)
            rows[f"{kind} cells, {name}"] = {**{metric: found[metric].mean for metric in METRICS}, "n": test_cells}
            on_step(f"{kind} cells, {name}")
    before, after = rows["shifted cells, before"][WON], rows["shifted cells, after"][WON]
    won_back = share(after - before, rows["usual cells, before"][WON] - before)
    rows["shifted cells, after"]["won_back"] = won_back
    table = pd.DataFrame(rows).T
    table.to_csv(output / "adaptation.csv", index_label="cells", float_format="%.4f")
    return table, won_back


def _train_on(model: Path, corrected: Path, folder: Path, *, iterations: int, seed: int, device: str) -> Path:
    annotated = AnnotatedSource(list(read_examples(corrected)), seed=seed)
    source = MixedSource(annotated, SimulatedSource(seed=seed), simulated_share=SIMULATED_SHARE)
    card = read_card(model)
    settings = replace(
        TrainSettings(),
        iterations=iterations,
        learning_rate=LEARNING_RATE,
        warm_up=min(100, iterations),
        average=0.99,
        start_from=model,
        architecture=card.architecture,
        checkpoint_every=max(1, iterations // 3),
        seed=seed,
    )
    return train(folder=folder, settings=settings, device=device, source=source, validation=annotated)
