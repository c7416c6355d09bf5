"""Systems: what a method trains together, and one step of its training."""

from reference_models.systems.base import System
from reference_models.systems.cyclegan import CycleGAN
from reference_models.systems.dcgan import DCGAN
from reference_models.systems.phantom_net import PhantomFacts
from reference_models.systems.pix2pix import Pix2Pix
from reference_models.systems.segmenter import Segmenter

SYSTEMS: dict[str, type[System]] = {
    "cyclegan": CycleGAN,
    "dcgan": DCGAN,
    "phantom-facts": PhantomFacts,
    "pix2pix": Pix2Pix,
    "segmenter": Segmenter,
}

__all__ = ["DCGAN", "SYSTEMS", "CycleGAN", "PhantomFacts", "Pix2Pix", "Segmenter", "System"]
