"""Documents in Markdown, made from templates that stand beside the code which fills them."""

from pathlib import Path

import jinja2


def markdown_templates(folder: Path, *, trim_blocks: bool = True) -> jinja2.Environment:
    """Return the templates of a folder; a value that is not given is an error.

    Args:
        folder: Where they lie.
        trim_blocks: Whether the line break behind a block goes with it.
    """
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=False,  # noqa: S701 - Markdown
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=trim_blocks,
    )
