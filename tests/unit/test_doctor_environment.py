"""The doctor's checks of the environment and of folders, with machines that are not there."""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import sys
import tempfile
from collections.abc import Callable
from importlib import metadata, util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lysoquant.cli.main import invoke
from lysoquant.project import limits
from lysoquant.project.batches import DEFAULT_MODEL
from lysoquant.project.doctor import environment as env
from lysoquant.project.doctor import folders
from lysoquant.project.doctor.finding import attempt
from lysoquant.record import digest_file


def statvfs(*, n_bytes: int, n_files: int, most_files: int = 10**9) -> Callable[[object], SimpleNamespace]:
    return lambda folder: SimpleNamespace(f_bavail=n_bytes // 4096, f_frsize=4096, f_files=most_files, f_favail=n_files)


def test_an_old_python_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    assert env.python().state == "ok"
    monkeypatch.setattr(sys, "version_info", (3, 10, 12))
    assert env.python().state == "problem"


def test_packages_are_held_against_the_pins(monkeypatch: pytest.MonkeyPatch) -> None:
    found = dict.fromkeys(("torch", "zarr"), "")
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: found.get(name) or real(name))
    assert env.packages().state == "ok"
    found |= {"torch": "2.13.0+cu128", "zarr": "3.0.0rc1"}
    assert "zarr is 3.0.0rc1, expected >=3" in env.packages().seen
    found |= {"torch": "2.12.1", "zarr": "3.1"}
    wrong = env.packages(["slurm"])
    assert (wrong.state, wrong.seen) == ("problem", "torch is 2.12.1, expected ==2.13.0")
    assert wrong.remedy == f"pip install 'lysoquant[slurm]' into {sys.prefix}"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "snakemake-executor-plugin-slurm":
            raise metadata.PackageNotFoundError(name)
        return "99" if name != "torch" else "2.13.0"

    monkeypatch.setattr(metadata, "version", version)
    assert env.packages().state == "ok"
    assert env.packages(["slurm"]).seen == "snakemake-executor-plugin-slurm is missing"


def test_a_gpu_that_was_asked_for_and_is_not_there_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = env.network_device("cuda")
    assert found.state == "problem"
    assert "torch finds no GPU" in found.seen
    assert env.network_device("cpu").state == "ok"


def test_a_gpu_is_named_with_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    card = SimpleNamespace(name="H100", total_memory=80_000_000_000)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    for device in ("auto", "cuda"):
        found = env.network_device(device)
        assert found.state == "ok"
        assert found.seen.endswith("H100 with 80 GB")


def test_a_gpu_beside_a_torch_that_cannot_use_it_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(env.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert env.network_device("auto").state == "warning"
    monkeypatch.setattr(env.shutil, "which", lambda name: None)
    assert env.network_device("auto").state == "ok"


def test_on_a_cluster_the_build_of_torch_is_looked_at_and_not_this_hosts_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    assert env.network_device("cuda", segments_here=False).state == "ok"
    monkeypatch.setattr(torch.version, "cuda", None)
    assert env.network_device("cuda", segments_here=False).state == "problem"


def test_the_model_is_read_and_its_digest_said(tmp_path: Path) -> None:
    found = attempt("model", lambda: env._model(DEFAULT_MODEL))
    assert found.state == "ok"
    assert digest_file(DEFAULT_MODEL)[:12] in found.seen
    damaged = tmp_path / "half.safetensors"
    damaged.write_bytes(DEFAULT_MODEL.read_bytes()[:5000])
    found = attempt("model", lambda: env._model(damaged))
    assert found.state == "problem"
    assert "not a safetensors file" in found.seen


def test_a_control_group_that_allows_less_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "cores", lambda: 16)
    monkeypatch.setattr(limits, "core_quota", lambda: 2.5)
    monkeypatch.setattr(limits, "memory_bytes", lambda: 64_000_000_000)
    found = env.cores_and_memory()
    assert (found.state, found.remedy) == ("warning", "lysoquant run PROJECT --cores 2")
    monkeypatch.setattr(limits, "core_quota", lambda: math.inf)
    assert env.cores_and_memory().state == "ok"
    # segment on 8 of the 16 cores: 4000 MB and 1000 for each.
    monkeypatch.setattr(limits, "memory_bytes", lambda: 11_900_000_000)
    assert "a job may hold 12 GB" in env.cores_and_memory().seen


