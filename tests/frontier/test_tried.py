"""The cheapest setting within a budget, on images that choose and on others."""

import numpy as np

from mlcnn.frontier.tried import Tried, cheapest


def _right(count):
    return np.arange(100) < count


def test_the_cheapest_within_the_budget_on_both_parts():
    before = _right(90), _right(90)
    tried = [
        Tried(0.1, 9.0, _right(90), _right(90)),
        Tried(0.2, 7.0, _right(89), _right(88)),
        Tried(0.3, 5.0, _right(87), _right(83)),
        Tried(0.4, 3.0, _right(80), _right(90)),
    ]
    assert cheapest(tried, *before, 0.0).threshold == 0.1
    assert cheapest(tried, *before, 0.03).threshold == 0.2  # 0.3 loses 7 on those that check
    assert cheapest(tried, *before, 0.07).threshold == 0.3
    assert cheapest(tried, *before, 0.2).threshold == 0.4
    assert cheapest(tried[2:3], *before, 0.03) is None
    assert cheapest([], *before, 0.03) is None
