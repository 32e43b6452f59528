"""What `scenes check` says of scenes whose faults are known."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from raymark.generator.scene_check import SceneFinding, check_scene
from raymark.radio import parse_bands
from raymark.scenes import get_scene

SITE = {"name": "bs0", "position_m": [0.0, 0.0, 10.0], "azimuth_deg": 0.0}
Meshes = dict[str, tuple[trimesh.Trimesh, str]]


def ground(half_m: float = 150.0) -> trimesh.Trimesh:
    corners = [
        (-half_m, -half_m, 0),
        (half_m, -half_m, 0),
        (half_m, half_m, 0),
        (-half_m, half_m, 0),
    ]
    return trimesh.Trimesh(vertices=corners, faces=[[0, 1, 2], [0, 2, 3]], process=False)


def house(x: float = 30.0) -> trimesh.Trimesh:
    return trimesh.creation.box(bounds=[[x, -10, 0], [x + 10, 10, 20]])


@pytest.fixture
def findings(write_scene: Callable[..., Path]) -> Callable[..., dict[str, list[SceneFinding]]]:
    def check(
        meshes: Meshes, *, sites: list[dict[str, Any]] | None = None, bands: str | None = None
    ) -> dict[str, list[SceneFinding]]:
        folder = write_scene("checked", meshes, [SITE] if sites is None else sites)
        found = check_scene(get_scene(str(folder)), parse_bands(bands) if bands else None)
        return {f.subject: [g for g in found if g.subject == f.subject] for f in found}

    return check


def test_everything_is_ok_when_houses_are_closed_boxes(findings: Callable[..., Any]) -> None:
    found = findings({"ground": (ground(), "concrete"), "houses": (house(), "brick")})

    levels = {finding.level for subject in found.values() for finding in subject}
    # Brick ends at 40 GHz: all named bands lie below.
    assert levels == {"ok"}
    assert found["buildings"][0].text == "closed, normals outwards, 4,000 m3"
    # Floor and ground are one plane.
    assert "14 triangles in 2 meshes, 6 planes, 12 diffracting edges" in found["triangles"][0].text
    assert "100% LOS" not in found["site bs0"][0].text


def test_all_is_in_sight_when_nothing_stands_on_the_ground(
    findings: Callable[..., Any],
) -> None:
    found = findings({"ground": (ground(), "concrete")})

    assert "100% LOS, 0% NLOS, 0% outage" in found["site bs0"][0].text
    assert "0 diffracting edges" in found["triangles"][0].text


def without_roof() -> trimesh.Trimesh:
    box = house()
    return trimesh.Trimesh(box.vertices, box.faces[box.face_normals[:, 2] < 0.9], process=False)


def turned() -> trimesh.Trimesh:
    box = house()
    return trimesh.Trimesh(box.vertices, box.faces[:, ::-1], process=False)


def doubled() -> trimesh.Trimesh:
    box = house()
    return trimesh.Trimesh(box.vertices, np.concatenate([box.faces, box.faces]), process=False)


def with_needle() -> trimesh.Trimesh:
    box = house()
    return trimesh.Trimesh(box.vertices, np.concatenate([box.faces, [[0, 1, 1]]]), process=False)


@pytest.mark.parametrize(
    ("mesh", "subject", "level", "text"),
    [
        (without_roof(), "buildings", "note", "their surface is open"),
        (without_roof(), "edges", "note", "1 of 1 meshes are open by themselves"),
        (turned(), "buildings", "FAIL", "turned inside out"),
        (doubled(), "triangles", "note", "12 triangles in the same place"),
        (with_needle(), "triangles", "note", "1 triangle without area"),
    ],
    ids=["open", "edges", "turned", "doubled", "needle"],
)
def test_finding_names_the_fault_when_a_mesh_has_one(
    mesh: trimesh.Trimesh, subject: str, level: str, text: str, findings: Callable[..., Any]
) -> None:
    found = findings({"ground": (ground(), "concrete"), "houses": (mesh, "concrete")})

    assert any(f.level == level and text in f.text for f in found[subject]), found[subject]


@pytest.mark.parametrize(
    ("change", "subject", "text"),
    [
        ({"bands": "45GHz"}, "materials", "material 'brick' is defined for 1-40 GHz"),
        (
            {"sites": [{**SITE, "position_m": [35.0, 0.0, 10.0]}]},
            "site bs0",
            "inside a building, a surface lies 10.0 m above it",
        ),
        ({"sites": [{**SITE, "position_m": [900.0, 0.0, 10.0]}]}, "site bs0", "outside the scene"),
    ],
    ids=["band", "inside", "outside"],
)
def test_check_fails_when_no_dataset_can_be_made(
    change: dict[str, Any], subject: str, text: str, findings: Callable[..., Any]
) -> None:
    found = findings({"ground": (ground(), "concrete"), "houses": (house(), "brick")}, **change)

    assert any(f.level == "FAIL" and text in f.text for f in found[subject]), found[subject]


@pytest.mark.parametrize(
    ("scale", "text"),
    [(0.001, "20 m to 20 km was expected"), (100.0, "20 m to 20 km was expected")],
)
def test_check_fails_when_units_are_wrong(
    scale: float, text: str, findings: Callable[..., Any]
) -> None:
    meshes = {"ground": ground(), "houses": house()}
    for mesh in meshes.values():
        mesh.apply_scale(scale)

    found = findings({name: (mesh, "concrete") for name, mesh in meshes.items()}, sites=[])

    assert found["size"][0].level == "FAIL"
    assert text in found["size"][0].text


def test_check_fails_when_there_is_no_ground(findings: Callable[..., Any]) -> None:
    boxes = {f"house_{x}": (house(x), "concrete") for x in (-80.0, 30.0)}

    found = findings(boxes, sites=[])

    assert [f.level for f in found["ground"]] == ["FAIL"]
    assert "add-site" in found["sites"][0].text


def test_check_fails_when_a_mesh_is_missing(write_scene: Callable[..., Path]) -> None:
    folder = write_scene("checked", {"ground": (ground(), "concrete")}, [SITE])
    (folder / "meshes" / "ground.ply").unlink()

    (found,) = check_scene(get_scene(str(folder)))

    assert (found.level, found.subject) == ("FAIL", "geometry")
    assert "ground.ply" in found.text
