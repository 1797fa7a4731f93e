"""Weights of the filters, as constants.

The published programs compute them while they run, with exp and with float32 sums whose last bit
differs between processors; in flat areas, where the result is truncated, that bit decides. Here
they are what an x86-64 processor with AVX-512 gives; the goldens agree with them to the last bit.
"""

from decimal import Decimal
from functools import cache
from math import fsum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class _Disk(NamedTuple):
    """The upper half of a filter, its middle row last; the lower half mirrors it."""

    values: tuple[float, ...]  # float32, told to nine digits
    rows: tuple[str, ...]  # a letter a weight: a is values[0]; a point is 0


# One number a line would hide the shape.
# fmt: off
# sigma -> the middle weight and those to its right: exp(-x**2 / (2 sigma**2)), normalised to a sum
# of 1, cut off at four sigma
_SMOOTHING: dict[float, tuple[float, ...]] = {
    1: (
        0.39894346935609776, 0.24197144565660073, 0.05399112742070441, 0.0044318616200312655,
        0.00013383062461474175,
    ),
    1.5: (
        0.2659642571610709, 0.212967528547854, 0.1093411749545305, 0.03599434807370883,
        0.007597402196596929, 0.001028196578138909, 8.922106863539231e-05,
    ),
    2: (
        0.199474647864745, 0.17603575888479034, 0.12098748976534904, 0.06475993660472744,
        0.026995957967298846, 0.00876430436278587, 0.002215963172596555, 0.0004363490205067883,
        6.691628957263553e-05,
    ),
    3: (
        0.1329845385507837, 0.12579798346031065, 0.1064856940272447, 0.08065919989878699,
        0.054671578245654065, 0.03315998842086742, 0.017997500190860556, 0.008740878047691292,
        0.0037987699403054824, 0.001477324778400407, 0.0005141076058219727, 0.00016009476589197758,
        4.46113427726488e-05,
    ),
    4: (
        0.09973909953098634, 0.0966704500421759, 0.0880194464026721, 0.07528702219271172,
        0.06049482183767315, 0.04566388723834511, 0.03238054475483474, 0.021570092999531495,
        0.01349821928479074, 0.007935193758683687, 0.0043822301957513726, 0.0022734710758779177,
        0.001108001311417132, 0.0005072799652534629, 0.00021817839435959137, 8.815203999549902e-05,
        3.345874043329486e-05,
    ),
    6: (
        0.06649327258754517, 0.0655761386414302, 0.06289994082278702, 0.0586801071012218,
        0.05324365040319031, 0.04698735656311249, 0.04033020848897574, 0.033667912178564935,
        0.027336201596784473, 0.02158720500827786, 0.016580244388535233, 0.012385732717659668,
        0.008998885878964722, 0.006359047209008544, 0.004370504970077226, 0.002921510504082108,
        0.0018994136302668437, 0.0012010688750740037, 0.0007386735349914414, 0.0004418485465706374,
        0.00025705768163564603, 0.00014545344320416857, 8.004859079335249e-05,
        4.284692305898195e-05, 2.2306007960055957e-05,
    ),
}

