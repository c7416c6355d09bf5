"""Subject + Cohort + Suite + Criteria -> Record."""

from __future__ import annotations

from medgan_qa.runner.run import RunResult, Setting, run_audit

__all__ = ["RunResult", "Setting", "run_audit"]
