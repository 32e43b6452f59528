"""A procedural street canyon of any size, with no third-party geometry."""
