"""A comparison on clusters: two nodes of Ray on this machine, and dask."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import experiment_tasks
import pytest
from rich.progress import Progress
from test_experiment_jobs import SPEC, content, over

from benchmarks.common.ports import free_port
from beyondprop.experiment import compare
from beyondprop.files import read_json

pytestmark = [
    pytest.mark.foreign,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="ends the nodes as Linux does"),
]

HERE = Path(experiment_tasks.__file__).parent
COMMAND = (
    *("compare", "--task", "experiment_tasks:SLOW", "--rules", "backprop", "dfa", "frozen"),
    *("--seeds", "0", "1", "--learning_rates", "0.001", "0.03", "--measure_cost", "false"),
    *("--output", "c"),
)
STUDY = (
    *("scale", "--task", "experiment_tasks:blob_family", "--widths", "2", "4", "8"),
    *("--rules", "backprop", "dfa", "--seeds", "0", "1", "2", "3"),
    *("--learning_rates", "0.003", "0.01", "--measure_cost", "false", "--output", "c"),
)

DISTIL = (
    *("distil", "--task", "digits-conv", "--blocks", '[["0", "1"], ["2", "3", "4"]]'),
    *("--candidates", "narrower", "low-rank", "--budgets", "0.7", "--seeds", "0"),
    *("--teacher_epochs", "3", "--epochs", "3", "--heal_epochs", "1", "--rates", "0.001", "0.003"),
    *("--output", "c"),
)


def environment(home: Path, **more: str) -> dict[str, str]:
    path = os.pathsep.join([str(HERE), *(each for each in sys.path if each)])
    own = {"HOME": str(home)}
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | own | more


@contextmanager
def node(home: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A node of Ray: `ray start --block`, ended with all that it has started."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *words]
    with (home / f"node{len(words)}.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--num-cpus=1", "--disable-usage-stats"],
            env=environment(home, SLOW_LOSS="0.05"),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a node at once, as where its machine fails."""
    for child in (*descendants(process.pid), process.pid):
        try:
            os.kill(child, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def descendants(parent: int) -> list[int]:
    try:
        files = list(Path(f"/proc/{parent}/task").glob("*/children"))
        direct = [int(child) for file in files for child in file.read_text().split()]
    except OSError:
        return []
    return [each for child in direct for each in (child, *descendants(child))]


class Cluster:
    """Two nodes of Ray on this machine."""

    def __init__(self, home: Path) -> None:
        self.home, self.port, self.client_port = home, free_port(), free_port()
        self.address = f"127.0.0.1:{self.port}"

    @contextmanager
    def head(self) -> Iterator[subprocess.Popen[bytes]]:
        # Its sockets need a short path.
        with (
            TemporaryDirectory(prefix="ray") as folder,
            node(
                self.home,
                *("--head", f"--temp-dir={folder}", f"--port={self.port}"),
                *("--node-ip-address=127.0.0.1", "--include-dashboard=false"),
                f"--ray-client-server-port={self.client_port}",
            ) as process,
        ):
            self.await_nodes(1)
            yield process

    @contextmanager
    def second(self) -> Iterator[subprocess.Popen[bytes]]:
        with node(self.home, f"--address={self.address}") as process:
            self.await_nodes(2)
            yield process

    def await_nodes(self, count: int) -> None:
        asked = (
            f"import ray; ray.init({self.address!r}, log_to_driver=False, logging_level='ERROR');"
            "print(sum(each['Alive'] for each in ray.nodes()))"
        )
        until = time.monotonic() + 120
        while time.monotonic() < until:
            done = subprocess.run(
                [sys.executable, "-c", asked],
                env=environment(self.home),
                capture_output=True,
                text=True,
                check=False,
            )
            if done.stdout.strip() == str(count):
                return
            time.sleep(1)
        raise AssertionError(done.stderr)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    pytest.importorskip("ray")
    home = tmp_path / "home"
    home.mkdir()
    return Cluster(home)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("reference") / "c"
    named = {"task": "experiment_tasks:SLOW"}
    compare(type(SPEC)(**vars(SPEC) | named), folder, progress=Progress(disable=True))
    return folder


def started(
    folder: Path,
    home: Path,
    *more: str,
    command: tuple[str, ...] = COMMAND,
    **variables: str,
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "beyondprop", *command, *more],
        cwd=folder,
        env=environment(home, **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    _, said = process.communicate(timeout=400)
    assert process.returncode == 0, said
    return said


def await_runs(process: subprocess.Popen[str], folder: Path, count: int) -> None:
    until = time.monotonic() + 120
    while len([*folder.glob("c/*/*/record.json"), *folder.glob("c/*/*/trial.json")]) < count:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize("way", ["auto", "client"])
def test_two_nodes_of_ray_leave_the_same_bytes(
    way: str, cluster: Cluster, tmp_path: Path, reference: Path
) -> None:
    with cluster.head(), cluster.second():
        named = "auto" if way == "auto" else f"ray://127.0.0.1:{cluster.client_port}"
        found = started(tmp_path, cluster.home, "--cluster", named, RAY_ADDRESS=cluster.address)
        finish(found)
    assert content(tmp_path / "c") == content(reference)


def test_two_nodes_of_ray_study_scale_to_the_same_figures(cluster: Cluster, tmp_path: Path) -> None:
    found, expected = map(figures, with_and_without(cluster, tmp_path, STUDY))
    assert found == expected
    assert len(found["runs"]) == 3 * 3 * 4  # backprop, dfa and linear


def test_two_nodes_of_ray_distil_to_the_same_bytes(cluster: Cluster, tmp_path: Path) -> None:
    found, expected = map(distilled, with_and_without(cluster, tmp_path, DISTIL))
    assert found == expected
    assert len(found[1]) > 5  # the teacher's, and four students'


def with_and_without(cluster: Cluster, folder: Path, command: tuple[str, ...]) -> list[Path]:
    """The folders of a command that two nodes carried out, and that one process did."""
    alone = folder / "alone"
    alone.mkdir()
    finish(started(alone, cluster.home, command=command))
    nodes = ("--cluster", "auto")
    with cluster.head(), cluster.second():
        more = {"command": command, "RAY_ADDRESS": cluster.address}
        finish(started(folder, cluster.home, *nodes, **more))
    return [folder / "c", alone / "c"]


def distilled(folder: Path) -> tuple[Any, dict[Path, bytes]]:
    """What a distillation found, and all weights and activations."""
    record = read_json(folder / "distillation.json") or {}
    files = folder.rglob("*.safetensors")
    return record["seeds"], {file.relative_to(folder): file.read_bytes() for file in files}


def figures(folder: Path) -> dict[str, Any]:
    """What a study of scale found, without what a clock has measured."""
    record = read_json(folder / "scaling.json")
    assert record is not None
    runs = [{key: run[key] for key in run if key != "seconds"} for run in record["runs"]]
    axes = {
        key: {axis: found for axis, found in record[key].items() if axis != "seconds"}
        for key in ("laws", "against")
    }
    return {"runs": runs} | axes


def test_a_node_that_dies_loses_nothing(cluster: Cluster, tmp_path: Path, reference: Path) -> None:
    with cluster.head(), cluster.second() as second:
        process = started(tmp_path, cluster.home, "--cluster", "auto", RAY_ADDRESS=cluster.address)
        await_runs(process, tmp_path, 2)
        end(second)
        finish(process)
    assert content(tmp_path / "c") == content(reference)


@pytest.mark.parametrize("way", ["auto", "client"])
def test_when_the_head_dies_the_same_command_resumes(
    way: str, cluster: Cluster, tmp_path: Path, reference: Path
) -> None:
    with cluster.head() as head, cluster.second():
        named = "auto" if way == "auto" else f"ray://127.0.0.1:{cluster.client_port}"
        process = started(tmp_path, cluster.home, "--cluster", named, RAY_ADDRESS=cluster.address)
        await_runs(process, tmp_path, 2)
        end(head)
        _, said = process.communicate(timeout=300)
        assert process.returncode != 0, said
    finish(started(tmp_path, cluster.home, "--resume"))
    assert content(tmp_path / "c") == content(reference)


@pytest.mark.parametrize("moment", range(20))
def test_a_head_killed_at_any_moment_loses_nothing(
    moment: int,
    cluster: Cluster,
    tmp_path: Path,
    reference: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Of the nodes and the command: to give up soon, where Ray waits for a minute.
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "5")
    with cluster.head() as head, cluster.second():
        process = started(tmp_path, cluster.home, "--cluster", "auto", RAY_ADDRESS=cluster.address)
        await_runs(process, tmp_path, moment // 2)  # of the twelve trials and runs
        time.sleep(random.Random(moment).uniform(0, 0.5))
        end(head)
        before = over(tmp_path)
        _, said = process.communicate(timeout=300)
        assert process.returncode != 0, said
    finish(started(tmp_path, cluster.home, "--resume"))
    assert {file: file.read_bytes() for file in before} == before
    assert content(tmp_path / "c") == content(reference)


@pytest.mark.parametrize("package", ["ray", "dask"])
def test_a_cluster_of_this_machine(package: str, tmp_path: Path, reference: Path) -> None:
    pytest.importorskip("ray" if package == "ray" else "distributed")
    finish(started(tmp_path, tmp_path, "--cluster", package, "--jobs", "2"))
    assert content(tmp_path / "c") == content(reference)


def test_a_dask_worker_that_is_killed_loses_nothing(tmp_path: Path, reference: Path) -> None:
    pytest.importorskip("distributed")
    process = started(tmp_path, tmp_path, "--cluster", "dask", "--jobs", "2", SLOW_LOSS="0.05")
    await_runs(process, tmp_path, 2)
    workers = [p for p in descendants(process.pid) if "spawn_main" in command_of(p)]
    assert workers
    os.kill(workers[0], signal.SIGKILL)
    finish(process)
    assert content(tmp_path / "c") == content(reference)


def command_of(process: int) -> str:
    return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")
