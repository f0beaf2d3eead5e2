"""Whether a model can be trained on a data set: what can be known before the first step."""

from ..data import preprocessing_of
from ..data.dataset import Dataset
from ..models.classifier import Classifier
from .recipes import Recipe


def check_start(model: Classifier, recipe: Recipe, dataset: Dataset, side: int | None, ranks: int = 1) -> None:
    """Raise ValueError where the first epoch could not be finished: channels, labels, a last batch of one image.

    ``side`` is the height and width of the images, None where that is not known; ``ranks`` is how many share a batch.
    """
    spec = model.spec
    if spec.in_channels != 3:
        raise ValueError(
            f"images have three channels (RGB; grey ones are repeated in each) and this network takes "
            f"{spec.in_channels}: create it with in_channels=3"
        )
    for name in dataset.classes:
        if not name.isascii() and name.encode("utf-8", "replace").decode() != name:
            raise ValueError(f"the name of the class folder {name!r} is not UTF-8, as files of weights need: rename it")
    if not 0 <= dataset.labels.min() <= dataset.labels.max() < spec.num_classes:
        raise ValueError(
            f"labels from {dataset.labels.min()} to {dataset.labels.max()} do not fit a network of "
            f"{spec.num_classes} classes"
        )
    if len(preprocessing_of(model).mean) != 3:
        raise ValueError("images to train on have three channels: give the model a preprocessing of three means")
    parts = recipe.accumulate * (1 if recipe.sync_batch_norm else ranks)
    if smallest_part(len(dataset), recipe.batch_size, parts) > 1 or side is None:
        return
    try:
        model.copy().train()(model.namespace.zeros((1, 3, side, side), model.dtype))
    except ValueError as error:
        raise ValueError(
            f"{len(dataset)} images in batches of {recipe.batch_size}, in {parts} part(s) "
            f"each, leave one image alone; choose another batch size: {error}"
        ) from None


def smallest_part(n: int, batch_size: int, parts: int) -> int:
    """The fewest of ``n`` images that go through the network together."""
    batches = {min(n, batch_size), n % batch_size} - {0}
    return min(max(1, size // parts) for size in batches)
