"""Workers of a Dask scheduler that runs already: reached, examined, and left running."""

import asyncio
import contextlib
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from raymark.errors import ConfigError
from raymark.work.cluster.base import CheckResult, ClusterDescription
from raymark.work.cluster.checks import list_workers, require_workers
from raymark.work.cluster.settings import import_dask, reason_of
from raymark.work.cluster.starting import open_cluster

_CONNECT_TIMEOUT_S = 8.0


class Scheduler(ClusterDescription):
    """A Dask scheduler that runs already; its workers were started by whoever started it."""

    patience_s: ClassVar[float] = 30.0
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

    @property
    def label(self) -> str:
        """Its address."""
        return self.address

    @property
    def advice(self) -> str:
        """How a worker is started."""
        return f"start some with `dask worker {self.address} --nthreads 1`"

    @contextlib.contextmanager
    def connected(self) -> Iterator[Any]:
        """Reach the scheduler and yield a client; it runs on after.

        Raises:
            ConfigError: If nobody answers, or somebody else.
        """
        with contextlib.closing(self._connect()) as client:
            yield client

    def check(self) -> CheckResult:
        """Return the workers that are there, and whether they have the software of this process.

        Raises:
            ConfigError: If nobody answers, or if a worker has other software.
        """
        with open_cluster(self) as client:
            workers = tuple(list_workers(client))
            if not workers:
                return CheckResult(text=f"{self.address} has no workers yet")
            return CheckResult(
                text="all have the same software as this process",
                notes=tuple(require_workers(client)),
                workers=workers,
            )

    def _connect(self) -> Any:
        address = self.address
        host, _, port = address.partition("://")[2].rpartition(":")
        place = (host.strip("[]"), int(port))
        try:
            with socket.create_connection(place, timeout=_CONNECT_TIMEOUT_S):
                pass
        except OSError as error:
            raise ConfigError(
                f"nobody answers at {address} ({reason_of(error)}); start one there with "
                "`dask scheduler`, or write the address that it prints"
            ) from error
        distributed = import_dask()
        try:
            security = self._security() or distributed.Security()
            found = _role(address, security)
            if found != "Scheduler":
                raise ConfigError(f"what answers at {address} is Dask's {found}, no scheduler")
            return distributed.Client(
                address, timeout=_CONNECT_TIMEOUT_S, security=security, set_as_default=False
            )
        except (OSError, TimeoutError, ValueError, TypeError, RuntimeError) as error:
            raise ConfigError(
                f"what answers at {address} is no Dask scheduler that can be used from here "
                f"({reason_of(error)}); check the port, tcp or tls, and the versions of Dask"
            ) from error

    def _security(self) -> Any:
        if not self.address.startswith("tls://"):
            return None
        files = {
            "tls_ca_file": self.tls_ca_file,
            "tls_client_cert": self.tls_cert_file,
            "tls_client_key": self.tls_key_file,
        }
        given = {name: str(path) for name, path in files.items() if path is not None}
        return import_dask().Security(require_encryption=True, **given)


def _role(address: str, security: Any) -> str:
    """Ask who is there; the client itself would wait forever for one that does not speak Dask."""
    core = import_dask("distributed.core")

    async def ask() -> str:
        arguments = security.get_connection_args("client")
        async with core.rpc(address, connection_args=arguments) as peer:
            return str((await peer.identity())["type"])

    async def ask_in_time() -> str:
        return await asyncio.wait_for(ask(), _CONNECT_TIMEOUT_S)

    with ThreadPoolExecutor(1) as pool:  # this thread may have a loop of its own, as in a notebook
        return pool.submit(asyncio.run, ask_in_time()).result()
