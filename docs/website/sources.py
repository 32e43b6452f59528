"""What griffe does not see in our sources: descriptions of fields, examples, constants."""

import ast
import re
from typing import Any

import griffe


class OurSources(griffe.Extension):
    """Read `Field(description=...)` as a docstring, and `A, B = 1, 2` as two constants."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Let `Example:` be a section as `Examples:` is, whose doctests are code."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(
                r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE
            )

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Take the description, with its unit, of `name: type = Field(..., description=...)`."""
        if attr.docstring is None and isinstance(attr.value, griffe.ExprCall):
            for argument in attr.value.arguments:
                if isinstance(argument, griffe.ExprKeyword) and argument.name == "description":
                    attr.docstring = griffe.Docstring(_text(argument.value), parent=attr)

    def on_node(self, *, node: Any, agent: Any, **_: Any) -> None:
        """Make an attribute of each name that a tuple of values is assigned to."""
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Tuple):
            return
        names = [target.elts for target in node.targets if isinstance(target, ast.Tuple)]
        pairs = [pair for elts in names for pair in zip(elts, node.value.elts, strict=True)]
        for target, value in pairs:
            if isinstance(target, ast.Name):
                shown = griffe.safe_get_expression(value, parent=agent.current)
                attribute = griffe.Attribute(
                    target.id, value=shown, lineno=node.lineno, endlineno=node.end_lineno
                )
                agent.current.set_member(target.id, attribute)


def _text(value: Any) -> str:
    """Return what a literal says; a value that is computed is shown as it is written."""
    try:
        return str(ast.literal_eval(str(value)))
    except (ValueError, SyntaxError):
        return f"`{value}`"
