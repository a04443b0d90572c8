"""Checks of the environment: Python and packages, the device, the model, cores and memory, compiled code."""

from __future__ import annotations

import importlib.util
import platform
import shlex
import shutil
import sys
import tomllib
from collections.abc import Collection, Iterator
from importlib import metadata
from pathlib import Path
from typing import Final

import torch
from packaging.requirements import Requirement

import lysoquant
from lysoquant.errors import InputError
from lysoquant.model.precision import choose_device, resolve_precision
from lysoquant.model.weights import load_model
from lysoquant.project import limits
from lysoquant.project.doctor.finding import Finding, attempt, ok, problem, warning
from lysoquant.project.resources import THREADS, job_memory_mb

_COMPILED: Final = ("lysoquant", "torch", "snakemake", "numpy")
"""Packages whose compiled code is looked for; a job that compiles them anew pays seconds."""

_LEAST_PYTHON: Final = (3, 11)


def environment(
    *, device: str, model: Path, extras: Collection[str] = (), segments_here: bool = True
) -> Iterator[Finding]:
    """All checks that need no project.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda"}
        Where the network shall run.
    model : pathlib.Path
        The model file.
    extras : collection of str
        Optional parts of the package that are needed.
    segments_here : bool
        The network runs on this machine, and not on a cluster's nodes.
    """
    yield python()
    yield packages(extras)
    yield network_device(device, segments_here=segments_here)
    yield attempt("model", lambda: _model(model))
    yield processor()
    yield cores_and_memory()
    yield compiled()


def python() -> Finding:
    found = f"Python {platform.python_version()} at {sys.executable}"
    if sys.version_info < _LEAST_PYTHON:
        return problem("python", found, "install lysoquant with Python 3.11 or newer")
    return ok("python", found)


def packages(extras: Collection[str] = ()) -> Finding:
    """Whether the installed packages are those that lysoquant asks for."""
    needed = _requirements(extras)
    if not needed:
        return warning(
            "packages",
            f"lysoquant runs from {Path(lysoquant.__file__).parent} and is not installed; versions are not checked",
            "pip install it",
        )
    wrong = [line for each in needed if (line := _wrong(each))]
    if wrong:
        extra = f"[{','.join(sorted(extras))}]" if extras else ""
        return problem("packages", "; ".join(wrong), f"pip install 'lysoquant{extra}' into {sys.prefix}")
    return ok("packages", f"{len(needed)} packages as lysoquant {lysoquant.__version__} asks for")


def _requirements(extras: Collection[str]) -> list[Requirement]:
    """By pyproject.toml in a checkout, which an older installation would not know; else by the installed package."""
    checkout = Path(lysoquant.__file__).parents[1] / "pyproject.toml"
    if checkout.is_file():
        project = tomllib.loads(checkout.read_text(encoding="utf-8"))["project"]
        optional = [text for extra in extras for text in project["optional-dependencies"][extra]]
        return [Requirement(text) for text in (*project["dependencies"], *optional)]
    try:
        found = [Requirement(text) for text in metadata.requires("lysoquant") or ()]
    except metadata.PackageNotFoundError:
        return []
    return [each for each in found if _is_wanted(each, extras)]


def _is_wanted(requirement: Requirement, extras: Collection[str]) -> bool:
    return requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras))


def _wrong(requirement: Requirement) -> str:
    try:
        found = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return f"{requirement.name} is missing"
    if requirement.specifier.contains(found, prereleases=True):
        return ""
    return f"{requirement.name} is {found}, expected {requirement.specifier}"


def network_device(device: str, *, segments_here: bool = True) -> Finding:
    """Where the network runs: a GPU that was asked for and isn't there is never replaced by the processor."""
    build = f"torch {torch.__version__}"
    if device == "cuda" and not segments_here:
        if torch.version.cuda is None:
            return problem(
                "device",
                f"{build} was built without CUDA and execution.device is cuda",
                "install the CUDA build of torch into this environment, which the nodes use too",
            )
        return ok("device", f"{build} (CUDA {torch.version.cuda}); the GPU is one of the cluster's")
    try:
        target = choose_device(device)
    except InputError as error:
        cuda = f"CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        return problem("device", f"{build} ({cuda}): {error}")
    if target.type == "cuda":
        found = torch.cuda.get_device_properties(target)
        return ok("device", f"{build}, {found.name} with {found.total_memory / 1e9:.0f} GB")
    if device == "auto" and shutil.which("nvidia-smi"):
        reason = "was built without CUDA" if torch.version.cuda is None else "finds no GPU"
        return warning(
            "device",
            f"{build} {reason}, and nvidia-smi is here; the network runs on the processor",
            "install the CUDA build of torch or mend the driver, or set execution.device to cpu",
        )
    return ok("device", f"{build}, on the processor (execution.device is {device})")


def _model(path: Path) -> str:
    model = load_model(path)
    return f"{model.card.name}, sha256 {model.sha256[:12]}, {path}"


def processor() -> Finding:
    """Whether the processor multiplies in bf16; it's no fault if not."""
    name = torch.backends.cpu.get_cpu_capability()
    if resolve_precision("auto", torch.device("cpu")) == "bf16":
        return ok("processor", f"{name} with bf16")
    return ok("processor", f"{name} without bf16: on the processor the network runs in fp32, at about half the speed")


def cores_and_memory() -> Finding:
    """What this process may use, held against the largest job."""
    n_cores, quota, memory = limits.cores(), limits.core_quota(), limits.memory_bytes()
    seen = f"{n_cores} core{'s' * (n_cores > 1)}, {memory / 1e9:.0f} GB"
    needed_mb = max(
        job_memory_mb(stage, n_wells=threads, threads=min(threads, n_cores), attempt=1)
        for stage, threads in THREADS.items()
    )
    if quota < n_cores:
        return warning(
            "cores, memory",
            f"{seen}; the control group allows the time of {quota:.3g} cores",
            f"lysoquant run PROJECT --cores {max(1, int(quota))}",
        )
    if memory < needed_mb * 1e6:
        return warning(
            "cores, memory",
            f"{seen}; a job may hold {needed_mb / 1000:.0f} GB with large fields",
            "run with fewer --cores, or where there is more memory",
        )
    return ok("cores, memory", seen)


def _with_its_dependencies(package: Path) -> Path:
    return package.parent if package.parent.name in ("site-packages", "dist-packages") else package


def compiled() -> Finding:
    """Whether Python's code lies compiled; else every job compiles it anew where it can't be kept."""
    missing = []
    for name in _COMPILED:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin and not Path(importlib.util.cache_from_source(spec.origin)).is_file():
            missing.append(Path(spec.origin).parent)
    if not missing:
        return ok("compiled code", f"{', '.join(_COMPILED)} are compiled")
    folders = shlex.join(dict.fromkeys(str(_with_its_dependencies(folder)) for folder in missing))
    seen = f"{', '.join(folder.name for folder in missing)} not compiled"
    if sys.dont_write_bytecode:
        seen += " and PYTHONDONTWRITEBYTECODE is set: every job pays seconds"
    else:
        seen += ": the first job pays seconds, and every job where the folder is read-only"
    return warning("compiled code", seen, f"{sys.executable} -m compileall -q {folders}")
