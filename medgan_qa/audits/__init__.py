"""The audits, one a file, and the table of their codes.

The table is evidence itself: closed, ordered, and a code is never used again for another question.
"""

from __future__ import annotations

from typing import Any

from medgan_qa.audits.altered_structure import altered_structure
from medgan_qa.audits.augmentation import AugmentationRun
from medgan_qa.audits.augmented_images import augmented_images
from medgan_qa.audits.biased_quantity import biased_quantity
from medgan_qa.audits.catalogue import HEADINGS, Audit, Findings
from medgan_qa.audits.classification import ClassificationRun
from medgan_qa.audits.collapse import collapse
from medgan_qa.audits.contrast_recovery import contrast_recovery
from medgan_qa.audits.copied_patients import copied_patients
from medgan_qa.audits.data_inconsistency import data_inconsistency
from medgan_qa.audits.dependent_partitions import dependent_partitions
from medgan_qa.audits.detection_limit import detection_limit
from medgan_qa.audits.discrimination import discrimination
from medgan_qa.audits.displaced_anatomy import displaced_anatomy
from medgan_qa.audits.downstream_segmentation import downstream_segmentation
from medgan_qa.audits.expert_validation import expert_validation
from medgan_qa.audits.foreign_input import foreign_input
from medgan_qa.audits.frequency_fidelity import frequency_fidelity
from medgan_qa.audits.generated_images import generated_images
from medgan_qa.audits.hidden_cycle import hidden_cycle
from medgan_qa.audits.intensity_error import intensity_error
from medgan_qa.audits.invented_pathology import invented_pathology
from medgan_qa.audits.label_faithfulness import label_faithfulness
from medgan_qa.audits.leaked_augmentation import leaked_augmentation
from medgan_qa.audits.leaked_images import leaked_images
from medgan_qa.audits.local_copies import local_copies
from medgan_qa.audits.lost_modes import lost_modes
from medgan_qa.audits.measured_anatomy import measured_anatomy
from medgan_qa.audits.membership import membership
from medgan_qa.audits.miscalibration import miscalibration
from medgan_qa.audits.mode_coverage import mode_coverage
from medgan_qa.audits.mode_weights import mode_weights
from medgan_qa.audits.net_benefit import net_benefit
from medgan_qa.audits.paired_fidelity import paired_fidelity
from medgan_qa.audits.real_fake_score import real_fake_score
from medgan_qa.audits.realism import realism
from medgan_qa.audits.removed_pathology import removed_pathology
from medgan_qa.audits.run import NotFiniteError, Run
from medgan_qa.audits.shortcut import shortcut
from medgan_qa.audits.super_resolution import SuperResolutionRun
from medgan_qa.audits.suspicious_patches import suspicious_patches
from medgan_qa.audits.synthesis import SynthesisRun
from medgan_qa.audits.systematic_closeness import systematic_closeness
from medgan_qa.audits.technical_faults import technical_faults
from medgan_qa.audits.training_utility import training_utility
from medgan_qa.audits.translation import TranslationRun
from medgan_qa.audits.uneven_calls import uneven_calls
from medgan_qa.audits.uneven_translation import uneven_translation
from medgan_qa.audits.unrepeatable_output import unrepeatable_output
from medgan_qa.audits.unseen_invention import unseen_invention
from medgan_qa.audits.unstable_call import unstable_call
from medgan_qa.audits.unstable_loading import unstable_loading
from medgan_qa.audits.unstable_output import unstable_output

