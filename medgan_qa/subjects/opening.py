"""Opening a model that has no card yet, to try it and to write one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medgan_qa.errors import ModelError
from medgan_qa.subjects.card import Card, parse_card, sidecar
from medgan_qa.subjects.dry_run import DryRun, dry_run
from medgan_qa.subjects.file_facts import FileFacts, facts_of
from medgan_qa.subjects.load import choose_device, job_of, source_of
from medgan_qa.subjects.networks import Network
from medgan_qa.subjects.proposal import Proposal, propose
from medgan_qa.subjects.protocols import Subject
from medgan_qa.subjects.sources import Source


@dataclass(frozen=True)
class OpenedModel:
    """A model that can be run, whatever it is for."""

    network: Network
    format: str
    source: Source
    device: str
    parameters: int | None
    sha256: str

    @property
    def card_path(self) -> Path:
        """Where its card belongs."""
        return sidecar(self.source.path)

    def propose(self, size: int, known: dict[str, Any]) -> Proposal:
        """What its card has to say; see `medgan_qa.subjects.proposal.propose`."""
        weights = self.source.path if self.source.kind != "code" else self.source.weights
        return propose(self.network, FileFacts() if weights is None else facts_of(weights), size, known)

    def tried(self, text: str, where: Path, size: int) -> tuple[Card, DryRun]:
        """A card as it will be read, and what the model does by it.

        Raises:
            ModelError: the card is malformed, or does not fit the model.
        """
        card = parse_card(text, where)
        subject = Subject(self.network, card, self.source.path, self.format, self.sha256, self.device, self.parameters)
        return card, dry_run(subject, size)


def open_model(model: str, *, weights: Path | None = None, device: str = "cpu", trust: bool = False) -> OpenedModel:
    """Open a model as `load_subject` does, without a card.

    Args:
        model: a path, `reference:NAME`, or `package.module:build`.
        weights: a file that a team's own code reads.
        device: `cpu`, `cuda` or `auto`.
        trust: run it in this process, without protection from it.

    Raises:
        ModelError: missing, damaged, unsafe or unknown file.
        ConfigurationError: unknown reference name or device.
        MissingDependencyError: a package that it needs is not installed.
        ModelCrashError: opening it took its process down.
    """
    source, device = source_of(model, weights), choose_device(device)
    try:
        digest, size = source.digest(), source.size()
    except OSError as error:
        raise ModelError(
            "The model file cannot be read.",
            expected="a file that may be read",
            found=str(error),
            where=source.path,
            todo="Correct its permissions, or copy it again.",
        ) from error
    if trust:
        return _opened_here(source, device, digest)
    return _opened_apart(source, device, digest, size)


def _opened_here(source: Source, device: str, digest: str) -> OpenedModel:
    from medgan_qa.subjects.reading import read

    named = source.model if source.kind == "code" else str(source.path)
    format_, (network, _, parameters) = read(
        source.kind, named, None if source.weights is None else str(source.weights), device
    )
    return OpenedModel(network, format_, source, device, parameters, digest)


def _opened_apart(source: Source, device: str, digest: str, size: int) -> OpenedModel:
    from medgan_qa.subjects.isolation.limits import limits
    from medgan_qa.subjects.isolation.network import IsolatedNetwork

    network = IsolatedNetwork(job_of(source, device, size), limits(), source.digest, digest)
    return OpenedModel(network, network.format, source, device, network.parameters, digest)