# radius -> a disk of sum 1 under a 3 x 3 (for 10: 5 x 5) Gaussian of sigma 0.5 (for 3: none), in
# float32 throughout. The disk of 8 touches the edge of the 17 x 17 array that it was made in (10:
# 21 x 21), where reflection adds to it: its sum is 1.013 (10: 1.011). The published programs do not
# renormalise it.
_DISKS: dict[int, _Disk] = {
    3: _Disk(
        (
            0.03448276,
        ),
        (
            "...a...",
            ".aaaaa.",
            ".aaaaa.",
            "aaaaaaa",
        ),
    ),
    4: _Disk(
        (
            0.020408163, 0.020176658, 0.019945152, 0.018466055, 0.016523948, 0.014813347,
            0.003884214, 0.003652709, 0.001942107, 0.0017106022, 0.0017106021, 0.00023150485,
        ),
        (
            "....lkl....",
            "..ligfgil..",
            ".lhedcdehl.",
            ".iebaaabei.",
            "lgdaaaaadgl",
            "jfcaaaaacfj",
        ),
    ),
    6: _Disk(
        (
            0.0088495575, 0.00874917, 0.008648783, 0.008007405, 0.008007404, 0.007907018,
            0.0072656395, 0.007165252, 0.006423487, 0.0064234864, 0.0016843051, 0.0015839181,
            0.00094253966, 0.0008421526, 0.00084215257, 0.00074176554, 0.00010038706,
        ),
        (
            "......qpq......",
            "...qnmkjkmnq...",
            "..qlhfecefhlq..",
            ".qlgbaaaaabglq.",
            ".ohbaaaaaaabho.",
            ".mfaaaaaaaaafm.",
            "qkdaaaaaaaaadkq",
            "picaaaaaaaaacip",
        ),
    ),
    8: _Disk(
        (
            0.005076142, 0.0050185598, 0.004960977, 0.0045930804, 0.00459308, 0.0045354976,
            0.004535497, 0.0042251823, 0.004110018, 0.0015067689, 0.0010812891, 0.0009661243,
            0.0009085419, 0.00048306215, 0.00011516484, 5.758242e-05,
        ),
        (
            "....olkjhjklo....",
            "..pnligecegilnp..",
            ".pmiebaaaaabeimp.",
            ".nibaaaaaaaaabin.",
            "oldaaaaaaaaaaadlo",
            "libaaaaaaaaaaabil",
            "kfaaaaaaaaaaaaafk",
            "jdaaaaaaaaaaaaadj",
            "hcaaaaaaaaaaaaach",
        ),
    ),
    10: _Disk(
        (
            0.0031545742, 0.003154574, 0.0031544855, 0.0031544853, 0.003154397, 0.0031543968,
            0.0031543965, 0.0031538305, 0.0031538303, 0.0031537423, 0.003153742, 0.0031536533,
            0.0031179064, 0.003117252, 0.003082903, 0.0028545142, 0.0028531158, 0.002818856,
            0.0028181123, 0.002624993, 0.002588891, 0.002553888, 0.0025531442, 0.00093741436,
            0.0009374143, 0.0006739332, 0.0006731013, 0.0006731012, 0.0006016075, 0.00060160743,
            0.0006014301, 0.00060143, 0.00056559406, 0.00030145847, 0.00030145844, 7.333534e-05,
            3.723379e-05, 3.6579062e-05, 1.6643246e-06, 1.7765467e-07, 1.7743504e-07,
            1.7743503e-07, 4.3927306e-10, 2.1963653e-10,
        ),
        (
            "..QNMJDBzytyzBDJMNQ..",
            ".ROLIFvsrpoprsvFILPR.",
            "QOKGwqmlkhghklmqwGKPQ",
            "NLGunjcbaaaaabcjnuGLN",
            "MHwnebaaaaaaaaabfnwHM",
            "JEqjbaaaaaaaaaaabkqEJ",
            "CvmcaaaaaaaaaaaaadmvC",
            "AslbaaaaaaaaaaaaablsA",
            "zrkaaaaaaaaaaaaaaakrz",
            "xphaaaaaaaaaaaaaaaipx",
            "togaaaaaaaaaaaaaaagot",
        ),
    ),
}
# fmt: on
_LETTERS = ".abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def smoothing(sigma: float) -> NDArray[np.float64]:
    """Return the weights of a Gaussian filter, shape (2 * 4 sigma + 1,)."""
    right = _SMOOTHING[sigma]
    return np.array([*right[:0:-1], *right])


@cache
def disk(radius: int) -> NDArray[np.float32]:
    """Return the weights of the defocus filter, square, of odd side."""
    values, upper = (0.0, *_DISKS[radius].values), _DISKS[radius].rows
    rows = [[values[_LETTERS.index(letter)] for letter in row] for row in (*upper, *upper[-2::-1])]
    return np.array(rows, dtype=np.float32)


@cache
def one_sided(length: int, sigma: float) -> tuple[float, ...]:
    """Return the weights of a streak that fades from its first pixel on; they add up to 1.

    Python's decimal arithmetic is the same everywhere, and its exp correctly rounded.
    """
    powers = [Decimal(-(i**2)) / Decimal(2 * sigma**2) for i in range(length)]
    weights = [float(power.exp()) for power in powers]
    total = fsum(weights)
    return tuple(weight / total for weight in weights)
