"""Features matched by what all matches say together: flow, offsets, votes, transport."""

from spairc_models.zoo.model import Model

VOTING: dict[str, Model] = {
    "sift-flow": Model(
        where="spairc_models.sift_flow:sift_flow_matcher",
        description="dense SIFT under a smooth flow, by belief propagation",
        paper="Liu et al. 2011",
        licence="Apache-2.0 (OpenCV)",
        side=64,
        needs_weights=False,
    ),
    "pf-lom-hog": Model(
        where="spairc_models.pf_lom_hog:pf_lom_hog_matcher",
        description="windows matched by HOG and their neighbours' offsets: Proposal Flow",
        paper="Ham et al. 2016",
        licence="no program published",
        side=96,
        protocol="original",
        # With selective search's proposals, and whitening learned from other pictures.
        reported={"pf-pascal": 62.5, "pf-willow": 56.8},
        needs_weights=False,
    ),
    "hpf": Model(
        where="spairc_models.hpf:hpf_matcher",
        description="hyperpixels of ResNet and regularised Hough matching",
        paper="Min et al. 2019",
        licence="Apache-2.0",
        side=None,  # the longer side 300, the aspect ratio kept
        protocol="original",
        reported={"spair71k": 28.2},
        weights="https://download.pytorch.org/models/resnet101-63fe2227.pth",
    ),
    "scot": Model(
        where="spairc_models.scot:scot_matcher",
        description="optimal transport between hyperpixels, then Hough matching",
        paper="Liu et al. 2020",
        licence="none stated",
        side=None,  # the longer side 300, the aspect ratio kept
        protocol="original",
        reported={"spair71k": 34.8},  # 35.4 with --option cam=true
        weights="https://download.pytorch.org/models/resnet101-63fe2227.pth",
    ),
}
