"""A model that has seen the test links before is not scored."""

from pathlib import Path

import pandas as pd
import pytest

from raymark.benchmark.pretraining import (
    PretrainingData,
    refuse_suites_dataset,
    refuse_test_links,
)
from raymark.benchmark.store import RunFolder
from raymark.dataset import Dataset, open_dataset
from raymark.dataset.subset import Cut, cut_dataset
from raymark.errors import ScoringError

HASH = "0" * 64


@pytest.fixture
def truths(benchmark_run: RunFolder) -> list[pd.DataFrame]:
    return [benchmark_run.truth(task) for task in benchmark_run.info().suite.tasks()]


def stated(dataset: Dataset) -> PretrainingData:
    return PretrainingData(name="theirs", content_hash=dataset.manifest.content_hash)


def test_dataset_of_the_suite_is_refused_when_it_is_stated() -> None:
    other = PretrainingData(name="elsewhere", source="https://example.org")

    refuse_suites_dataset([other], HASH)
    with pytest.raises(ScoringError, match=r"'same' is the dataset of the suite \(000000000000\),"):
        refuse_suites_dataset([other, PretrainingData(name="same", content_hash=HASH)], HASH)


def test_part_of_the_suites_dataset_is_refused_though_its_hash_is_another(
    benchmark_dataset: Dataset, truths: list[pd.DataFrame], tmp_path: Path
) -> None:
    cut_dataset(benchmark_dataset, tmp_path / "part", Cut(scenes=("yard",), bands=("28GHz",)))
    part = open_dataset(tmp_path / "part")
    assert part.manifest.content_hash != benchmark_dataset.manifest.content_hash
    num_places = len(pd.concat(truths).drop_duplicates(["x_m", "y_m"]))

    with pytest.raises(ScoringError, match=rf"holds {num_places} of {num_places} tested places"):
        refuse_test_links([stated(part)], [part], truths)


def test_other_places_are_no_test_links(
    two_site_dataset: Dataset, truths: list[pd.DataFrame]
) -> None:
    refuse_test_links([stated(two_site_dataset)], [two_site_dataset], truths)


def test_dataset_is_refused_when_it_is_not_stated(
    two_site_dataset: Dataset, truths: list[pd.DataFrame]
) -> None:
    with pytest.raises(ScoringError, match="is not among the pretraining data"):
        refuse_test_links([PretrainingData(name="other")], [two_site_dataset], truths)


def test_title_has_the_beginning_of_the_hash() -> None:
    assert PretrainingData(name="a", content_hash=HASH).title == "a (000000000000)"
    assert PretrainingData(name="b").title == "b"
