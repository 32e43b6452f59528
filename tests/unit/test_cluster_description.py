"""Descriptions of clusters: what is read, what is refused, and what queues are asked for."""

import math
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from raymark.errors import ConfigError
from raymark.work.cluster import (
    KINDS,
    ClusterDescription,
    Kubernetes,
    LocalCluster,
    Scheduler,
    SlurmQueue,
    example_names,
    example_text,
    open_cluster,
    read_cluster,
)
from raymark.work.cluster.jobs import JobQueue

QUEUE: dict[str, Any] = {
    "kind": "slurm",
    "num_workers": 3,
    "memory_per_worker_gb": 6,
    "walltime_h": 2.5,
    "queue": "night",
    "account": "radio",
    "prologue": ["module load cuda", "source ~/env/bin/activate"],
}
PODS: dict[str, Any] = {
    "kind": "kubernetes",
    "num_workers": 3,
    "memory_per_worker_gb": 6,
    "image": "registry.example.org/raymark:0.1.0",
}


def written(folder: Path, content: dict[str, Any]) -> str:
    path = folder / "cluster.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", example_names())
def test_example_is_valid_when_saved_and_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(example_text(name), encoding="utf-8")

    assert read_cluster(str(path)).kind == name


def test_examples_cover_every_kind_when_listed() -> None:
    assert set(example_names()) == set(KINDS)


def test_example_names_the_nearest_when_it_is_unknown() -> None:
    with pytest.raises(ConfigError, match="unknown example 'slrum'; did you mean 'slurm'"):
        example_text("slrum")