AUDITS: dict[str, Audit] = {
    audit.code: audit
    for audit in (
        Audit(
            "PAT-001",
            "Removed pathology",
            removed_pathology,
            measures=(
                "removal_rate",
                "weakened_rate",
                "not_read_in_reference",
                "detector_sensitivity",
                "detector_false_alarm_rate",
            ),
        ),
        Audit(
            "PAT-002",
            "Invented pathology",
            invented_pathology,
            measures=("invention_rate", "invented_beside_lesions", "detector_sensitivity", "detector_false_alarm_rate"),
        ),
        Audit(
            "PAT-003",
            "Lesion contrast recovery",
            contrast_recovery,
            measures=("contrast_recovery", "inverted_rate", "flat_rate", "weak_rate", "not_divisible"),
        ),
        Audit(
            "FID-010",
            "Paired image fidelity",
            paired_fidelity,
            measures=("mae_body", "psnr_body", "ssim_body", "lpips", "mae_lesion", "psnr_lesion", "ssim_lesion"),
        ),
        Audit(
            "PAT-004",
            "Suspicious patches",
            suspicious_patches,
            measures=("flagged_share", "false_alarm_rate", "removal_seen", "attenuation_seen", "patches_left_out"),
        ),
        Audit(
            "PAT-005",
            "Detection limit",
            detection_limit,
            measures=("removal_power", "insertion_power", "attenuation_power", "displacement_power"),
        ),
        Audit(
            "GEO-001",
            "Displaced anatomy",
            displaced_anatomy,
            measures=(
                "misplaced_rate",
                "displaced_rate",
                "flipped_rate",
                "wrapped_rate",
                "scaled_rate",
                "not_placed_rate",
                "displacement_mm",
                "scale_error",
                "lesion_shift_mm",
                "orientation_not_readable",
                "unusable_pairs",
            ),
        ),
        Audit(
            "GEO-002",
            "Altered structure",
            altered_structure,
            measures=(
                "deformed_rate",
                "deformation_mm",
                "reshaped_rate",
                "outline_change",
                "lesion_area_ratio",
                "not_outlined",
                "boundary_distance_mm",
                "boundary_hd95_mm",
                "boundary_f_score",
                "boundary_loss",
            ),
        ),
        Audit(
            "INT-001",
            "Intensity error",
            intensity_error,
            measures=("slope", "offset", "correlation", "within_tolerance", "bias", "absolute_error", "spread"),
        ),
        Audit(
            "INT-002",
            "Bias of measured quantities",
            biased_quantity,
            measures=("bias", "limit_low", "limit_high", "proportional_slope", "relative_bias", "relative_error"),
        ),
        Audit(
            "CYC-001",
            "Cycle honesty",
            hidden_cycle,
            measures=(
                "error_ratio",
                "cycle_error",
                "returned_lesion_rate",
                "returned_detail_rate",
                "swap_transfer",
                "high_band_ratio",
            ),
        ),
        Audit(
            "ROB-001",
            "Unrepeatable output",
            unrepeatable_output,
            measures=("changed_rate", "largest_difference", "typical_difference", "status_change_rate"),
        ),
        Audit(
            "ROB-002",
            "Unstable output",
            unstable_output,
            measures=(
                "gain",
                "lesion_gain",
                "high_gain_rate",
                "lost_under_perturbation",
                "detector_lost_under_perturbation",
                "refused_rate",
            ),
        ),
        Audit(
            "ROB-003",
            "Foreign input",
            foreign_input,
            measures=(
                "refused_rate",
                "guard_detection_rate",
                "output_distance",
                "invented_tissue_share",
                "invented_lesion_rate",
                "normal_tissue_share",
                "guard_false_alarm_rate",
            ),
        ),
        Audit(
            "COV-010",
            "Coverage of the target domain and of groups",
            uneven_translation,
            measures=(
                "clipped_coverage",
                "clipped_density",
                "coverage",
                "density",
                "uneven_attributes",
                "removal_gap",
                "removal_p",
                "removal_rate",
                "invention_gap",
                "invention_p",
                "invention_rate",
            ),
        ),
        Audit(
            "FID-001",
            "Realism of the distribution",
            realism,
            flattered=True,
            measures=(
                "frechet_distance",
                "frechet_ratio",
                "frechet_distance_infinity",
                "kernel_distance_polynomial",
                "kernel_distance_rbf",
                "sliced_wasserstein",
            ),
        ),
        Audit(
            "FID-002",
            "Technical faults",
            technical_faults,
            measures=("gross_failure_rate", "fault_rate", "checkerboard_excess", "high_band_ratio"),
        ),
        Audit("ANA-001", "Measured anatomy", measured_anatomy, measures=("out_of_range_rate", "ks", "wasserstein")),
        Audit(
            "COV-001",
            "Coverage of the population",
            mode_coverage,
            flattered=True,
            measures=("clipped_coverage", "clipped_density", "coverage", "density", "recall", "precision"),
        ),
        Audit(
            "COV-002",
            "Lost modes and subgroups",
            lost_modes,
            flattered=True,
            measures=("lost_groups", "lost_modes", "unreadable_groups", "smallest_detectable", "share_ratio"),
        ),
        Audit(
            "COV-003",
            "Collapse",
            collapse,
            flattered=True,
            measures=(
                "near_identical_rate",
                "near_identical_pairs",
                "support",
                "vendi",
                "vendi_ratio",
                "ms_ssim",
                "ms_ssim_excess",
            ),
        ),
        Audit(
            "COV-004",
            "Weights of modes",
            mode_weights,
            flattered=True,
            measures=("misplaced_share", "different_modes", "jensen_shannon"),
        ),
        Audit(
            "MEM-001",
            "Copies of training patients",
            copied_patients,
            measures=("copy_rate", "copied_patients", "excess_p", "flagged_held_out"),
        ),
        Audit(
            "MEM-002",
            "Systematic closeness to training patients",
            systematic_closeness,
            measures=("train_share", "exact_p", "data_copying_z"),
        ),
        Audit(
            "MEM-003",
            "Local copies",
            local_copies,
            measures=("local_copy_rate", "flagged_held_out", "whole_copies", "excess_p"),
        ),
        Audit("MEM-004", "Membership inference", membership, measures=("membership_auc", "advantage")),
        Audit(
            "UTL-001",
            "Utility for training",
            training_utility,
            flattered=True,
            measures=("auc", "gain", "shortfall", "gan_train", "gan_test", "gan_base"),
        ),
        Audit("UTL-002", "Label faithfulness", label_faithfulness, measures=("wrong_label_rate", "reader_recall")),
        Audit(
            "UTL-003",
            "Expert validation",
            expert_validation,
            measures=(
                "readers",
                "images_seen",
                "lowest_accepted_rate",
                "accepted_rate",
                "unrealistic_rate",
                "label_wrong_rate",
                "detected_rate",
            ),
        ),
        Audit(
            "CON-001",
            "Data inconsistency",
            data_inconsistency,
            measures=(
                "inconsistent_rate",
                "level_rate",
                "local_rate",
                "contradiction_rate",
                "residual_ratio",
                "residual_db",
                "bias",
                "gain",
                "local_residual",
                "truth_inconsistent_rate",
            ),
        ),
        Audit(
            "CON-002",
            "Unseen invention",
            unseen_invention,
            measures=(
                "invented_object_rate",
                "strongest_object",
                "invented_energy",
                "recovered_share",
                "missing_energy",
                "detail_energy",
                "detail_correlation",
                "unseen_error_share",
                "lesion_excess",
                "output_unseen_energy",
                "false_alarm_rate",
                "planted_seen",
            ),
        ),
        Audit(
            "FID-011",
            "Frequency bands and perception against distortion",
            frequency_fidelity,
            measures=(
                "error_power",
                "invented_power",
                "lost_power",
                "power_ratio",
                "correlation",
                "rmse",
                "psnr",
                "ssim",
                "lpips",
                "sharpness_ratio",
                "sharpness_distance",
                "error_power_difference",
                "correlation_difference",
                "psnr_difference",
                "ssim_difference",
                "lpips_difference",
                "sharpness_distance_difference",
            ),
        ),
        Audit(
            "INT-003",
            "Downstream segmentation",
            downstream_segmentation,
            measures=(
                "dice_gain",
                "dice",
                "unmarked_rate",
                "tissue_dice_gain",
                "tissue_dice",
                "class_dice",
                "area_bias",
                "area_limit_low",
                "area_limit_high",
                "area_relative_bias",
            ),
        ),
        Audit(
            "DIS-001",
            "Discrimination",
            discrimination,
            measures=("auc", "sensitivity", "specificity", "auc_difference"),
        ),
        Audit("DIS-002", "Miscalibration", miscalibration, measures=("slope", "intercept", "ece", "brier")),
        Audit("DIS-003", "Net benefit", net_benefit, measures=("least_gain", "gain")),
        Audit(
            "DIS-004",
            "Uneven calls",
            uneven_calls,
            measures=(
                "uneven_attributes",
                "auc_gap",
                "auc_p",
                "auc",
                "sensitivity_gap",
                "sensitivity_p",
                "sensitivity",
                "specificity_gap",
                "specificity_p",
                "specificity",
            ),
        ),
        Audit(
            "DIS-005",
            "Shortcut",
            shortcut,
            measures=(
                "border_auc",
                "auc_border_covered",
                "auc_air_covered",
                "border_loss",
                "air_loss",
                "surviving_calls",
                "evidence_in_lesion",
                "fields_on_lesion",
            ),
        ),
        Audit(
            "DIS-006",
            "Real or fake score",
            real_fake_score,
            measures=("disease_auc", "quality_correlation", "acquired_auc"),
        ),
        Audit("ROB-004", "Unstable call", unstable_call, measures=("flip_rate", "logit_change")),
        Audit(
            "HYG-001",
            "Training data in the test partition",
            leaked_images,
            measures=(
                "leaked_images",
                "leaked_rate",
                "shared_patients",
                "shared_studies",
                "shared_volumes",
                "adjacent_slices",
                "relabelled_images",
                "leaked_volumes",
                "flagged_in_train",
            ),
        ),
        Audit(
            "HYG-002",
            "Augmentation in the test partition",
            augmented_images,
            measures=(
                "augmented_images",
                "augmented_rate",
                "changed_on_reading",
                "padded_images",
                "smoothed_images",
                "train_duplicates",
            ),
        ),
        Audit(
            "HYG-003",
            "Generated images in the test partition",
            generated_images,
            measures=(
                "generated_images",
                "generated_rate",
                "declared_images",
                "listed_images",
                "train_only_images",
                "near_outputs",
                "fingerprinted_images",
                "fingerprint_recall",
                "fingerprint_false_alarms",
            ),
        ),
        Audit(
            "HYG-004",
            "Augmentation while loading",
            unstable_loading,
            measures=(
                "augmented_on_reading",
                "changed_images",
                "loader_changed_images",
                "loader_altered_images",
                "loader_contrast_images",
                "random_transforms",
                "broken_declarations",
            ),
        ),
        Audit(
            "HYG-005",
            "Augmentation in the samples",
            leaked_augmentation,
            measures=(
                "augmented_rate",
                "turned_rate",
                "moved_rate",
                "altered_rate",
                "cut_out_rate",
                "rotation_probability",
                "reader_recall",
                "false_alarm_rate",
                "undetectable_changes",
            ),
        ),
        Audit(
            "HYG-006",
            "Dependence of the test partition",
            dependent_partitions,
            measures=(
                "violations",
                "unverifiable",
                "shared_patients",
                "shared_studies",
                "shared_volumes",
                "shared_sites",
                "shared_scanners",
                "shared_dates",
                "acquired_early",
                "earlier_runs",
                "imbalanced_properties",
                "imbalance",
                "imbalance_p",
            ),
        ),
    )
}

RUNS: dict[str, type[Any]] = {
    "translation": TranslationRun,
    "synthesis": SynthesisRun,
    "super-resolution": SuperResolutionRun,
    "augmentation": AugmentationRun,
    "discriminator": ClassificationRun,
}
"""What the audits of a suite share, by the suite's name."""

__all__ = ["AUDITS", "HEADINGS", "RUNS", "Audit", "Findings", "NotFiniteError", "Run", "SynthesisRun", "TranslationRun"]
