"""The audits, one a file, and the table of their codes.

The table is evidence itself: closed, ordered, and a code is never used again for another question.
"""

from __future__ import annotations

from medgan_qa.audits.catalogue import HEADINGS, Audit, Findings
from medgan_qa.audits.contrast_recovery import contrast_recovery
from medgan_qa.audits.invented_pathology import invented_pathology
from medgan_qa.audits.paired_fidelity import paired_fidelity
from medgan_qa.audits.removed_pathology import removed_pathology
from medgan_qa.audits.translation import NotFiniteError, TranslationRun

AUDITS: dict[str, Audit] = {
    audit.code: audit
    for audit in (
        Audit("PAT-001", "Removed pathology", removed_pathology),
        Audit("PAT-002", "Invented pathology", invented_pathology),
        Audit("PAT-003", "Lesion contrast recovery", contrast_recovery),
        Audit("FID-010", "Paired image fidelity", paired_fidelity),
    )
}

__all__ = ["AUDITS", "HEADINGS", "Audit", "Findings", "NotFiniteError", "TranslationRun"]
