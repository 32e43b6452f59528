"""Which workers: the kinds that there are, and how one of them is read.

Another kind is a module with one class, and one entry in `KINDS`.
"""

import re
from pathlib import Path

from raymark.config import nearest, read_yaml, validate
from raymark.errors import ConfigError
from raymark.work.cluster.base import ClusterDescription
from raymark.work.cluster.jobs import LsfQueue, PbsQueue, SlurmQueue
from raymark.work.cluster.pods import Kubernetes
from raymark.work.cluster.processes import LocalCluster
from raymark.work.cluster.scheduler import Scheduler

FORMS = "local:4 (processes here), tcp://host:8786 (a running scheduler), or a YAML file"
"""What `--cluster` takes, for messages and help."""

KINDS: dict[str, type[ClusterDescription]] = {
    "local": LocalCluster,
    "scheduler": Scheduler,
    "slurm": SlurmQueue,
    "pbs": PbsQueue,
    "lsf": LsfQueue,
    "kubernetes": Kubernetes,
}
"""Every kind by its name in a description."""

_EXAMPLES = Path(__file__).parent / "examples"


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
    kinds = ", ".join(KINDS)
    if "kind" not in data:
        raise ConfigError(f"missing key at {path}: kind (one of {kinds})")
    kind = str(data["kind"])
    if kind not in KINDS:
        raise ConfigError(
            f"unknown kind '{kind}' at {path}: kind{nearest(kind, list(KINDS))} "
            f"(there are: {kinds})"
        )
    return validate(KINDS[kind], data, where=str(path))


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
