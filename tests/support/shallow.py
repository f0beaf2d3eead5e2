"""Networks of the family with one block in each stage: every kind of layer and shortcut, at a fraction of the time."""

from npresnet.models import FAMILY, details


def shallow(name, num_classes=10, **options):
    """The network ``name``, all weights zero, its stages cut to their first blocks."""
    entry = FAMILY[name]
    static = {**entry.build.keywords, "depths": (1,) * len(entry.structure.depths)}
    return entry.build.func(
        details(name, "torchvision", **{**entry.defaults, **options}), num_classes=num_classes, **static
    ).eval()
