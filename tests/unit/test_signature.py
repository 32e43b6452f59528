"""Signatures of minisign, made here by the format's description."""

import base64
import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from raymark.errors import ConfigError
from raymark.release.signature import (
    SIGNATURE_NAME,
    PublicKey,
    read_public_key,
    signature_faults,
)

KEY_ID = b"\x01\x02\x03\x04\x05\x06\x07\x08"
SECRET = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def public_text(secret: Ed25519PrivateKey = SECRET, key_id: bytes = KEY_ID) -> str:
    return encoded(b"Ed" + key_id + secret.public_key().public_bytes_raw())


def sign(folder: Path, *, algorithm: bytes = b"ED", comment: str = "timestamp:1") -> None:
    message = (folder / "SHA256SUMS").read_bytes()
    if algorithm == b"ED":
        message = hashlib.blake2b(message).digest()
    signature = SECRET.sign(message)
    proof = SECRET.sign(signature + comment.encode())
    lines = ("untrusted comment: x", encoded(algorithm + KEY_ID + signature))
    text = "\n".join([*lines, f"trusted comment: {comment}", encoded(proof), ""])
    (folder / SIGNATURE_NAME).write_text(text, encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "SHA256SUMS").write_text("0  release.json\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def key() -> PublicKey:
    return read_public_key(public_text())


@pytest.mark.parametrize("algorithm", [b"ED", b"Ed"])
def test_signature_is_right_when_the_key_has_made_it(
    folder: Path, key: PublicKey, algorithm: bytes
) -> None:
    sign(folder, algorithm=algorithm)

    assert signature_faults(folder, key) == []


def test_public_key_is_read_from_its_file(folder: Path, key: PublicKey) -> None:
    path = folder / "minisign.pub"
    path.write_text(f"untrusted comment: minisign public key\n{public_text()}\n", encoding="utf-8")

    assert read_public_key(str(path)) == key


def test_fault_is_told_when_the_sums_were_edited(folder: Path, key: PublicKey) -> None:
    sign(folder)
    (folder / "SHA256SUMS").write_text("1  release.json\n", encoding="utf-8")

    (fault,) = signature_faults(folder, key)
    assert "the signature is not that of SHA256SUMS" in fault


def test_fault_is_told_when_the_trusted_comment_was_edited(folder: Path, key: PublicKey) -> None:
    sign(folder)
    path = folder / SIGNATURE_NAME
    path.write_text(path.read_text().replace("timestamp:1", "timestamp:2"), encoding="utf-8")

    (fault,) = signature_faults(folder, key)
    assert "the signature is not that of SHA256SUMS" in fault


def test_fault_is_told_when_there_is_no_signature_or_anothers(folder: Path, key: PublicKey) -> None:
    assert "is not signed" in signature_faults(folder, key)[0]
    sign(folder)
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    for text, message in (
        (public_text(other, bytes(8)), "another key has signed"),
        (public_text(other), "the signature is not that of"),
    ):
        assert message in signature_faults(folder, read_public_key(text))[0]


@pytest.mark.parametrize("text", ["", "RWQ", "x" * 56, encoded(b"ED" + bytes(40)), "ä"])
def test_public_key_is_refused_when_it_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match="public key"):
        read_public_key(text)


@pytest.mark.parametrize("text", ["", "a\nb\nc\nd\n", "a\nQUI=\nc\nQUI=\n"])
def test_signature_is_refused_when_it_is_none(folder: Path, key: PublicKey, text: str) -> None:
    (folder / SIGNATURE_NAME).write_text(text, encoding="utf-8")

    with pytest.raises(ConfigError, match="minisig"):
        signature_faults(folder, key)
