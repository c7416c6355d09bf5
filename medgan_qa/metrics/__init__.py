"""Estimators: arrays in, numbers out. No files, no models, no plots."""

from __future__ import annotations

from medgan_qa.metrics.anatomy import MaskComponents, components_of_mask, measure_all
from medgan_qa.metrics.authenticity import Authenticity, authenticity, authenticity_of
from medgan_qa.metrics.birthday import BirthdayDiversity, birthday_diversity, near_duplicates
from medgan_qa.metrics.body import body_mask
from medgan_qa.metrics.copies import AlignedNeighbors, aligned_neighbors
from medgan_qa.metrics.data_copying import (
    DataCopying,
    TrainingShare,
    data_copying,
    data_copying_of,
    equal_size,
    training_share,
    training_share_of,
)
from medgan_qa.metrics.density_coverage import (
    ClippedDensityCoverage,
    DensityCoverage,
    clipped_density_coverage,
    clipped_density_coverage_of,
    density_coverage,
    density_coverage_of,
    expected_clipped_coverage,
    expected_coverage,
)
from medgan_qa.metrics.distributions import distribution_distance, half_sample_distances
from medgan_qa.metrics.duplicates import duplicate_groups, exact_duplicates, joined_groups
from medgan_qa.metrics.fidelity import mean_absolute_error, psnr, ssim, ssim_map
from medgan_qa.metrics.frechet import frechet_distance, frechet_distance_of, frechet_replicates
from medgan_qa.metrics.frechet_infinity import (
    FrechetExtrapolation,
    frechet_distance_infinity,
    frechet_infinity_replicates,
)
from medgan_qa.metrics.image_faults import image_faults
from medgan_qa.metrics.inception_score import InceptionScore, inception_score, inception_score_replicates
from medgan_qa.metrics.joint_range import GrossFailures, gross_failures
from medgan_qa.metrics.kernel_distance import (
    KernelDistance,
    cmmd,
    kernel_distance,
    kernel_permutation_p,
    kernel_replicates,
    median_bandwidth,
)
from medgan_qa.metrics.lesions import (
    MatchingRule,
    components,
    contrast,
    contrast_noise,
    equivalent_diameter,
    found,
    surround,
    unmatched,
)
from medgan_qa.metrics.local_copies import LocalMatches, local_matches
from medgan_qa.metrics.moments import Moments
from medgan_qa.metrics.ms_ssim import PairSimilarity, ms_ssim, ms_ssim_diversity, ms_ssim_replicates, ms_ssim_scales
from medgan_qa.metrics.ndb import DifferentBins, ndb
from medgan_qa.metrics.neighbor_ratio import neighbor_ratio
from medgan_qa.metrics.neighbours import Neighbourhood, Neighbours, nearest_neighbors, neighbourhood
from medgan_qa.metrics.precision_recall import PrecisionRecall, precision_recall, precision_recall_of
from medgan_qa.metrics.prevalence import Prevalence, attribute_score, prevalence, prevalence_replicates
from medgan_qa.metrics.reference_range import out_of_range, reference_limits
from medgan_qa.metrics.sliced_wasserstein import SlicedWasserstein, sliced_wasserstein, sliced_wasserstein_replicates
from medgan_qa.metrics.spectrum import (
    RadialSpectrum,
    high_band_energy,
    mean_power_spectrum,
    radial_power_spectrum,
    spectral_peaks,
)
from medgan_qa.metrics.vendi import vendi_replicates, vendi_score

__all__ = [
    "AlignedNeighbors",
    "Authenticity",
    "BirthdayDiversity",
    "ClippedDensityCoverage",
    "DataCopying",
    "DensityCoverage",
    "DifferentBins",
    "FrechetExtrapolation",
    "GrossFailures",
    "InceptionScore",
    "KernelDistance",
    "LocalMatches",
    "MaskComponents",
    "MatchingRule",
    "Moments",
    "Neighbourhood",
    "Neighbours",
    "PairSimilarity",
    "PrecisionRecall",
    "Prevalence",
    "RadialSpectrum",
    "SlicedWasserstein",
    "TrainingShare",
    "aligned_neighbors",
    "attribute_score",
    "authenticity",
    "authenticity_of",
    "birthday_diversity",
    "body_mask",
    "clipped_density_coverage",
    "clipped_density_coverage_of",
    "cmmd",
    "components",
    "components_of_mask",
    "contrast",
    "contrast_noise",
    "data_copying",
    "data_copying_of",
    "density_coverage",
    "density_coverage_of",
    "distribution_distance",
    "duplicate_groups",
    "equal_size",
    "equivalent_diameter",
    "exact_duplicates",
    "expected_clipped_coverage",
    "expected_coverage",
    "found",
    "frechet_distance",
    "frechet_distance_infinity",
    "frechet_distance_of",
    "frechet_infinity_replicates",
    "frechet_replicates",
    "gross_failures",
    "half_sample_distances",
    "high_band_energy",
    "image_faults",
    "inception_score",
    "inception_score_replicates",
    "joined_groups",
    "kernel_distance",
    "kernel_permutation_p",
    "kernel_replicates",
    "local_matches",
    "mean_absolute_error",
    "mean_power_spectrum",
    "measure_all",
    "median_bandwidth",
    "ms_ssim",
    "ms_ssim_diversity",
    "ms_ssim_replicates",
    "ms_ssim_scales",
    "ndb",
    "near_duplicates",
    "nearest_neighbors",
    "neighbor_ratio",
    "neighbourhood",
    "out_of_range",
    "precision_recall",
    "precision_recall_of",
    "prevalence",
    "prevalence_replicates",
    "psnr",
    "radial_power_spectrum",
    "reference_limits",
    "sliced_wasserstein",
    "sliced_wasserstein_replicates",
    "spectral_peaks",
    "ssim",
    "ssim_map",
    "surround",
    "training_share",
    "training_share_of",
    "unmatched",
    "vendi_replicates",
    "vendi_score",
]
