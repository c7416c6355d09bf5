"""medgan-qa: validation evidence for generative models in medical imaging.

Kept free of imports so that `medgan-qa --help` answers at once.
"""

__version__ = "0.1.0"
