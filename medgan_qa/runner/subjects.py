"""What a reader of the Record has to know about how the models were run."""

from __future__ import annotations

from medgan_qa.subjects.protocols import Subject


def unprotected(subject: Subject, detector: Subject | None) -> list[str]:
    """Deviations: models that ran without protection from them, and models that crashed and were started again."""
    found = []
    for name, model in (("The model", subject), ("The detector", detector)):
        if model is None:
            continue
        if model.trusted:
            found.append(f"{name} was trusted and ran in the process of the audit, without protection (--trust).")
        crashes = model.isolation.get("crashes")
        if crashes:
            times = "once" if crashes == 1 else f"{crashes} times"
            found.append(f"{name} crashed {times}, and was started again where it had answered before.")
    return found
