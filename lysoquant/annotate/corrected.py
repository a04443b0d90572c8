"""Corrected outlines taken back: checked, counted, and made a training set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from lysoquant.annotate.manifest import (
    MANIFEST,
    Changes,
    ExportedCell,
    Manifest,
    compare,
    outline_digest,
    pixels_digest,
    read_manifest,
)
from lysoquant.errors import FieldError, InputError
from lysoquant.examples.drawn import read_drawing
from lysoquant.examples.example import Example
from lysoquant.examples.from_rois import Pair, find_pairs, pair_examples
from lysoquant.examples.written import write_example
from lysoquant.io.rois import read_outlines
from lysoquant.io.stacks import open_stack
from lysoquant.record import digest_file, write_json


@dataclass(frozen=True)
class Imported:
    """What an import found.

    Attributes
    ----------
    cells, regions : int
        Examples written, and the endolysosomes outlined in them.
    changes : Changes
        Against what was given out, over all cells that came back.
    untouched : list of str
        Cells that came back as they were given out.
    missing : list of str
        Cells that did not come back.
    own : list of str
        Images that were not given out.
    """

    cells: int
    regions: int
    changes: Changes
    untouched: list[str]
    missing: list[str]
    own: list[str]


def import_corrected(folder: Path, destination: Path) -> Imported:
    """Check a corrected folder and write it as a training set, one image and ROI zip a cell.

    Parameters
    ----------
    folder : pathlib.Path
        What :func:`lysoquant.annotate.export.export_cells` wrote and a person corrected. Images of one's own, with
        channels called lysosome and cargo, may lie beside.
    destination : pathlib.Path
        A folder that is not there yet or is empty; :func:`lysoquant.examples.annotated.read_examples` reads it.

    Returns
    -------
    Imported

    Raises
    ------
    InputError
        One line each fault of each image; nothing is written then.
    """
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise InputError(f"{destination} is there and not empty; give a new folder")
    manifest = read_manifest(folder)
    given = {cell.name: cell for cell in manifest.cells}
    examples: list[Example] = []
    changes: dict[str, Changes] = {}
    faults: list[str] = []
    pairs = find_pairs(folder)
    for pair in pairs:
        try:
            if pair.name not in given:
                examples += pair_examples(pair)
                continue
            change = _changes(pair, given[pair.name])
            examples += _exported_examples(pair, given[pair.name])
            changes[pair.name] = change
        except InputError as error:
            faults.append(str(error))
    if faults:
        raise InputError("\n".join(faults))
    names = {pair.name for pair in pairs}
    result = Imported(
        cells=len(examples),
        regions=sum(len(example.classes) - 1 for example in examples),
        changes=_total(changes.values()),
        untouched=[name for name, change in changes.items() if not change.any],
        missing=[name for name in given if name not in names],
        own=sorted(names - set(given)),
    )
    _write(destination, examples, manifest, folder, result)
    return result


def _total(changes: Iterable[Changes]) -> Changes:
    total = Changes()
    for change in changes:
        total = total.plus(change)
    return total


def _changes(pair: Pair, given: ExportedCell) -> Changes:
    try:
        stack = open_stack(pair.image)
        if pixels_digest(stack) != given.pixels_sha256:
            raise InputError(f"{pair.image}: its pixels are not those that were exported; put the exported file back")
        after = {
            outline.name: outline_digest(outline, stack.shape, pixel_size_um=given.pixel_size_um)
            for outline in read_outlines(pair.outlines)
        }
    except FieldError as error:
        raise InputError(str(error)) from error
    if not read_drawing(pair.outlines).cells:
        raise InputError(f"{pair.outlines}: its `cell` outline is gone; add it again, or put the exported file back")
    return compare(given.outlines, after)


def _exported_examples(pair: Pair, given: ExportedCell) -> list[Example]:
    """Cells of an exported image. Its pixels are the exported ones; names and scale may be lost where it was saved."""
    cargo, lysosome = open_stack(pair.image).channels
    return pair_examples(pair, lysosome=lysosome, cargo=cargo, pixel_size_um=given.pixel_size_um)


def _write(destination: Path, examples: list[Example], manifest: Manifest, folder: Path, result: Imported) -> None:
    destination.mkdir(parents=True, exist_ok=True)
    files = [write_example(destination, example) for example in examples]
    digests = {file.name: digest_file(file) for image in files for file in (image, image.with_suffix(".zip"))}
    record = {
        "model": manifest.model,
        "model_sha256": manifest.model_sha256,
        "manifest_sha256": digest_file(folder / MANIFEST),
        "cells": result.cells,
        "regions": result.regions,
        "outlines": asdict(result.changes),
        "untouched": result.untouched,
        "missing": result.missing,
        "own": result.own,
        "files": digests,
    }
    write_json(destination / "import.json", record)
