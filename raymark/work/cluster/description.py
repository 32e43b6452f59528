"""What the workers are: a machine's processes, a running scheduler, jobs of a queue, or pods."""

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from raymark.config import Strict, nearest, read_yaml, validate
from raymark.errors import ConfigError

FORMS = "local:4 (processes here), tcp://host:8786 (a running scheduler), or a YAML file"
"""What `--cluster` takes, for messages and help."""

_EXAMPLES = Path(__file__).parent / "examples"

NumWorkers = Annotated[int, Field(ge=1, le=100_000, description="Workers of one thread each")]
MemoryGb = Annotated[float, Field(ge=0.5, le=10_000, description="Memory of each worker [GB]")]
NumGpus = Annotated[
    int,
    Field(ge=0, le=1, description="1: a GPU for each worker; 0: workers see no GPU"),
]


class LocalCluster(Strict):
    """Worker processes on this machine."""

    kind: Literal["local"] = "local"
    num_workers: int = Field(ge=1, le=1000, description="Processes of one thread each")
    memory_per_worker_gb: MemoryGb | None = Field(
        default=None, description="Memory of each worker [GB]; an equal share of it all if missing"
    )
    gpus_per_worker: NumGpus = 0


class Scheduler(Strict):
    """A Dask scheduler that runs already; its workers were started by whoever started it."""

    num_workers: ClassVar[None] = None
    kind: Literal["scheduler"] = "scheduler"
    address: str = Field(description="tcp://host:port or tls://host:port")
    tls_ca_file: Path | None = Field(default=None, description="Certificate authority (PEM)")
    tls_cert_file: Path | None = Field(default=None, description="Certificate of the client (PEM)")
    tls_key_file: Path | None = Field(default=None, description="Key of the client (PEM)")

    @field_validator("address")
    @classmethod
    def _address_is_one(cls, address: str) -> str:
        match = re.fullmatch(r"(tcp|tls)://(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9_.-]+):(\d{1,5})", address)
        if match is None or not 1 <= int(match[3]) <= 65535:
            raise ValueError(
                "a scheduler's address is tcp://host:port or tls://host:port, with a port from 1 "
                "to 65535, such as tcp://127.0.0.1:8786"
            )
        return address

    @field_validator("tls_ca_file", "tls_cert_file", "tls_key_file")
    @classmethod
    def _file_is_there(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_file():
            raise ValueError(f"there is no file {path}")
        return path

    @model_validator(mode="after")
    def _files_are_for_tls(self) -> "Scheduler":
        files = (self.tls_ca_file, self.tls_cert_file, self.tls_key_file)
        if any(files) and not self.address.startswith("tls://"):
            raise ValueError("certificates need an address that begins with tls://")
        return self


class JobQueue(Strict):
    """One job of a queue for each worker."""

    kind: Literal["slurm", "pbs", "lsf"]
    num_workers: NumWorkers
    memory_per_worker_gb: MemoryGb
    walltime_h: float = Field(ge=0.1, le=10_000, description="Longest time of a job [h]")
    queue: str | None = Field(default=None, min_length=1, description="Queue or partition")
    account: str | None = Field(
        default=None, min_length=1, description="Account to charge; the project of LSF"
    )
    gpus_per_worker: NumGpus = 0
    prologue: tuple[str, ...] = Field(
        default=(), description="Lines of shell that run before the worker starts"
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="Arguments of dask-jobqueue's class, as they are"
    )

    @field_validator("options")
    @classmethod
    def _options_are_not_keys(cls, options: dict[str, Any]) -> dict[str, Any]:
        return _refuse_twins(options, _JOB_TWINS)

    @property
    def walltime_text(self) -> str:
        """The time as the queue writes it: HH:MM:SS, or HH:MM for LSF (rounded up)."""
        seconds = round(self.walltime_h * 3600)
        minutes = -(-seconds // 60)
        if self.kind == "lsf":
            return f"{minutes // 60:02d}:{minutes % 60:02d}"
        return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


class Kubernetes(Strict):
    """One pod of the Dask operator for each worker."""

    kind: Literal["kubernetes"] = "kubernetes"
    num_workers: NumWorkers
    memory_per_worker_gb: MemoryGb
    image: str = Field(min_length=1, description="Container image that holds raymark and Dask")
    name: str = Field(
        default="raymark",
        max_length=45,
        pattern=r"^[a-z]([a-z0-9-]*[a-z0-9])?$",
        description="Name of the cluster: lower case letters, digits and dashes",
    )
    namespace: str | None = Field(default=None, min_length=1)
    gpus_per_worker: NumGpus = 0
    options: dict[str, Any] = Field(
        default_factory=dict, description="Arguments of dask-kubernetes' KubeCluster, as they are"
    )

    @field_validator("options")
    @classmethod
    def _options_are_not_keys(cls, options: dict[str, Any]) -> dict[str, Any]:
        return _refuse_twins(options, _POD_TWINS)


ClusterDescription = LocalCluster | Scheduler | JobQueue | Kubernetes
"""Every way to get workers."""

_KINDS: dict[str, type[LocalCluster | Scheduler | JobQueue | Kubernetes]] = {
    "local": LocalCluster,
    "scheduler": Scheduler,
    "slurm": JobQueue,
    "pbs": JobQueue,
    "lsf": JobQueue,
    "kubernetes": Kubernetes,
}

_OURS = "set by raymark and cannot be changed"
_JOB_TWINS = {
    "account": "written as account, outside options",
    "project": "written as account, outside options",
    "queue": "written as queue, outside options",
    "walltime": "written as walltime_h, outside options",
    "memory": "written as memory_per_worker_gb, outside options",
    "n_workers": "written as num_workers, outside options",
    "job_script_prologue": "written as prologue, outside options",
    **dict.fromkeys(
        ("cores", "processes", "nanny", "asynchronous", "loop", "scheduler", "job_cls"), _OURS
    ),
}
_POD_TWINS = {
    "n_workers": "written as num_workers, outside options",
    "resources": "written as memory_per_worker_gb and gpus_per_worker, outside options",
    **{name: f"written as {name}, outside options" for name in ("name", "namespace", "image")},
    **dict.fromkeys(
        (
            "worker_command",
            "custom_cluster_spec",
            "create_mode",
            "shutdown_on_close",
            "asynchronous",
            "loop",
        ),
        _OURS,
    ),
}


def read_cluster(text: str) -> ClusterDescription:
    """Read what `--cluster` was given; nothing is started and nothing of Dask imported.

    Args:
        text: `local:4`, `tcp://host:port`, `tls://host:port`, or the path of a YAML file.

    Raises:
        ConfigError: If it is none of these, or if a value cannot be used.
    """
    if re.match(r"(tcp|tls)://", text):
        return validate(Scheduler, {"address": text}, where="--cluster")
    if text.startswith("local:"):
        count = text.removeprefix("local:")
        if not re.fullmatch(r"[1-9][0-9]*", count):
            raise ConfigError(
                f"local: is followed by the number of worker processes, got '{text}'; write "
                "local:4 for four"
            )
        return validate(LocalCluster, {"num_workers": int(count)}, where="--cluster")
    path = Path(text)
    if path.is_file() or path.suffix in (".yaml", ".yml"):
        return read_cluster_file(path)
    raise ConfigError(f"--cluster is {FORMS}; got '{text}', and there is no such file")


def read_cluster_file(path: Path) -> ClusterDescription:
    """Read a description of a cluster from YAML.

    Raises:
        ConfigError: If the file is missing or unreadable, or if a key or value cannot be used.
    """
    data = read_yaml(path)
    kinds = ", ".join(_KINDS)
    if "kind" not in data:
        raise ConfigError(f"missing key at {path}: kind (one of {kinds})")
    kind = str(data["kind"])
    if kind not in _KINDS:
        raise ConfigError(
            f"unknown kind '{kind}' at {path}: kind{nearest(kind, list(_KINDS))} "
            f"(there are: {kinds})"
        )
    return validate(_KINDS[kind], data, where=str(path))


def example_names() -> list[str]:
    """Return the names of the descriptions that ship with raymark, sorted."""
    return sorted(path.stem for path in _EXAMPLES.glob("*.yaml"))


def example_text(name: str) -> str:
    """Return the YAML of an example, to be saved and edited.

    Raises:
        ConfigError: If there is no such example (the nearest is offered).
    """
    known = example_names()
    if name not in known:
        raise ConfigError(
            f"unknown example '{name}'{nearest(name, known)} (there are: {', '.join(known)})"
        )
    return (_EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8")


def _refuse_twins(options: dict[str, Any], twins: dict[str, str]) -> dict[str, Any]:
    for name in options:
        if name in twins:
            raise ValueError(f"option '{name}' is {twins[name]}")
    return options
