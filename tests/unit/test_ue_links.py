"""UEs that two sites hear on flat ground: whose links they are, and in which frame."""

import dataclasses

import numpy as np
import pytest
from two_sites import EAST, UE_M, WEST, in_frames_of, links_at_sites

from raymark.benchmark import UeLinks
from raymark.benchmark.measurements import concatenate


def test_links_are_put_together_by_their_ue_when_sites_have_some_of_them() -> None:
    links = links_at_sites().take(np.array([5, 0, 1, 3]))

    ues = UeLinks.of(links)

    assert ues.row.tolist() == [[-1, 0], [1, 3], [2, -1]]
    assert ues.first_row.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(ues.by_site(links.site_index + 1.0), [[0, 2], [1, 2], [1, 0]])
    np.testing.assert_array_equal(ues.by_link(np.array([7, 8, 9])), [7, 8, 9, 8])


def test_mask_is_false_when_a_site_has_no_path_or_no_link() -> None:
    links = links_at_sites(deaf=((0, 0), (2, 0), (2, 1)))

    assert UeLinks.of(links).is_heard.tolist() == [[False, True], [True, True], [False, False]]
    some = UeLinks.of(links.take(np.array([0, 1, 2, 3])))
    assert some.is_heard.tolist() == [[False, True], [True, False], [False, False]]


def test_positions_and_covariances_are_turned_and_shifted_when_frames_change() -> None:
    links = links_at_sites()
    ues = UeLinks.of(links)
    local_m = in_frames_of(links, UE_M)
    # Along each site's x axis, which is north for the one and west for the other.
    along_m2 = np.tile(np.diag([4.0, 1.0]), (6, 1, 1))

    # Seen from (10, 20), which looks north, (13, 24) lies 4 m ahead and 3 m to the right.
    np.testing.assert_allclose(local_m[0], [4.0, -3.0], atol=1e-12)
    np.testing.assert_allclose(ues.common_positions(local_m), np.tile(UE_M, (2, 1)), atol=1e-12)
    np.testing.assert_allclose(ues.positions_of_links(UE_M), local_m, atol=1e-12)
    turned_m2 = ues.common_covariances(along_m2)
    np.testing.assert_allclose(turned_m2[:3], np.tile(np.diag([1.0, 4.0]), (3, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(turned_m2[3:], np.tile(np.diag([4.0, 1.0]), (3, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(
        ues.covariances_of_links(np.tile(np.diag([1.0, 4.0]), (3, 1, 1)))[:3],
        along_m2[:3],
        atol=1e-12,
    )


def test_paths_point_to_the_ue_in_the_frame_of_the_scene_when_they_are_direct() -> None:
    ues = UeLinks.of(links_at_sites(deaf=((1, 1),)))

    azimuth_rad = ues.by_site(ues.path_azimuth_rad)[..., 0]
    for site, pose in enumerate((WEST, EAST)):
        offset_m = UE_M - pose[:2]
        expected = np.arctan2(offset_m[:, 1], offset_m[:, 0])
        expected[1] *= site == 0  # nothing is heard of UE 1 in the east
        np.testing.assert_allclose(azimuth_rad[:, site], expected, atol=1e-6)


def test_each_link_is_a_ue_in_its_own_frame_when_links_stand_alone() -> None:
    links = dataclasses.replace(links_at_sites(), ue=None)
    ues = UeLinks.of(links)
    local_m = in_frames_of(links, UE_M)

    assert ues.row.tolist() == [[0], [1], [2], [3], [4], [5]]
    np.testing.assert_array_equal(ues.common_positions(local_m), local_m)
    np.testing.assert_array_equal(ues.path_azimuth_rad, links.path_azimuth_rad)


def test_ues_stay_apart_when_measurements_are_joined() -> None:
    one = links_at_sites()

    joined = concatenate([one, one])

    assert joined.ue is not None
    assert joined.ue.tolist() == [0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5]
    assert concatenate([one, dataclasses.replace(one, ue=None)]).ue is None


@pytest.mark.parametrize("num_links", [0, 1])
def test_empty_and_single_have_their_shapes_when_asked(num_links: int) -> None:
    ues = UeLinks.of(links_at_sites().take(np.arange(num_links)))

    assert ues.row.shape == ues.is_heard.shape == (num_links, 2)
    assert ues.positions_of_links(np.zeros((num_links, 2))).shape == (num_links, 2)
