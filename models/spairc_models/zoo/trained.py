"""Networks that were trained to match, since 2021."""

from spairc_models.zoo.model import Model

TRAINED: dict[str, Model] = {
    "chm": Model(
        where="spairc_models.network_matchers:chm",
        description="convolutional Hough matching over scale and place",
        paper="Min and Cho 2021",
        licence="none stated",
        side=240,
        reported={"spair71k": 46.3, "pf-pascal": 91.6, "pf-willow": 79.4},
        weights="https://drive.google.com/drive/folders/1myRkb2ow6ltAWaAJtJsh23NVB6d4YFuo",
    ),
    "cats": Model(
        where="spairc_models.network_matchers:cats",
        description="cost aggregation with transformers",
        paper="Cho et al. 2021",
        licence="GPL-3.0",
        side=256,
        reported={"spair71k": 49.9, "pf-pascal": 92.6, "pf-willow": 79.2},
        weights="https://drive.google.com/drive/folders/1e5GhHbOpsWpLALZHw7Th0IXFqjc4s5pu",
        recipe="supervised-cats",
    ),
    "semimatch-cats": Model(
        where="spairc_models.network_matchers:semimatch_cats",
        description="CATs trained on its own confident matches as well",
        paper="Kim et al. 2022",
        licence="none stated",
        side=256,
        reported={"spair71k": 50.7, "pf-pascal": 93.5, "pf-willow": 82.1},
        recipe="semimatch-cats",
    ),
    "matchme-cats": Model(
        where="spairc_models.network_matchers:matchme_cats",
        description="CATs trained by generations of annotators",
        paper="Match me if you can 2024",
        licence="no code published",
        side=256,
        reported={"spair71k": 53.0},
        recipe="matchme-cats",
    ),
    "transformatcher": Model(
        where="spairc_models.network_matchers:transformatcher",
        description="attention among all matches",
        paper="Kim et al. 2022",
        licence="none stated",
        side=240,
        # PF-WILLOW: 76.0 with the extent of the true keypoints as the box, as "pf-willow" counts.
        reported={"spair71k": 53.7, "pf-pascal": 91.8, "pf-willow": 76.0},
    ),
    "scorrsan": Model(
        where="spairc_models.network_matchers:scorrsan",
        description="spatial context and two networks that teach each other",
        paper="Huang et al. 2022",
        licence="GPL-3.0",
        side=256,
        # SPair-71k: 55.3 is printed, but its row by category averages to 54.5.
        reported={"spair71k": 55.3, "pf-pascal": 92.9, "pf-willow": 80.0},
        recipe="scorrsan-mt",
    ),
    "catspp": Model(
        where="spairc_models.network_matchers:catspp",
        description="CATs++: cost aggregation with convolutions and transformers",
        paper="Cho et al. 2022",
        licence="none stated",
        side=512,
        reported={"spair71k": 59.8, "pf-pascal": 93.8, "pf-willow": 81.2},
        weights="https://drive.google.com/drive/folders/18i16PWTSqeW7a3bBZa29nsFYmYyo80zz",
        recipe="supervised-catspp",
    ),
    "matchme-catspp": Model(
        where="spairc_models.network_matchers:matchme_catspp",
        description="CATs++ trained by generations of annotators",
        paper="Match me if you can 2024",
        licence="no code published",
        side=512,
        reported={"spair71k": 62.0, "pf-pascal": 94.3, "pf-willow": 83.6},
        recipe="matchme-catspp",
    ),
}
