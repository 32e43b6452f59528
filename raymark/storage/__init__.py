"""Where files lie, here or in object storage, and how they appear there: whole, or not at all."""

from raymark.storage.places import (
    as_folder,
    file_sha256,
    forget_copies,
    is_remote,
    local_copy,
    remove_tree,
    require_local,
    total_size_bytes,
    write_text,
    writing,
)

__all__ = [
    "as_folder",
    "file_sha256",
    "forget_copies",
    "is_remote",
    "local_copy",
    "remove_tree",
    "require_local",
    "total_size_bytes",
    "write_text",
    "writing",
]
