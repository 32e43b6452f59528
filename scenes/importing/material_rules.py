"""Which ITU-R P.2040 material walls, roofs and ground are made of, by rules in YAML."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from raymark.config import Strict, nearest, read_yaml, validate
from raymark.errors import ConfigError
from raymark.radio.p2040 import ITU_MATERIALS
from raymark.scenes.materials import check_material

DEFAULT_RULES = Path(__file__).with_name("material_rules.yaml")


def _known(name: str) -> str:
    if name not in ITU_MATERIALS:
        raise ValueError(f"no such ITU-R P.2040 material{nearest(name, list(ITU_MATERIALS))}")
    return name


Material = Annotated[str, AfterValidator(_known)]


class DefaultMaterials(Strict):
    """Materials of a building that no rule matches."""

    walls: Material = Field(description="ITU-R P.2040 name")
    roofs: Material = Field(description="ITU-R P.2040 name")


class MaterialRule(Strict):
    """Materials of the buildings that have a tag with one of some values."""

    tag: str = Field(min_length=1, description="OpenStreetMap's name of the attribute")
    values: tuple[str, ...] = Field(min_length=1, description="Lower case, _ for each space")
    walls: Material | None = Field(default=None, description="ITU-R P.2040 name")
    roofs: Material | None = Field(default=None, description="ITU-R P.2040 name")

    @model_validator(mode="after")
    def _check(self) -> "MaterialRule":
        if self.walls is None and self.roofs is None:
            raise ValueError("a rule must say what the walls or the roofs are made of")
        odd = [value for value in self.values if _words(value) != [value]]
        if odd:
            raise ValueError(f"value '{odd[0]}' can never match: write it in lower case, _ for ' '")
        return self


class MaterialRules(Strict):
    """All rules; for walls and for roofs, the first one that matches decides."""

    default: DefaultMaterials
    ground: Material = Field(description="ITU-R P.2040 name")
    rules: tuple[MaterialRule, ...] = ()

    @model_validator(mode="after")
    def _check_unique(self) -> "MaterialRules":
        seen: set[tuple[str, str, str]] = set()
        for rule in self.rules:
            for kind in ("walls", "roofs"):
                keys = [(rule.tag, value, kind) for value in rule.values if getattr(rule, kind)]
                again = [key for key in keys if key in seen or keys.count(key) > 1]
                if again:
                    tag, value, _ = again[0]
                    raise ValueError(f"'{tag}={value}' has two rules for {kind}; keep one")
                seen.update(keys)
        return self

    def materials_of(self, tags: Mapping[str, str]) -> tuple[str, str]:
        """Return the materials of the walls and of the roof of a building with these tags.

        Example:
            >>> read_rules().materials_of({"building:material": "Brick; glass"})
            ('brick', 'concrete')
        """
        matches = [rule for rule in self.rules if self._matches(rule, tags)]
        walls = next((rule.walls for rule in matches if rule.walls), self.default.walls)
        roofs = next((rule.roofs for rule in matches if rule.roofs), self.default.roofs)
        return walls, roofs

    def walls_of(self, tags: Mapping[str, str]) -> str | None:
        """Return the material of the walls of the first rule that matches; None if none does."""
        return next((rule.walls for rule in self.rules if self._matches(rule, tags)), None)

    def unknown_materials(self, tags: Mapping[str, str]) -> tuple[str, ...]:
        """Return as `tag=value` the materials that are given but that no rule knows.

        Tags of materials are those that end in "material"; others, such as `building`, may well
        have values without a rule.
        """
        by_tag = {rule.tag for rule in self.rules if rule.tag.endswith("material")}
        matched = {rule.tag for rule in self.rules if self._matches(rule, tags)}
        return tuple(f"{tag}={tags[tag]}" for tag in sorted((by_tag & tags.keys()) - matched))

    def check_at_bands(
        self, carriers_hz: Sequence[float], *, used: Collection[str] | None = None
    ) -> None:
        """Check that the materials are defined at all carriers.

        Args:
            carriers_hz: Carrier frequencies [Hz].
            used: Materials that occur in the scene; all in the rules if None.

        Raises:
            SceneError: If one is not; the place of its first rule is named.
        """
        for place, material in self._places():
            if used is None or material in used:
                for carrier_hz in carriers_hz:
                    check_material(material, carrier_hz, where=f"material rules, {place}")

    def _places(self) -> Iterator[tuple[str, str]]:
        yield "default.walls", self.default.walls
        yield "default.roofs", self.default.roofs
        yield "ground", self.ground
        for i, rule in enumerate(self.rules):
            if rule.walls:
                yield f"rules[{i}].walls", rule.walls
            if rule.roofs:
                yield f"rules[{i}].roofs", rule.roofs

    @staticmethod
    def _matches(rule: MaterialRule, tags: Mapping[str, str]) -> bool:
        return rule.tag in tags and _words(tags[rule.tag])[0] in rule.values


def read_rules(path: Path | None = None) -> MaterialRules:
    """Read rules from a YAML file, or the default ones.

    Raises:
        ConfigError: If it cannot be read, or a key, a value or a material's name is wrong.
    """
    if path is None:
        return validate(MaterialRules, read_yaml(DEFAULT_RULES), where=str(DEFAULT_RULES))
    try:
        return validate(MaterialRules, read_yaml(path), where=str(path))
    except ConfigError as error:
        raise ConfigError(f"--materials: {error}") from error


def _words(value: str) -> list[str]:
    """Split a tag's value at semicolons; the first one is the most important by convention."""
    return [re.sub(r"[\s_]+", "_", word.strip().lower()) for word in value.split(";")]
