"""The audits, one a file, and the table of their codes.

The table is evidence itself: closed, ordered, and a code is never used again for another question.
"""

from __future__ import annotations

from typing import Any

from medgan_qa.audits.catalogue import HEADINGS, Audit, Findings
from medgan_qa.audits.collapse import collapse
from medgan_qa.audits.contrast_recovery import contrast_recovery
from medgan_qa.audits.copied_patients import copied_patients
from medgan_qa.audits.invented_pathology import invented_pathology
from medgan_qa.audits.local_copies import local_copies
from medgan_qa.audits.lost_modes import lost_modes
from medgan_qa.audits.measured_anatomy import measured_anatomy
from medgan_qa.audits.membership import membership
from medgan_qa.audits.mode_coverage import mode_coverage
from medgan_qa.audits.mode_weights import mode_weights
from medgan_qa.audits.paired_fidelity import paired_fidelity
from medgan_qa.audits.realism import realism
from medgan_qa.audits.removed_pathology import removed_pathology
from medgan_qa.audits.run import NotFiniteError, Run
from medgan_qa.audits.synthesis import SynthesisRun
from medgan_qa.audits.systematic_closeness import systematic_closeness
from medgan_qa.audits.technical_faults import technical_faults
from medgan_qa.audits.translation import TranslationRun

AUDITS: dict[str, Audit] = {
    audit.code: audit
    for audit in (
        Audit("PAT-001", "Removed pathology", removed_pathology),
        Audit("PAT-002", "Invented pathology", invented_pathology),
        Audit("PAT-003", "Lesion contrast recovery", contrast_recovery),
        Audit("FID-010", "Paired image fidelity", paired_fidelity),
        Audit("FID-001", "Realism of the distribution", realism, flattered=True),
        Audit("FID-002", "Technical faults", technical_faults),
        Audit("ANA-001", "Measured anatomy", measured_anatomy),
        Audit("COV-001", "Coverage of the population", mode_coverage, flattered=True),
        Audit("COV-002", "Lost modes and subgroups", lost_modes, flattered=True),
        Audit("COV-003", "Collapse", collapse, flattered=True),
        Audit("COV-004", "Weights of modes", mode_weights, flattered=True),
        Audit("MEM-001", "Copies of training patients", copied_patients),
        Audit("MEM-002", "Systematic closeness to training patients", systematic_closeness),
        Audit("MEM-003", "Local copies", local_copies),
        Audit("MEM-004", "Membership inference", membership),
    )
}

RUNS: dict[str, type[Any]] = {"translation": TranslationRun, "synthesis": SynthesisRun}
"""What the audits of a suite share, by the task that the suite is for."""

__all__ = ["AUDITS", "HEADINGS", "RUNS", "Audit", "Findings", "NotFiniteError", "Run", "SynthesisRun", "TranslationRun"]
