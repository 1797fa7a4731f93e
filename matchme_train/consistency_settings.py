"""Fields of the ways to learn that need no labels: PWarpC by known warps, CNNGeoU by cycles.

MatchMe's Table 3 has both with CATs++ and tells nothing of how; the sources are told as in
`recipe`. "Its program" is that of "Probabilistic warp consistency" (Truong et al., CVPR 2022), as
it fine-tunes SFNet on SPair-71k with key points.
"""

from dataclasses import dataclass

from matchme_train.sections import Amplitudes, Noise, Optimiser, Unlabelled
from spairc.lookup import lookup
from spairc.types import BadInput

KINDS = ("homography", "spline", "affine-spline")  # of warps; `known_warps` draws them


@dataclass(frozen=True, kw_only=True)
class Families:
    """Which random warps there are, and how large they may be; each kind is as likely."""

    kinds: tuple[str, ...] = KINDS  # its program
    amplitudes: Amplitudes = Amplitudes(rotation=15.0, axis=15.0, scale=0.45)  # its program
    corner: float = 0.4  # of the half side, each corner under a homography: its program
    flip: float = 0.15  # chance that left and right change places as well: its program

    def __post_init__(self) -> None:
        """Refuse kinds that there are not."""
        if not self.kinds:
            raise BadInput(f"families.kinds is empty; choose from {', '.join(KINDS)}")
        for kind in self.kinds:
            lookup(dict.fromkeys(KINDS), kind, "kind of warp")


@dataclass(frozen=True, kw_only=True)
class WarpConsistency:
    """PWarpC with key points: what a picture's known warp says of matches by way of another.

    Labelled pairs only: its strongly supervised form takes no others, and whether MatchMe's
    Table 3 gave it more is open.
    """

    epochs: int = 40  # its program, each of 15,000 pairs; here, as everywhere, of all pairs
    optimiser: Optimiser = Optimiser(
        # Its program has Adam, 1e-5 throughout; the trunk's rate and AdamW are CATs++'s.
        learning_rate=1e-5,
        milestones=(0.5, 0.875),
        batch_size=16,
    )
    temperature: float = 0.02  # of probabilities: its program's 1 / 50, and CATs++'s soft-argmax
    share: float = 0.2  # of cells, those whose true match is most probable: its program
    balance: bool = True  # direct warp's loss is rescaled to the composed one's: its program
    # The key points' loss is rescaled to the sum of both: its program, which says that a weight of
    # 3 without it is better on SPair-71k and worse elsewhere. Which Table 3 has is open.
    balance_labelled: bool = True
    labelled_weight: float = 1.0  # of the key points' loss where it is not rescaled: 3, see above
    families: Families = Families()
    photometric: str = "cats"  # open: CATs++'s list; its program jitters colours, blurs, greys
    chance: float = 0.2  # of each operation, both pictures: CATs++
    warped_chance: float = 0.4  # on the warped picture: its program makes that noise stronger; open
    crop: float = 0.5  # as CATs++


@dataclass(frozen=True, kw_only=True)
class Cycle:
    """CNNGeoU (Laskar and Kannala, "Semi-supervised semantic matching", ECCV workshops 2018).

    On pairs without labels the way to the other picture and back is to end where it began. Theirs
    was for the transformation that CNNGeo regresses; there is no program, and every number is open.
    """

    epochs: int = 50  # open: as MatchMe's students
    batch_size: int = 32  # pairs without labels a step; open: as many as labelled ones
    weight: float = 1.0  # of the cyclic loss; open
    warm_up: int = 10  # epochs over which the weight rises from nothing in equal steps; open
    # Cells count where |forth + back|^2 <= relative (|forth|^2 + |back|^2) + absolute, the last in
    # squared cells; open: SemiMatch's test.
    relative: float = 0.1
    absolute: float = 0.5
    noise: Noise = Noise()  # open: CATs++'s; pairs without labels have no box to crop around
    unlabelled: Unlabelled = Unlabelled()  # MatchMe's pictures; open
