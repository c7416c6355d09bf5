"""Intervals, resampling by patient, and correction for multiplicity. numpy and scipy only."""

from __future__ import annotations

from medgan_qa.stats.half_sampling import (
    FEWEST_CLUSTERS,
    ResampledInterval,
    draw_halves,
    half_sample_interval,
    half_sample_share,
)
from medgan_qa.stats.multiplicity import HolmStep, holm
from medgan_qa.stats.paired import (
    Ends,
    PairedDifference,
    independent_difference,
    paired_mean,
    paired_median,
    paired_share,
    required_pairs,
)
from medgan_qa.stats.proportions import ClusteredProportion, clopper_pearson, clustered_proportion, required_n, wilson
from medgan_qa.stats.repetition import RepeatedTesting, repeated_testing
from medgan_qa.stats.resampling import BootstrapInterval, MedianInterval, cluster_bootstrap, cluster_median

__all__ = [
    "FEWEST_CLUSTERS",
    "BootstrapInterval",
    "ClusteredProportion",
    "Ends",
    "HolmStep",
    "MedianInterval",
    "PairedDifference",
    "RepeatedTesting",
    "ResampledInterval",
    "clopper_pearson",
    "cluster_bootstrap",
    "cluster_median",
    "clustered_proportion",
    "draw_halves",
    "half_sample_interval",
    "half_sample_share",
    "holm",
    "independent_difference",
    "paired_mean",
    "paired_median",
    "paired_share",
    "repeated_testing",
    "required_n",
    "required_pairs",
    "wilson",
]