def group_files(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def test_limits_of_both_versions_of_control_groups(tmp_path: Path) -> None:
    two = group_files(
        tmp_path / "two",
        proc__self__cgroup="0::/a/b",
        sys__fs__cgroup__a__cpu_DOT_max="150000 100000",
        sys__fs__cgroup__a__b__cpu_DOT_max="max 100000",
        sys__fs__cgroup__a__memory_DOT_max="2000000000",
        sys__fs__cgroup__a__b__memory_DOT_max="max",
    )
    assert limits.core_quota(two) == 1.5
    assert limits.memory_bytes(two) == 2_000_000_000
    one = group_files(
        tmp_path / "one",
        proc__self__cgroup="4:memory:/j\n3:cpu,cpuacct:/j",
        sys__fs__cgroup__cpu__j__cpu_DOT_cfs_quota_us="-1",
        sys__fs__cgroup__memory__j__memory_DOT_limit_in_bytes="1000000000",
    )
    assert limits.core_quota(one) == math.inf
    assert limits.memory_bytes(one) == 1_000_000_000
    assert limits.core_quota(tmp_path) == math.inf


def test_code_that_is_not_compiled_is_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "torch"
    (package / "__pycache__").mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.setattr(util, "find_spec", lambda name: SimpleNamespace(origin=str(package / "__init__.py")))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    found = env.compiled()
    assert found.state == "warning"
    assert "PYTHONDONTWRITEBYTECODE" in found.seen
    assert found.remedy == f"{sys.executable} -m compileall -q {package.parent}"
    Path(util.cache_from_source(str(package / "__init__.py"))).touch()
    assert env.compiled().state == "ok"


def test_a_folder_that_cannot_be_written_is_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert folders.writable("results", tmp_path / "not" / "yet").seen == f"{tmp_path} can be written"

    def refuse(**options: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    found = folders.writable("results", tmp_path)
    assert (found.state, found.seen) == ("problem", f"{tmp_path}: Read-only file system")
    assert folders.locks(tmp_path).state == "warning"


def test_locks_are_tried_for_real(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert folders.locks(tmp_path).state == "ok"
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(fcntl, "flock", lambda file, kind: None)
    assert "two locks on one file" in folders.locks(tmp_path).seen

    def none(file: object, kind: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    assert "No locks available" in folders.locks(tmp_path).seen


@pytest.mark.parametrize(
    ("kind", "options", "state"),
    [
        ("nfs4", "rw,hard", "ok"),
        ("nfs", "rw,nolock", "warning"),
        ("nfs", "rw,local_lock=none", "ok"),
        ("nfs4", "rw,local_lock=flock", "warning"),
        ("lustre", "rw,flock", "ok"),
        ("lustre", "rw,localflock", "warning"),
        ("lustre", "rw", "warning"),
        ("ext4", "rw", "ok"),
    ],
)
def test_locks_that_hold_on_one_host_are_a_warning(kind: str, options: str, state: str, tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        f"/dev/a / ext4 rw 0 0\nserver:/x {tmp_path} {kind} {options} 0 0\nother /elsewhere nfs nolock 0 0\n"
    )
    found = folders.locks(tmp_path, mounts)
    assert found.state == state
    assert kind in found.seen


@pytest.mark.parametrize(
    ("free", "is_rough", "state"),
    [
        (99, False, "problem"),
        (110, False, "warning"),
        (130, False, "ok"),
        (45, True, "problem"),
        (99, True, "warning"),
        (199, True, "warning"),
        (210, True, "ok"),
    ],
)
@pytest.mark.parametrize("scarce", ["disk", "files"])
def test_room_is_held_against_the_forecast(
    free: int, is_rough: bool, state: str, scarce: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    much = 10**12
    there = statvfs(
        n_bytes=free * 4_096_000 if scarce == "disk" else much, n_files=free * 1000 if scarce == "files" else much
    )
    monkeypatch.setattr(os, "statvfs", there)
    found = {
        each.check: each
        for each in folders.room(tmp_path, need_bytes=409_600_000, need_files=100_000, is_rough=is_rough)
    }
    assert found.pop(scarce).state == state
    assert {each.state for each in found.values()} == {"ok"}


def test_a_file_system_without_a_number_of_files_is_not_short_of_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "statvfs", statvfs(n_bytes=10**9, n_files=0, most_files=0))
    found = list(folders.room(tmp_path, need_bytes=1, need_files=1, is_rough=False))
    assert [(each.check, each.state) for each in found] == [("disk", "ok")]


def test_the_doctor_without_a_project_looks_at_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke(["doctor", "--json", "told.json"]) == 0
    told: dict[str, Any] = json.loads((tmp_path / "told.json").read_text())
    names = ["python", "packages", "device", "model", "processor", "cores, memory", "compiled code", "folder", "locks"]
    assert [finding["check"] for finding in told["checks"]] == names
    assert told["forecast"] is None
    lines = capsys.readouterr().out.splitlines()
    assert [line[9:25].rstrip() for line in lines[: len(names)]] == names
    assert lines[-1].startswith("9 checks: no problems, ")


@pytest.mark.parametrize("arguments", [["nowhere"], ["--profile", "nowhere"], ["--wait", "-1"], ["--cores", "0"]])
def test_a_wrong_use_of_the_doctor_is_status_2(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke(["doctor", *arguments]) == 2
    assert "error: " in capsys.readouterr().err
