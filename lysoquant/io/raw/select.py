"""From all planes of an acquisition to the fields that convert makes: which Z planes, which time points.

One place for every reader, so that `convert.z` and `convert.timepoint` mean the same for all formats.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from lysoquant.errors import PlaneChoiceError
from lysoquant.io.raw.description import (
    INSTRUMENT_PROJECTION,
    Acquisition,
    Field,
    Plane,
    Position,
    RawPlate,
    Reduction,
)
from lysoquant.io.raw.names import count_of

ZChoice = int | Literal["projection", "max", "sharpest", "each"]
TimeChoice = int | Literal["each"]

_REDUCTIONS: Final[Mapping[ZChoice, Reduction]] = {"max": "max", "sharpest": "sharpest"}

_Planes = dict[str, tuple[int, ...]]
"""Numbers of the planes that are read, by channel."""


def select(acquisition: Acquisition, *, z: ZChoice, timepoint: TimeChoice, seen: str = "") -> RawPlate:
    """Choose planes and time points.

    Parameters
    ----------
    acquisition : Acquisition
        What a reader found.
    z : int, "projection", "max", "sharpest" or "each"
        A plane number, counted from 1; the instrument's own projection; the maximum projection of all planes; the
        plane that is sharpest in the lysosome channel, chosen by convert; or each plane as a field of its own.
        A channel that has a single plane gives that one, whatever is asked of the others.
    timepoint : int or "each"
        A time point, counted from 1, or each as a field of its own.
    seen : str
        By what the format was recognised.

    Returns
    -------
    RawPlate
        A plane that a field should have and has not is one of its `problems`.

    Raises
    ------
    PlaneChoiceError
        If the whole plate lacks what is asked for; the message lists the choices.
    """
    if (timepoint != "each" and timepoint < 1) or (isinstance(z, int) and z < 1):
        raise PlaneChoiceError(f"Z plane {z}, time point {timepoint}: both are counted from 1")
    notes = list(acquisition.notes)
    times = sorted({key[0] for keys in _keys(acquisition) for key in keys})
    chosen_times = _times(times, timepoint, notes)
    held = _held(acquisition, chosen_times)
    plan = _Plan(z=z, each_time=timepoint == "each" and len(times) > 1, planes=_planes(held, z), held=held)
    _note_planes(plan, notes)
    wells = {
        well: tuple(
            field for position in positions for field in _fields(acquisition, plan, chosen_times, well, position)
        )
        for well, positions in acquisition.wells.items()
    }
    return RawPlate(
        name=acquisition.name,
        format=acquisition.format,
        channels=tuple(acquisition.channels),
        wells=wells,
        n_rows=acquisition.n_rows,
        n_columns=acquisition.n_columns,
        pixel_size_um=acquisition.pixel_size_um,
        shape=acquisition.shape,
        notes=tuple(notes),
        z_planes=tuple(sorted({number for numbers in held.values() for number in numbers})),
        timepoints=tuple(times),
        seen=seen,
        declares_size=acquisition.declares_size,
    )


def undecided(acquisition: Acquisition, *, seen: str) -> RawPlate:
    """The plate with all planes of its first time point in each field, to be looked at and not to be converted."""
    first = min((time for keys in _keys(acquisition) for time, _ in keys), default=1)
    plate = select(acquisition, z="max", timepoint=first, seen=seen)
    return replace(plate, notes=tuple(acquisition.notes))


@dataclass(frozen=True)
class _Plan:
    """What is read everywhere: for each field of a position, the planes by channel."""

    z: ZChoice
    each_time: bool
    planes: Sequence[tuple[str, _Planes]]
    held: Mapping[str, Sequence[int]]


def _keys(acquisition: Acquisition) -> Iterator[Iterable[tuple[int, int]]]:
    for positions in acquisition.wells.values():
        for position in positions:
            yield from position.planes.values()


def _times(times: Sequence[int], timepoint: TimeChoice, notes: list[str]) -> Sequence[int]:
    if timepoint == "each":
        if len(times) > 1:
            notes.append(f"{len(times)} time points: each is a field of its own (`convert.timepoint`)")
        return times
    if timepoint not in times:
        raise PlaneChoiceError(
            f"time point {timepoint}: the plate has {numbers_text(times) or 'none'}; set `convert.timepoint` to"
            f" {'one of these' if len(times) > 1 else numbers_text(times)}{' or to each' if len(times) > 1 else ''}"
        )
    if len(times) > 1:
        notes.append(f"{len(times)} time points: only time point {timepoint} is read (`convert.timepoint`)")
    return [timepoint]


def _held(acquisition: Acquisition, times: Sequence[int]) -> dict[str, list[int]]:
    """Numbers of the Z planes of each channel at these times, anywhere on the plate."""
    held: dict[str, set[int]] = {label: set() for label in acquisition.channels}
    for positions in acquisition.wells.values():
        for position in positions:
            for label, planes in position.planes.items():
                held[label].update(number for time, number in planes if time in times)
    return {label: sorted(numbers) for label, numbers in held.items() if numbers}


def _planes(held: Mapping[str, Sequence[int]], z: ZChoice) -> list[tuple[str, _Planes]]:
    """For each field of a position: what its name gets behind it, and its planes by channel."""
    if z != "each":
        numbers = sorted({number for numbers in held.values() for number in numbers} - {INSTRUMENT_PROJECTION})
        if isinstance(z, int) and z != 1 and z not in numbers:
            raise PlaneChoiceError(f"Z plane {z}: the plate has {_choices(held)}; set `convert.z` to one of these")
        return [("", {label: _of_channel(label, own, z) for label, own in held.items()})]
    stacked = sorted({number for own in map(_stack, held.values()) if len(own) > 1 for number in own})
    if not stacked:
        return [("", {label: _of_channel(label, own, "max") for label, own in held.items()})]
    return [
        (f" z{number}", {label: _of_channel(label, own, number) for label, own in held.items()}) for number in stacked
    ]


def _of_channel(label: str, own: Sequence[int], z: ZChoice) -> tuple[int, ...]:
    stack = _stack(own)
    if z in ("max", "sharpest"):
        return stack or tuple(own)
    wanted = INSTRUMENT_PROJECTION if z == "projection" else z
    if wanted in own:
        return (int(wanted),)
    if len(own) == 1:
        return tuple(own)
    if z == "projection" and len(stack) == 1:
        return stack
    fault = "no projection of the instrument" if z == "projection" else f"no plane {z}"
    raise PlaneChoiceError(
        f"channel {label!r} has {_choices({label: own})} and {fault}; set `convert.z` to one of"
        " the numbers, to max (maximum projection), sharpest (one plane a field) or each (every plane a field)"
    )


def _stack(own: Sequence[int]) -> tuple[int, ...]:
    return tuple(number for number in own if number != INSTRUMENT_PROJECTION)


def _note_planes(plan: _Plan, notes: list[str]) -> None:
    stacked = {label: own for label, own in plan.held.items() if len(own) > 1}
    if not stacked:
        return
    match plan.z:
        case "projection":
            what = "the instrument's projection is read"
        case "max":
            what = "the maximum projection of all planes is taken"
        case "sharpest":
            what = "each field takes the plane that is sharpest in the lysosome channel"
        case "each":
            what = "each plane is a field of its own"
        case number:
            what = f"Z plane {number} is read"
    notes.append(f"the plate has {_choices(stacked)}: {what} (`convert.z`)")
    if alone := [label for label, own in plan.held.items() if len(own) == 1]:
        notes.append(
            f"{count_of(len(alone), 'channel')} with a single plane beside stacks, which is read:"
            f" {', '.join(repr(label) for label in alone)}"
        )


def _fields(
    acquisition: Acquisition, plan: _Plan, times: Sequence[int], well: str, position: Position
) -> Iterator[Field]:
    own_times = sorted({time for planes in position.planes.values() for time, _ in planes}.intersection(times))
    for time in (own_times or times[:1]) if acquisition.stacks_vary else times:
        yield from _fields_at(acquisition, plan, time, well, position)


def _fields_at(acquisition: Acquisition, plan: _Plan, time: int, well: str, position: Position) -> Iterator[Field]:
    planes, problems = plan.planes, list(position.problems)
    if acquisition.stacks_vary:
        held = {
            label: own
            for label, by_key in position.planes.items()
            if (own := sorted(number for at, number in by_key if at == time))
        }
        try:
            planes = _planes(held, plan.z)
        except PlaneChoiceError:
            problem = (
                f"well {well} field {position.name}: has {_choices(held)} and not what `convert.z` asks for ({plan.z});"
                " set `convert.z` to max, sharpest or each"
            )
            yield Field(
                name=position.name,
                planes={},
                problems=(*problems, problem),
                timepoint=time,
                position=position.name,
            )
            return
        if len(planes) == 1 and len(plan.planes) > 1:
            planes = [(f" z{min(min(numbers) for numbers in held.values())}", planes[0][1])] if held else planes
    for suffix, wanted in planes:
        name = f"{position.name}{f' t{time}' if plan.each_time else ''}{suffix}"
        yield _field(acquisition, plan, _Place(well, name, time), position, wanted, problems)


@dataclass(frozen=True)
class _Place:
    well: str
    name: str
    time: int


def _field(
    acquisition: Acquisition,
    plan: _Plan,
    place: _Place,
    position: Position,
    wanted: Mapping[str, Sequence[int]],
    problems: Sequence[str],
) -> Field:
    planes: dict[str, dict[int, Plane]] = {}
    lacking: list[str] = []
    told = list(problems)
    for label in acquisition.channels:
        own = position.planes.get(label, {})
        numbers = wanted.get(label, ())
        found = {number: own[place.time, number] for number in numbers if (place.time, number) in own}
        if found:
            planes[label] = found
        if len(found) < max(1, len(numbers)):
            absent = [number for number in numbers if number not in found]
            lacking.append(f"{label!r}{_of(absent, own, place.time)}")
        faults = [position.faults.get((label, place.time, number)) for number in numbers]
        told += [fault for fault in faults if fault is not None and fault not in told]
    if lacking:
        what = f"channel {', '.join(lacking)}" if planes else "any channel"
        told.append(f"well {place.well} field {place.name}: no image of {what}; copy or export it again")
    return Field(
        name=place.name,
        planes=planes,
        problems=tuple(told),
        timepoint=place.time,
        reduction=_REDUCTIONS.get(plan.z, "plane"),
        position=position.name,
    )


def _of(absent: Sequence[int], own: Mapping[tuple[int, int], Plane], time: int) -> str:
    """Which planes are absent, where the channel has others."""
    if not own:
        return ""
    if not any(at == time for at, _ in own):
        return f" at time point {time}"
    return f" in {plane_names(absent)}"


def _choices(held: Mapping[str, Sequence[int]]) -> str:
    return plane_names(sorted({number for own in held.values() for number in own})) or "no Z planes"


def plane_names(numbers: Sequence[int]) -> str:
    """``Z planes 1 to 5 and the instrument's projection``."""
    stack = _stack(numbers)
    parts = [f"Z plane{'s' if len(stack) > 1 else ''} {numbers_text(stack)}"] if stack else []
    if INSTRUMENT_PROJECTION in numbers:
        parts.append("the instrument's projection")
    return " and ".join(parts)


def numbers_text(numbers: Sequence[int]) -> str:
    """``1 to 7`` or ``1, 3, 4``."""
    if len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]} to {numbers[-1]}"
    return ", ".join(map(str, numbers[:8])) + (f" and {len(numbers) - 8} more" if len(numbers) > 8 else "")
