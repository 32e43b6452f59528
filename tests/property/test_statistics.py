import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from raymark.benchmark.statistics import _SortedErrors, holm

ROUNDING = 1e-12
"""Relative tolerance: one interpolation, written in two ways."""

probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=20)


@given(
    seed=st.integers(0, 10_000),
    num_points=st.integers(1, 60),
    num_blocks=st.integers(1, 9),
    num_rows=st.integers(1, 12),
    wanted=probabilities,
)
def test_quantiles_equal_numpys_of_the_repeated_sample_when_blocks_are_drawn(
    seed: int, num_points: int, num_blocks: int, num_rows: int, wanted: list[float]
) -> None:
    rng = np.random.default_rng(seed)
    block = np.concatenate([np.arange(num_blocks), rng.integers(num_blocks, size=num_points)])
    error_m = np.round(rng.exponential(10, size=block.size), 1)  # rounded, for ties
    multiplicity = rng.multinomial(num_blocks, np.full(num_blocks, 1 / num_blocks), size=5)

    table = _SortedErrors.build(error_m, block, num_blocks, num_rows)
    found = table.quantiles(multiplicity.astype(np.float64), wanted)

    for i, times in enumerate(multiplicity):
        expected = np.quantile(np.repeat(error_m, times[block]), wanted)
        np.testing.assert_allclose(found[:, i], expected, rtol=ROUNDING)


@given(probabilities)
def test_holm_equals_its_definition_when_hypotheses_are_rejected_step_by_step(
    p_values: list[float],
) -> None:
    """The adjusted value is the least level at which the step-down procedure rejects."""
    m = len(p_values)
    adjusted = holm(np.array(p_values))

    ranked = sorted(range(m), key=lambda i: p_values[i])
    needed = 0.0
    for rank, i in enumerate(ranked):
        needed = max(needed, (m - rank) * p_values[i])
        assert adjusted[i] == min(1.0, needed)


@given(probabilities)
def test_holm_lies_between_raw_and_bonferroni_when_p_values_are_any(p_values: list[float]) -> None:
    raw = np.array(p_values)

    adjusted = holm(raw)

    assert (adjusted >= raw).all()
    assert (adjusted <= np.minimum(1.0, len(raw) * raw)).all()
