"""The same network and the same training step written for PyTorch, as a student of PyTorch would."""

from . import oracles


def twin_of(model):
    """A CIFAR ResNet with option A in PyTorch, its weights and dtype those of ``model``."""
    torch = oracles.torch()
    nn, f = torch.nn, torch.nn.functional

    class Block(nn.Module):
        def __init__(self, channels, width, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
            self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(width)
            self.stride, self.zeros = stride, (width - channels) // 2

        def forward(self, x):
            y = self.bn2(self.conv2(f.relu(self.bn1(self.conv1(x)))))
            x = f.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.zeros, self.zeros))
            return f.relu(y + x)

    class Net(nn.Module):
        def __init__(self, n, classes):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(16)
            for k, (channels, width) in enumerate([(16, 16), (16, 32), (32, 64)]):
                first = Block(channels, width, 1 + (k > 0))
                setattr(self, f"layer{k + 1}", nn.Sequential(first, *(Block(width, width, 1) for _ in range(n - 1))))
            self.fc = nn.Linear(64, classes)

        def forward(self, x):
            x = f.relu(self.bn1(self.conv1(x)))
            return self.fc(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))

    state = {key: torch.from_numpy(array.copy()) for key, array in model.state_dict().items()}
    net = Net((int(model.spec.name.removeprefix("resnet")) - 2) // 6, model.spec.num_classes)
    net.to(state["conv1.weight"].dtype).load_state_dict(state)
    return net


def sgd(net, recipe):
    """PyTorch's optimiser for a recipe: parameters with one axis apart, where they are not decayed."""
    import torch

    groups = [
        {"params": [p for p in net.parameters() if p.ndim > 1]},
        {
            "params": [p for p in net.parameters() if p.ndim == 1],
            "weight_decay": recipe.weight_decay if recipe.decay_all else 0.0,
        },
    ]
    return torch.optim.SGD(
        groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov, weight_decay=recipe.weight_decay
    )


def losses(net, recipe, batches, rates):
    """Train on the batches, on as many threads as are set; the loss before each step."""
    import torch

    optimizer, dtype, found = sgd(net, recipe), next(net.parameters()).dtype, []
    net.train()
    for batch, rate in zip(batches, rates):
        for group in optimizer.param_groups:
            group["lr"] = rate
        logits = net(torch.from_numpy(batch.x).to(dtype))
        loss = torch.nn.functional.cross_entropy(
            logits, torch.from_numpy(batch.labels), label_smoothing=recipe.label_smoothing
        )
        optimizer.zero_grad()
        loss.backward()
        if recipe.clip:
            torch.nn.utils.clip_grad_norm_(net.parameters(), recipe.clip)
        optimizer.step()
        found.append(loss.item())
    return found
