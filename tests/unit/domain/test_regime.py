import pytest

from shared.domain.errors import MalformedData
from shared.domain.regime import Regime, RegimeProbabilities


def test_probabilities_know_their_regime() -> None:
    probabilities = RegimeProbabilities(0.2, 0.3, 0.5)
    assert probabilities.dominant is Regime.STRESS
    assert probabilities.of(Regime.BALANCED) == 0.3
    assert probabilities.as_dict() == {"calm": 0.2, "balanced": 0.3, "stress": 0.5}


@pytest.mark.parametrize("values", [(0.5, 0.5, 0.5), (1.2, -0.2, 0.0), (float("nan"), 0.5, 0.5)])
def test_what_is_no_distribution_is_refused(values: tuple[float, float, float]) -> None:
    with pytest.raises(MalformedData, match="sum to 1"):
        RegimeProbabilities(*values)
