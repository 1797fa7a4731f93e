"""Networks that were trained to match, until 2022: those with programs of their own."""

from spairc_models.zoo.model import Model

OLDER: dict[str, Model] = {
    "cnngeo": Model(
        where="spairc_models.network_matchers:cnngeo",
        description="a warp regressed from all cosines: affine, thin plate, or one after the other",
        paper="Rocco et al. 2017",
        licence="MIT",
        side=240,
        protocol="original",
        # Of ResNet-101, affine and then thin plate; on SPair-71k as its authors measured it.
        reported={"spair71k": 20.6, "pf-pascal": 69.5, "pf-willow": 69.2},
        # The affine network; "..._tps.pth.tar" beside it is the thin plate.
        weights="http://www.di.ens.fr/willow/research/weakalign/trained_models/"
        "cnngeo_resnet101_affine.pth.tar",
    ),
    "weakalign": Model(
        where="spairc_models.network_matchers:weakalign",
        description="CNNGeo in two stages, trained on pairs without keypoints",
        paper="Rocco et al. 2018a",
        licence="MIT",
        side=240,
        protocol="original",
        reported={"spair71k": 20.9, "pf-pascal": 74.8, "pf-willow": 70.2},
        weights="http://www.di.ens.fr/willow/research/weakalign/trained_models/"
        "weakalign_resnet101_affine_tps.pth.tar",
    ),
    "ncnet": Model(
        where="spairc_models.network_matchers:ncnet",
        description="neighbourhood consensus: matches support the ones beside them",
        paper="Rocco et al. 2018b",
        licence="MIT",
        side=400,
        protocol="original",
        reported={"spair71k": 20.1, "pf-pascal": 78.9, "pf-willow": 72.7},
        weights="https://www.di.ens.fr/willow/research/ncnet/models/ncnet_pfpascal.pth.tar",
    ),
    "dhpf": Model(
        where="spairc_models.network_matchers:dhpf",
        description="dynamic hyperpixel flow: a gate per layer for each pair, and Hough voting",
        paper="Min et al. 2020",
        licence="Apache-2.0",
        side=240,
        reported={"spair71k": 37.3, "pf-pascal": 90.7, "pf-willow": 77.6},
        # The gates; the trunk is ImageNet's, `trunk=FILE`.
        weights="https://drive.google.com/file/d/1DnsDhttMIImAcupdjuANowlgZqVSx_5E",
    ),
    "vat": Model(
        where="spairc_models.network_matchers:vat",
        description="volumetric aggregation: attention in windows of a correlation's four axes",
        paper="Hong et al. 2022",
        licence="none stated",
        side=512,
        # As its program's page tells of the public weights.
        reported={"spair71k": 54.2, "pf-pascal": 92.3},
        weights="https://koreaoffice-my.sharepoint.com/:f:/g/personal/sung_hwan_korea_ac_kr/"
        "Eisc8BOfw1dJkIt6o183anEBsQtZ4YBJrTrt8tJiddJKqA",
    ),
}
