"""The naive comparisons find contraction in a policy that has none; the fair one does not."""

import numpy as np
import pytest

from actre.entropy import naive
from actre.entropy.known_truth import KINDS


@pytest.mark.parametrize("k", [4, 8, 32])
def test_both_naive_looks_find_contraction_where_the_orders_choose_alike(k: int) -> None:
    found = naive.scripted_comparisons("decisive", k=k)
    assert found.truth == 0
    assert found.conditional.low > 1
    assert found.plugin.low > 0
    assert found.fair.interval.low <= 0 <= found.fair.interval.high
    assert found.fair.verdict in ("inconclusive", "equivalent")


def test_the_plugins_mistake_fades_with_more_thoughts_and_the_conditionals_stays() -> None:
    few, many = naive.scripted_comparisons(k=4), naive.scripted_comparisons(k=64)
    assert many.plugin.value < few.plugin.value / 3
    assert many.conditional.value == pytest.approx(few.conditional.value, abs=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_conditional_look_finds_what_the_thoughts_decide(kind: naive.Kind) -> None:
    from actre.entropy.known_truth import Population

    truth = np.mean([table.information for table in Population(30, kind).tables])
    found = naive.scripted_comparisons(kind, k=16, games=200)
    assert found.conditional.value == pytest.approx(truth, abs=0.1)


def test_the_comparisons_of_a_diagnosis_agree_with_its_own_verdict_and_means() -> None:
    from fake_run import fake_diagnosis

    diagnosis = fake_diagnosis()
    found = naive.diagnosis_comparisons(diagnosis)
    assert found.fair == diagnosis.contraction
    means = diagnosis.summary
    assert found.conditional.value == pytest.approx(means["act_first"].value - means["conditional"].value)
    assert found.plugin.value == pytest.approx(means["act_first"].value - means["think_first_lower"].value)
    assert found.truth is None
    assert found.k == diagnosis.settings.thoughts
