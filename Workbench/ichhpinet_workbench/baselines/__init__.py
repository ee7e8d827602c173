"""What the network is compared with: three classic methods, each (volume, foreground, background) -> mask.

foreground, background: (D, H, W) bool, all strokes so far, never overlapping. The mask is (D, H, W) bool; strokes are
always obeyed, and without a foreground stroke it is empty.
"""

from .growcut import grow_from_seeds
from .islands import threshold_islands
from .walker import random_walker

METHODS = {
    "grow_from_seeds": grow_from_seeds,
    "threshold_islands": threshold_islands,
    "random_walker": random_walker,
}

__all__ = ["METHODS", "grow_from_seeds", "random_walker", "threshold_islands"]
