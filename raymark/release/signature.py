"""Signatures of releases by minisign: who made a release, which no seal can show.

The maker signs `SHA256SUMS`, which has the hash of every file, with the program `minisign`; who has
the maker's public key checks it here, offline (format: https://jedisct1.github.io/minisign/).
"""

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

from raymark.config import read_text
from raymark.errors import ConfigError
from raymark.extras import import_extra
from raymark.release.record import SUMS_NAME
from raymark.storage import within

SIGNATURE_NAME = f"{SUMS_NAME}.minisig"

_PLAIN, _PREHASHED = b"Ed", b"ED"
_COMMENT = "trusted comment: "


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A maker's public key.

    Attributes:
        key_id: Number that minisign gives a pair of keys.
        key: Of Ed25519.
    """

    key_id: bytes
    key: bytes


def read_public_key(text: str) -> PublicKey:
    """Read a public key of minisign, or the file that holds one.

    Raises:
        ConfigError: If it is none.
    """
    lines = read_text(Path(text)).split("\n") if Path(text).is_file() else [text]
    line = next((line.strip() for line in lines if not line.startswith("untrusted comment")), "")
    content = _decoded(line, where=f"public key {line[:60]!r}")
    if len(content) != 42 or content[:2] != _PLAIN:
        raise ConfigError(f"public key {line[:60]!r} is none of minisign, which begins with RW")
    return PublicKey(key_id=content[2:10], key=content[10:])


def signature_faults(folder: Path, public_key: PublicKey) -> list[str]:
    """Check the signature of a release.

    Args:
        folder: The release.
        public_key: Whose it should be.

    Returns:
        One sentence if it is not signed by that key; nothing if it is.

    Raises:
        ConfigError: If the file of the signature cannot be read, or cryptography is not installed.
    """
    path = within(folder, SIGNATURE_NAME)
    if not path.is_file():
        return [f"{path}: the file is missing, the release is not signed"]
    lines = [*read_text(path).split("\n"), "", "", "", ""][:4]
    head, proof = (_decoded(line, where=str(path)) for line in (lines[1], lines[3]))
    algorithm, key_id, signature = head[:2], head[2:10], head[10:]
    if algorithm not in (_PLAIN, _PREHASHED) or not lines[2].startswith(_COMMENT):
        raise ConfigError(f"{path} is no signature of minisign")
    if key_id != public_key.key_id:
        return [f"{path}: another key has signed the release"]
    message = within(folder, SUMS_NAME).read_bytes()
    if algorithm == _PREHASHED:
        message = hashlib.blake2b(message).digest()
    comment = signature + lines[2].removeprefix(_COMMENT).encode()
    if _is_signed(signature, message, public_key) and _is_signed(proof, comment, public_key):
        return []
    return [f"{path}: the signature is not that of {SUMS_NAME}"]


def _is_signed(signature: bytes, message: bytes, public_key: PublicKey) -> bool:
    ed25519 = import_extra("cryptography.hazmat.primitives.asymmetric.ed25519", name="cryptography")
    exceptions = import_extra("cryptography.exceptions", name="cryptography")
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(public_key.key).verify(signature, message)
    except exceptions.InvalidSignature:
        return False
    return True


def _decoded(line: str, *, where: str) -> bytes:
    try:
        return base64.b64decode(line.strip(), validate=True)
    except ValueError as error:
        raise ConfigError(f"{where} is no base64: {error}") from error
