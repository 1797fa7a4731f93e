"""The fields of COCR's recipes, told as in `recipe`."""

from dataclasses import dataclass

from matchme_train.sections import Noise, Unlabelled


@dataclass(frozen=True, kw_only=True)
class COCR:
    """Training on chosen pairs that a teacher labelled, then on labelled pairs.

    "Weakly Supervised Learning of Semantic Correspondence through Cascaded Online Correspondence
    Refinement" (Huang et al., ICCV 2023) and its supplement. There the labels come from a network
    that saw classes of pictures only, and from pictures of ImageNet; here they come from the best
    network of the supervised stage, or from --from-checkpoint, and from --unlabelled. "Its loader"
    is what its authors added to CATs' program for the data set that came of it, SC-ImageNet.
    """

    epochs: int = 100  # of training on pseudo labels: the default of CATs' program, kept there
    fine_tuning_epochs: int = 100  # of the training on labelled pairs that follows: likewise
    noise: Noise = Noise()  # of both: CATs', kept in its loader; SCorrSAN does not crop
    # SC-ImageNet has no labelled picture; here every kept one is used; open: whether it balances.
    unlabelled: Unlabelled = Unlabelled(balance="oversample", with_labelled=0.0)
    # Closed-loop filtering: of each category's pictures the most consistent ones are kept.
    share: float = 0.3  # k = 30 %, the best of 10 to 60; open: whether of each category
    rounds: int = 4  # a picture is judged in so many pairs as the first, as many as second; open
    tolerance: float = 0.1  # of the side: how near a cell must come to itself, there and back; open
    # Pseudo labels of pairs of kept pictures.
    pairs: int = 53_340  # open: as many as SPair-71k's labelled ones
    grid: int = 16  # cells along a side that are matched: CATs'; finer scores are averaged; open
    points: int = 40  # a pair's matches at most, the best ones: its loader has room for 40
    # Algorithm 1's saliency; the paper has a network for it. "features": the length of the trunk's
    # last features, as "Selective Convolutional Descriptor Aggregation" (Wei et al., 2017) finds
    # objects; "none": the whole picture; or a folder of grey pictures named as the pictures.
    saliency: str = "features"
    # T: cells less salient are background; open. Of 35 photographs with known key points 0.3 kept
    # 42 % of the cells and 68 % of the points (MobileNetV2's features); maps from a network that
    # was trained for it are mostly cut at 0.5.
    threshold: float = 0.3
