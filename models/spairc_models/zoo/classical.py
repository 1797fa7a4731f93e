"""Descriptors that need no weights."""

from spairc_models.zoo.model import Model

CLASSICAL: dict[str, Model] = {
    "sift": Model(
        where="spairc_models.classical:sift_matcher",
        description="nearest dense SIFT descriptor",
        paper="Lowe 2004",
        licence="Apache-2.0 (OpenCV)",
        side=64,
        needs_weights=False,
    ),
    "hog": Model(
        where="spairc_models.classical:hog_matcher",
        description="nearest histogram of oriented gradients",
        paper="Dalal and Triggs 2005",
        licence="BSD-3-Clause (scikit-image)",
        side=64,
        needs_weights=False,
    ),
    "daisy": Model(
        where="spairc_models.classical:daisy_matcher",
        description="nearest DAISY descriptor",
        paper="Tola et al. 2010",
        licence="BSD-3-Clause (scikit-image)",
        side=63,
        needs_weights=False,
    ),
}
