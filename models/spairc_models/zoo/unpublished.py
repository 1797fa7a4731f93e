"""What the papers compare with and nobody can run: there is no public program.

The numbers are those of the tables in the MatchMe and SCorrSAN papers. When a program appears, the
entry moves to another table.
"""

from collections.abc import Mapping
from functools import partial

from spairc_models.zoo.model import Model

_unpublished = partial(Model, where="", licence="no program published", side=None)

UNPUBLISHED: Mapping[str, Model] = {
    "scnet": _unpublished(
        description="proposals matched by learned geometry and appearance",
        paper="Han et al. 2017",
        reported={"pf-pascal": 72.2, "pf-willow": 70.4},
        nearest="pf-lom-hog",
    ),
    "a2net": _unpublished(
        description="attention over offset-aware kernels regresses one transformation",
        paper="Seo et al. 2018",
        reported={"spair71k": 22.3},
        nearest="cnngeo",
    ),
    "dccnet": _unpublished(
        description="neighbourhood consensus with spatial context",
        paper="Huang et al. 2019",
        reported={"pf-pascal": 82.3, "pf-willow": 73.8},
        nearest="ncnet",
    ),
    "gsf": _unpublished(
        description="pruned matches guide a dense flow",
        paper="Jeon et al. 2020",
        reported={"pf-pascal": 84.5, "pf-willow": 75.8},
        nearest="ncnet",
    ),
    "anc-net": _unpublished(
        description="neighbourhood consensus with kernels that adapt their shape",
        paper="Li et al. 2020",
        reported={"pf-pascal": 86.1},
        nearest="ncnet",
    ),
    "pmd": _unpublished(
        description="a probabilistic teacher for unlabelled pairs",
        paper="Li et al. 2021",
        reported={"spair71k": 37.4, "pf-pascal": 90.7, "pf-willow": 75.6},
        nearest="scorrsan",
    ),
    "mmnet": _unpublished(
        description="matches of several scales, each refining the coarser",
        paper="Zhao et al. 2021",
        reported={"spair71k": 40.9, "pf-pascal": 89.1},
        nearest="catspp",
    ),
    "pmnc": _unpublished(
        description="neighbourhood consensus, found by PatchMatch",
        paper="Lee et al. 2021",
        reported={"spair71k": 50.4, "pf-pascal": 90.6},
        nearest="ncnet",
    ),
    "hccnet": _unpublished(
        description="hypercolumn correlations in place of 4-D convolutions",
        paper="Kim et al. 2024",
        # PF-WILLOW: with the extent of the true keypoints as the box, as "pf-willow" counts.
        reported={"spair71k": 54.8, "pf-pascal": 92.4, "pf-willow": 74.5},
        nearest="transformatcher",
    ),
}
