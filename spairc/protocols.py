"""How the papers count, by name: a number is compared only with one of the same protocol.

To add one: a line in `PROTOCOLS` with its source.
"""

from dataclasses import dataclass
from typing import Literal

from spairc.metrics import PCK, Average, Comparator, Frame, Reference

Direction = Literal["forward", "reversed"]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """All that turns predictions into one number, save the tolerance."""

    name: str
    description: str
    direction: Direction = "forward"  # "reversed" asks from the listed target to the source
    frame: Frame
    reference: Reference = "box"
    average: Average = "image"
    comparator: Comparator = "<="

    def metric(self, alpha: float = 0.1) -> PCK:
        """Return the protocol's PCK at this tolerance."""
        return PCK(self.frame, alpha, self.reference, self.average, self.comparator)


# The order is the order of columns. SPair-71k's and PF-WILLOW's lists are closed under swapping,
# so there the direction changes no aggregate, as long as both pictures are treated alike; the
# parts of a breakdown by truncation or occlusion do exchange. PF-PASCAL's lists are not closed.
PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="paper",
            description="MatchMe, CATs, CATs++, SCorrSAN, TransforMatcher, CHM on SPair-71k",
            frame="square",
        ),
        Protocol(
            name="original",
            description="as the paper, but distances in original pixels; HPF, PWarpC, DIFT's first",
            frame="original",
        ),
        Protocol(
            name="dift",
            description="DIFT's second number: over all points at once, original pixels",
            frame="original",
            average="point",
        ),
        Protocol(
            name="geoaware-image",
            description="GeoAware-SC's supervised tables",
            frame="original",
            comparator="<",
        ),
        Protocol(
            name="geoaware-point",
            description="GeoAware-SC's zero-shot tables, DIY-SC",
            frame="original",
            average="point",
            comparator="<",
        ),
        Protocol(
            name="sd-dino",
            description="SD+DINO's weighted PCK: points in a category, categories by their pairs",
            frame="original",
            average="point-category-pairs",
            comparator="<",
        ),
        Protocol(
            name="sd-dino-macro",
            description="SD+DINO's average PCK: points in a category, categories alike",
            frame="original",
            average="point-category",
            comparator="<",
        ),
        Protocol(
            name="paper-macro",
            description="as the paper, but every category counts alike",
            frame="square",
            average="image-category",
        ),
        Protocol(
            name="cats",
            description="as the paper, asked as CATs, CATs++, SCorrSAN ask: target to source",
            direction="reversed",
            frame="square",
        ),
        Protocol(
            name="pf-willow",
            description="PF-WILLOW with the extent of the true keypoints as the box",
            frame="square",
        ),
        Protocol(
            name="pf-willow-padded",
            description="PF-WILLOW as published: padding counted in the extent, tolerance too wide",
            frame="square",
            reference="padded",
        ),
        Protocol(
            name="pf-pascal-paper",
            description="PF-PASCAL as the CATs family counts it: target to source, picture size",
            direction="reversed",
            frame="square",
            reference="image",
        ),
        Protocol(
            name="pf-pascal-box",
            description="as pf-pascal-paper, with the box: --thres bbox in its programs",
            direction="reversed",
            frame="square",
        ),
        Protocol(
            name="pf-pascal-forward",
            description="PF-PASCAL as DHPF, CHM, TransforMatcher count it: source to target",
            frame="square",
            reference="image",
        ),
        Protocol(
            name="geoaware-pf-pascal",
            description="PF-PASCAL as GeoAware-SC's supervised tables count it: original pixels",
            frame="original",
            reference="image",
            comparator="<",
        ),
    )
}