def test_text_is_read_when_it_has_a_short_form() -> None:
    assert read_cluster("local:4") == LocalCluster(num_workers=4)
    assert read_cluster("tcp://10.0.0.1:8786") == Scheduler(address="tcp://10.0.0.1:8786")
    assert read_cluster("tls://head.example.org:8786").kind == "scheduler"
    assert read_cluster("tcp://[::1]:8786").kind == "scheduler"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("four", r"local:4 .* tcp://host:8786 .* YAML file; got 'four'"),
        ("local", "local:4 .* got 'local'"),
        ("local:0", "number of worker processes, got 'local:0'"),
        ("local:-1", "got 'local:-1'"),
        ("local:two", "got 'local:two'"),
        ("local:99999", "less than or equal to 1000, got 99999 at --cluster: num_workers"),
        ("tcp://host", "tcp://host:port .* got 'tcp://host' at --cluster: address"),
        ("tcp://host:0", "port from 1 to 65535"),
        ("tcp://host:70000", "port from 1 to 65535"),
        ("tcp://two words:8786", "tcp://host:port"),
        ("none.yaml", "cannot read none.yaml: No such file"),
    ],
)
def test_text_is_refused_when_it_cannot_be_used(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_cluster(text)


@pytest.mark.parametrize(
    ("base", "change", "said"),
    [
        (QUEUE, {"kind": "slrum"}, "unknown kind 'slrum' at .*kind; did you mean 'slurm'"),
        (QUEUE, {"wall_time_h": 3}, "unknown key at .*wall_time_h; did you mean 'walltime_h'"),
        (QUEUE, {"num_workers": 0}, "greater than or equal to 1, got 0 at .*num_workers"),
        (QUEUE, {"memory_per_worker_gb": 0.01}, "got 0.01 at .*memory_per_worker_gb"),
        (QUEUE, {"walltime_h": -1}, "got -1 at .*walltime_h"),
        (QUEUE, {"walltime_h": "12:00:00"}, "number, .*got '12:00:00' at .*walltime_h"),
        (QUEUE, {"gpus_per_worker": 2}, "less than or equal to 1, got 2 at .*gpus_per_worker"),
        (QUEUE, {"prologue": "module load cuda"}, "list, got 'module load cuda' at .*prologue"),
        (QUEUE, {"options": {"memory": "8GB"}}, "option 'memory' is written as memory_per_worker"),
        (QUEUE, {"options": {"cores": 4}}, "option 'cores' is set by raymark"),
        (QUEUE, {"image": "x"}, "unknown key at .*image"),
        (PODS, {"image": ""}, "at .*image"),
        (PODS, {"name": "Two Words"}, "got 'Two Words' at .*name"),
        (PODS, {"options": {"n_workers": 4}}, "option 'n_workers' is written as num_workers"),
        ({"kind": "local"}, {"num_workers": 1001}, "less than or equal to 1000, got 1001"),
        ({"kind": "local", "num_workers": 1}, {"queue": "q"}, "unknown key at .*queue"),
        ({"kind": "scheduler"}, {"address": "8786"}, "tcp://host:port"),
        (
            {"kind": "scheduler", "address": "tls://h:1"},
            {"tls_ca_file": "no.pem"},
            "there is no file no.pem",
        ),
    ],
)
def test_file_is_refused_when_a_key_or_value_is_wrong(
    tmp_path: Path, base: dict[str, Any], change: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        read_cluster(written(tmp_path, base | change))
    assert "cluster.yaml" in str(caught.value)


@pytest.mark.parametrize("key", ["num_workers", "memory_per_worker_gb", "walltime_h"])
def test_file_is_refused_when_a_key_is_missing(tmp_path: Path, key: str) -> None:
    content = {k: v for k, v in QUEUE.items() if k != key}

    with pytest.raises(ConfigError, match=f"missing key at .*{key}"):
        read_cluster(written(tmp_path, content))


def test_file_is_refused_when_it_has_no_kind(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing key at .*kind \(one of local, scheduler"):
        read_cluster(written(tmp_path, {"num_workers": 2}))


def test_certificates_are_refused_when_the_address_is_not_encrypted(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("x")
    content = {"kind": "scheduler", "address": "tcp://h:1", "tls_ca_file": f"{tmp_path}/ca.pem"}

    with pytest.raises(ConfigError, match="certificates need an address that begins with tls"):
        read_cluster(written(tmp_path, content))


ASKED = {
    "slurm": ["#SBATCH -p night", "#SBATCH -A radio", "#SBATCH --mem=6G", "#SBATCH -t 02:30:00"],
    "pbs": ["#PBS -q night", "#PBS -A radio", "ncpus=1:mem=5723MB", "#PBS -l walltime=02:30:00"],
    "lsf": ["#BSUB -q night", '#BSUB -P "radio"', "#BSUB -M 6000\n", "#BSUB -W 02:30\n"],
}
"""6 GB are 5.6 GiB, which Slurm and PBS round up."""
GPU_ASKED = {"slurm": "#SBATCH --gres=gpu:1", "pbs": ":ngpus=1:", "lsf": '#BSUB -gpu "num=1"'}


def test_every_queue_has_its_script_tested() -> None:
    queues = {kind for kind, described in KINDS.items() if issubclass(described, JobQueue)}

    assert set(ASKED) == set(GPU_ASKED) == queues


@pytest.mark.needs("dask_jobqueue")
@pytest.mark.parametrize("kind", list(ASKED))
def test_job_script_asks_for_what_is_described(kind: str) -> None:
    more = {"options": {"lsf_units": "mb"}} if kind == "lsf" else {}

    script = KINDS[kind](**QUEUE | {"kind": kind} | more).check().text

    assert [line for line in ASKED[kind] if line not in script] == []
    assert "--nthreads 1 --memory-limit 5.59GiB --nanny" in script
    lines = script.splitlines()
    worker = next(i for i, line in enumerate(lines) if "distributed.cli.dask_worker" in line)
    for line in (*QUEUE["prologue"], "export OMP_NUM_THREADS=1", "export CUDA_VISIBLE_DEVICES=''"):
        assert lines.index(line) < worker
    assert "export DASK_DISTRIBUTED__WORKER__MEMORY__SPILL=False" in lines


@pytest.mark.needs("dask_jobqueue")
@pytest.mark.parametrize(("kind", "asked"), GPU_ASKED.items())
def test_job_script_asks_for_a_gpu_when_workers_have_one(kind: str, asked: str) -> None:
    options = {"job_extra_directives": ["--nice"]}

    script = (
        KINDS[kind](**QUEUE | {"kind": kind, "gpus_per_worker": 1, "options": options}).check().text
    )

    assert asked in script
    assert "--nice" in script
    assert "CUDA_VISIBLE_DEVICES" not in script  # the queue says which


@pytest.mark.needs("dask_jobqueue")
def test_job_script_has_the_options_when_they_are_given() -> None:
    options = {
        "interface": "ib0",
        "python": "python3",
        "scheduler_options": {"dashboard_address": "127.0.0.1:9999"},
        "worker_extra_args": ["--lifetime", "55m"],
    }

    script = SlurmQueue(**QUEUE | {"options": options}).check().text

    assert "\npython3 -m distributed.cli.dask_worker" in script
    assert "--lifetime 55m --interface ib0" in script


@pytest.mark.needs("dask_jobqueue")
def test_job_script_is_refused_when_an_option_is_unknown() -> None:
    description = SlurmQueue(**QUEUE | {"options": {"job_extra_directive": []}})

    with pytest.raises(ConfigError, match=r"SLURMCluster .* did you mean 'job_extra_directives'"):
        description.check()


@pytest.mark.needs("dask_jobqueue")
def test_queue_is_refused_when_its_command_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with (
        pytest.raises(ConfigError, match="`sbatch` is not on this machine"),
        open_cluster(SlurmQueue(**QUEUE)),
    ):
        pass


@pytest.mark.needs("dask_kubernetes")
def test_pods_have_image_memory_and_one_thread_when_described() -> None:

    spec = Kubernetes(**PODS | {"options": {"env": {"MINE": "yes"}}}).resource()

    worker = spec["spec"]["worker"]
    (container,) = worker["spec"]["containers"]
    variables = {entry["name"]: entry["value"] for entry in container["env"]}
    assert worker["replicas"] == 3
    assert container["image"] == PODS["image"]
    assert container["resources"]["limits"] == {"cpu": "1", "memory": "6000000000"}
    assert " ".join(container["args"]).startswith(
        "dask worker --nthreads 1 --memory-limit 6000000000 --name"
    )
    assert variables["OMP_NUM_THREADS"] == "1"
    assert variables["MINE"] == "yes"
    assert not re.search("[&*]id", yaml.safe_dump(spec))


@pytest.mark.needs("dask_kubernetes")
def test_pods_have_a_gpu_and_the_scheduler_none_when_workers_have_one() -> None:

    spec = Kubernetes(**PODS | {"gpus_per_worker": 1}).resource()["spec"]

    (worker,) = spec["worker"]["spec"]["containers"]
    (scheduler,) = spec["scheduler"]["spec"]["containers"]
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert "nvidia.com/gpu" not in scheduler["resources"]["limits"]


@pytest.mark.needs("distributed")
def test_check_says_what_processes_would_get_when_nothing_is_started() -> None:
    found = LocalCluster(num_workers=2, memory_per_worker_gb=0.5).check()

    assert found.text == (
        "2 worker processes of 0.5 GB and one thread each, with no GPU; none was started"
    )
    assert found.workers == ()


@pytest.mark.parametrize(
    ("description", "label", "num_needed", "num_expected", "patience_s"),
    [
        (LocalCluster(num_workers=3), "local:3", 3, 3, 120.0),
        (Scheduler(address="tcp://a:1"), "tcp://a:1", 1, 0, 30.0),
        (SlurmQueue(**QUEUE), "slurm (3 workers)", 1, 3, math.inf),
        (Kubernetes(**PODS), "kubernetes (3 workers)", 1, 3, math.inf),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_kind_says_whom_to_wait_for_when_asked(
    description: ClusterDescription,
    label: str,
    num_needed: int,
    num_expected: int,
    patience_s: float,
) -> None:
    assert description.label == label
    assert (description.num_needed, description.num_expected) == (num_needed, num_expected)
    assert description.patience_s == patience_s


@pytest.mark.needs("dask_kubernetes")
def test_pods_are_refused_when_an_option_is_unknown() -> None:

    with pytest.raises(ConfigError, match=r"KubeCluster .* did you mean 'resource_timeout'"):
        Kubernetes(**PODS | {"options": {"resourcetimeout": 3}}).resource()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_workers": 1000, "memory_per_worker_gb": 10_000}, "1000 workers of 10000 GB need"),
        ({"num_workers": 1, "gpus_per_worker": 1}, "need 1 GPUs, and this machine shows 0"),
    ],
)
def test_processes_are_refused_when_the_machine_is_too_small(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], said: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    with pytest.raises(ConfigError, match=said), open_cluster(LocalCluster(**change)):
        pass


@pytest.mark.parametrize(
    ("module", "description", "extra"),
    [
        ("distributed", LocalCluster(num_workers=1), "cluster"),
        ("dask_jobqueue", SlurmQueue(**QUEUE), "jobqueue"),
        ("dask_kubernetes.operator", Kubernetes(**PODS), "kubernetes"),
    ],
)
def test_extra_is_named_when_a_package_is_missing(
    monkeypatch: pytest.MonkeyPatch, module: str, description: Any, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed

    with (
        pytest.raises(ConfigError, match=rf'pip install "raymark\[{extra}\]"'),
        open_cluster(description),
    ):
        pass
