"""Write the lock files from pyproject.toml and what is installed: ``python envs/lock.py``."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


def closure(requirements: list[str]) -> dict[str, str]:
    """Versions of the installed packages that the requirements lead to."""
    found: dict[tuple[str, str], str] = {}
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        requirement = waiting.pop()
        for extra in ("", *sorted(requirement.extras)):
            key = canonicalize_name(requirement.name), extra
            if key in found:
                continue
            distribution = metadata.distribution(requirement.name)
            found[key] = distribution.version
            needed = [Requirement(text) for text in distribution.requires or []]
            waiting += [need for need in needed if need.marker is None or need.marker.evaluate({"extra": extra})]
    return {name: version for (name, _), version in found.items()}


def write(path: Path, pins: dict[str, str], note: str) -> None:
    lines = [f"{name}=={pins[name].split('+')[0]}\n" for name in sorted(pins)]
    path.write_text(f"# {note}\n{''.join(lines)}", encoding="utf-8")


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    build = [*project["build-system"]["requires"], "editables"]
    run = closure(project["project"]["dependencies"] + build)
    dev = closure(project["project"]["optional-dependencies"]["dev"])
    run.pop("torch")
    note = "What lysoquant runs on, besides torch==2.13.0, which is installed first. Written by envs/lock.py."
    write(ROOT / "envs" / "requirements.lock", run, note)
    only_dev = {name: version for name, version in dev.items() if name not in run and name != "torch"}
    write(ROOT / "envs" / "requirements-dev.lock", only_dev, "What tests and checks need besides requirements.lock.")


if __name__ == "__main__":
    main()
