# pyright: strict
"""A user's script, to be read by a type checker in strict mode: every name that it uses has a type."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import npresnet
from npresnet import nn, ops
from npresnet.training import SGD

Floats = NDArray[np.float32]


def train_step(model: nn.Module, optimizer: SGD, x: Floats, labels: NDArray[np.int64]) -> float:
    model.train().zero_grad()
    logits, pullback = model.vjp(x, input_grad=False)
    loss, loss_pullback = ops.softmax_cross_entropy(logits, labels)
    pullback(loss_pullback())
    optimizer.step(lr=0.01)
    model.eval()
    return float(loss)


def main(folder: Path) -> list[float]:
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((4, 3, 32, 32)).astype(np.float32), np.arange(4)
    model = npresnet.create_model("resnet20", num_classes=4, seed=1)
    optimizer = SGD(model, momentum=0.9)
    losses = [train_step(model, optimizer, x, labels) for _ in range(3)]

    path = folder / "trained.safetensors"
    npresnet.save_weights(model, path)
    loaded = npresnet.load_model(path)
    engine = npresnet.optimize(loaded)
    np.testing.assert_allclose(engine(x), model(x), rtol=1e-3, atol=1e-3)

    y, pullback = loaded.vjp(x)
    dx = pullback(np.ones_like(y))
    heat, embedding = npresnet.grad_cam(loaded, x, labels, after="layer3"), npresnet.features(engine, x)
    table = npresnet.summary(loaded, x.shape)
    norm = nn.BatchNorm2d(3).train()
    report = npresnet.gradcheck(norm, x[:2, :, :4, :4])
    print(dx.shape, heat.shape, embedding.shape, table.parameters, table.macs, report.conclusion())
    assert report, str(report)

    frozen = npresnet.freeze_batch_norm(loaded)
    print(frozen.dtype, [name for name, part in frozen.named_parameters() if not part.trainable][:2])
    with npresnet.use("numpy"):
        print(npresnet.list_models()[:3], frozen.spec.name, float(np.abs(frozen(x)).max()))
    return losses


if __name__ == "__main__":
    main(Path())
