"""Earlier uses of a dataset, counted in the attempt ledger, for the audit of independence (HYG-006)."""

from __future__ import annotations

from medgan_qa.audits.history import History
from medgan_qa.evidence.ledger import Ledger


def history_of(ledger: Ledger, data_digest: str, name: str) -> History:
    """What a ledger shows of earlier runs on these data; nothing where there is no ledger yet.

    Args:
        ledger: the attempt ledger of the run that is about to be made.
        data_digest: `Cohort.digest()` of its data.
        name: `Cohort.name`.

    Raises:
        IntegrityError: the ledger is not sound.
        OutputError: it cannot be read.
    """
    lines = ledger.check()
    same = [line for line in lines if line.data_digest == data_digest]
    return History(
        runs=len(same),
        days=tuple(line.time_utc[:10] for line in same),
        models=len({line.model_sha256 for line in same}),
        same_name=sum(line.data == name and line.data_digest != data_digest for line in lines),
    )
