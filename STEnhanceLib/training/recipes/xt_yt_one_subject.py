"""An ablation, not shipped: is one subject enough to train on, as was published?"""

from dataclasses import replace

from STEnhanceLib.training.recipes import xt_yt_cartesian
from STEnhanceLib.training.stock import Stock


def first_subject(stock: Stock) -> Stock:
    """One cine of one patient, and nothing else."""
    return replace(stock, cines=stock.cines[:1], stills=[], phantoms=[], patients=stock.patients[:1])


RECIPE = replace(
    xt_yt_cartesian.RECIPE,
    name="xt-yt-one-subject",
    title="xt/yt U-Net, trained on one subject",
    choose=first_subject,
    ships=False,
)
