"""Numbers, durations and names as people read them."""

import math

import pytest

from rltune.reporting import wording as w


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.6131, "0.6131"),
        (3.0, "3"),
        (0.0, "0"),
        (0, "0"),
        (1e-5, "1e-5"),
        (0.00012, "0.00012"),
        (-2.5e-7, "-2.5e-7"),
        (12345.678, "12346"),
        (7.1e10, "7.1e10"),
        (math.nan, "nan"),
        (math.inf, "inf"),
        (None, w.MISSING),
    ],
)
def test_number(value, text):
    assert w.number(value) == text


@pytest.mark.parametrize(
    ("mean", "spread", "text"),
    [
        (0.6553, 0.0213, "0.655 ± 0.021"),
        (0.6553, 0.0996, "0.66 ± 0.10"),
        (12.345, 1.26, "12.3 ± 1.3"),
        (12345.6, 321.0, "12346 ± 321"),
        (2.5e7, 3.2e6, "2.5e+07 ± 3.2e+06"),
        (0.5, math.nan, "0.5"),
        (0.5, 0.0, "0.5 ± 0"),
    ],
)
def test_plus_minus(mean, spread, text):
    assert w.plus_minus(mean, spread) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (5.4e-7, "0 s"),
        (0.0243, "0.024 s"),
        (6.13, "6.1 s"),
        (51.2, "51 s"),
        (59.7, "1 min"),
        (171, "2 min 51 s"),
        (11520, "3 h 12 min"),
        (187200, "2 d 4 h"),
    ],
)
def test_duration(seconds, text):
    assert w.duration(seconds) == text


def test_short_names_stay_distinct():
    assert w.short_names(["policy.optimizer.lr", "critic.optimizer.lr", "policy.kl", "seed"]) == {
        "policy.optimizer.lr": "policy.optimizer.lr",
        "critic.optimizer.lr": "critic.optimizer.lr",
        "policy.kl": "kl",
        "seed": "seed",
    }
    assert w.short_names(["lr", "critic.lr"]) == {"lr": "lr", "critic.lr": "critic.lr"}


def test_sparkline():
    assert w.sparkline([0, 1, 2, 7]) == "▁▂▃█"
    assert w.sparkline([1.0, math.nan, 1.0]) == "▁\N{MULTIPLICATION SIGN}▁"
    assert w.sparkline([math.nan]) == ""
    assert len(w.sparkline(list(range(1000)), 40)) == 40
    assert w.sparkline(list(range(1000)), 40)[-1] == "█"
