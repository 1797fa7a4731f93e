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
# so there the direction changes no aggregate; PF-PASCAL's are not.
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
            description="as the paper, but distances in original pixels; HPF, PWarpC",
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
            description="GeoAware-SC's zero-shot tables, SD+DINO, DIY-SC",
            frame="original",
            average="point",
            comparator="<",
        ),
        Protocol(
            name="pf-willow",
            description="PF-WILLOW with the extent of the true keypoints as the box",
            frame="square",
        ),
        Protocol(
            name="pf-pascal-paper",
            description="PF-PASCAL as the CATs family counts it: target to source, picture size",
            direction="reversed",
            frame="square",
            reference="image",
        ),
    )
}
