"""Every network of the family in PyTorch, as functions of a state dict; torchvision's own where it has them.

``oracle(model)`` returns forward(p, x, training): p maps state-dict keys to tensors, whose running statistics a
training pass moves in place, as PyTorch's modules do.
"""

from npresnet.models.dialect_rules import SIZES
from npresnet.models.published import details
from npresnet.models.registry import FAMILY

from . import oracles

TORCHVISION = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "wide_resnet50_2",
    "wide_resnet101_2",
)


def torchvision_forward(name, num_classes=1000):
    """torchvision's own module as a function of its state."""
    torch = oracles.torch()
    with torch.device("meta"):  # the tensors come with every call
        net = getattr(oracles.torchvision_models(), name)(num_classes=num_classes)

    def forward(p, x, training):
        return torch.func.functional_call(net.train(training), p, (x,))

    return forward


class TorchNetwork:
    """One network, written from the papers' figures; ``seen`` holds the value of the stem and of every block."""

    def __init__(self, spec, **build_options):
        self.F = oracles.torch().nn.functional
        entry = FAMILY[spec.name]
        self.d = details(spec.name, spec.dialect, **{**entry.defaults, **spec.options})
        sizes = {key: value for key, value in spec.options.items() if key in SIZES}
        self.static = {**entry.build.keywords, **sizes, **build_options}
        self.net, self.block = entry.build.func.__name__, self.static["block"].__name__

    def __call__(self, p, x, training):
        self.p, self.training, self.seen = p, training, {}
        x = self.seen["stem"] = self.stem(x)
        for stage, depth in enumerate(self.static["depths"]):
            for j in range(depth):
                key = f"layer{stage + 1}.{j}"
                self.dilations = self.dilations_of(stage, j)
                x = self.seen[key] = getattr(self, self.block)(key, x, self.stride(stage, j, depth))
        if "bn.weight" in self.p:
            x = self.norm_relu("bn", x)
        return self.F.linear(x.mean((2, 3)), self.p["fc.weight"], self.p["fc.bias"])

    def stride(self, stage, j, depth):
        if self.d.stride_in == "last":
            return 2 if j == depth - 1 and stage < len(self.static["depths"]) - 1 else 1
        return 2 if stage > 0 and j == 0 and 4 * 2**stage <= self.d.output_stride else 1

    def dilations_of(self, stage, j):
        """Of a block's first 3×3 convolution and of a second: 1, 2, 4 from where the strides end."""
        undilated = {32: 3, 16: 2, 8: 1}[self.d.output_stride]
        here, before = (2 ** max(0, s - undilated) for s in (stage, stage - 1))
        return (before if j == 0 else here), here

    # -- layers ----------------------------------------------------------------------------------

    def conv(self, key, x, stride=1, groups=1, dilation=1):
        w, b = self.p[f"{key}.weight"], self.p.get(f"{key}.bias")
        kernel, padding = w.shape[2], w.shape[2] // 2 * dilation
        if self.d.padding == "same":
            x, padding = self.same(x, (kernel - 1) * dilation + 1, stride, 0.0), 0
        return self.F.conv2d(x, w, b, stride, padding, dilation, groups)

    def same(self, x, kernel, stride, fill):
        """TensorFlow's padding: o = ⌈i/s⌉, the odd pixel at the bottom and right."""
        totals = [max((-(-i // stride) - 1) * stride + kernel - i, 0) for i in (x.shape[3], x.shape[2])]
        return self.F.pad(x, [side for t in totals for side in (t // 2, t - t // 2)], value=fill)

    def norm(self, key, x):
        if self.d.norm == "group":
            return self.F.group_norm(x, self.d.norm_groups, self.p[f"{key}.weight"], self.p[f"{key}.bias"], self.d.eps)
        weight, bias, mean, var = (self.p[f"{key}.{n}"] for n in ("weight", "bias", "running_mean", "running_var"))
        if not self.training:
            return self.F.batch_norm(x, mean, var, weight, bias, False, 0.0, self.d.eps)
        self.p[f"{key}.num_batches_tracked"] += 1
        if not self.d.unbiased:  # PyTorch knows only the unbiased kind
            r = self.d.momentum
            mean.copy_((1 - r) * mean + r * x.detach().mean((0, 2, 3)))
            var.copy_((1 - r) * var + r * x.detach().var((0, 2, 3), unbiased=False))
            return self.F.batch_norm(x, None, None, weight, bias, True, 0.0, self.d.eps)
        return self.F.batch_norm(x, mean, var, weight, bias, True, self.d.momentum, self.d.eps)

    def norm_relu(self, key, x):
        inside = key.startswith("layer") and self.d.branch_activation != "same"
        return self.act(self.norm(key, x), self.d.branch_activation if inside else self.d.activation)

    def act(self, x, kind=None):
        kind = kind or self.d.activation
        options = {"negative_slope": self.d.negative_slope} if kind == "leaky_relu" else {}
        return getattr(self.F, kind)(x, **options)

    def gated(self, key, x):
        if self.d.attention == "eca":
            w = self.p[f"{key}.se.conv.weight"]
            z = self.F.conv1d(x.mean((2, 3))[:, None, :], w, padding=w.shape[2] // 2)
            return x * self.F.sigmoid(z).mT[:, :, :, None]
        if not self.d.squeeze and self.d.attention != "se":
            return x
        z = self.F.conv2d(x.mean((2, 3), keepdim=True), self.p[f"{key}.se.fc1.weight"], self.p[f"{key}.se.fc1.bias"])
        z = self.F.conv2d(self.F.relu(z), self.p[f"{key}.se.fc2.weight"], self.p[f"{key}.se.fc2.bias"])
        return x * self.F.sigmoid(z)

    # -- parts -----------------------------------------------------------------------------------

    def stem(self, x):
        stride = self.d.stem_stride or (1 if self.d.stem in ("3x3", "5x5") else 2)
        if self.d.stem in ("deep", "tiered"):
            x = self.norm_relu("conv1.1", self.conv("conv1.0", x, stride))
            x = self.conv("conv1.6", self.norm_relu("conv1.4", self.conv("conv1.3", x)))
        else:
            x = self.conv("conv1", x, stride)
        if self.d.stem == "pool-first":
            return self.norm_relu("bn1", self.pool(x))
        return self.pool(self.norm_relu("bn1", x) if "bn1.weight" in self.p else x)

    def pool(self, x):
        if self.d.pool == "none":
            return x
        aa = self.d.antialias != "none"
        if self.d.pool == "conv":
            x = self.conv("maxpool.0", x, 1 if aa else 2)
            return self.norm_relu(f"maxpool.{1 + aa}", self.strided(x, 2) if aa else x)
        if self.d.antialias == "blur":
            x = self.F.max_pool2d(x, 3, 1, padding=1)
        if aa:
            return self.strided(x, 2)
        if self.d.pool == "zeros":
            return self.F.max_pool2d(self.F.pad(x, (1, 1, 1, 1)), 3, 2)
        if self.d.pool == "same":
            return self.F.max_pool2d(self.same(x, 3, 2, float("-inf")), 3, 2)
        ceil = self.d.pool == "ceil"
        return self.F.max_pool2d(x, 3, 2, padding=0 if ceil else 1, ceil_mode=ceil)

    def strided(self, x, stride):
        """What leaves pixels out in the place of a strided convolution."""
        if self.d.antialias == "average":
            return self.F.avg_pool2d(x, stride)
        k = oracles.torch().tensor([1.0, 2.0, 1.0], dtype=x.dtype) / 4
        x = self.F.pad(x, (1, 1, 1, 1), mode="reflect")
        return self.F.conv2d(x, (k[:, None] * k).expand(x.shape[1], 1, 3, 3), None, stride, groups=x.shape[1])

    def shortcut(self, key, x, stride, out):
        conv, norm = (f"{key}.downsample.{i + self.d.avg_down}" for i in (0, 1))  # behind the pooling
        if f"{conv}.weight" in self.p:
            if self.d.avg_down and self.dilations[1] > 1 and x.shape[1] != out:
                x = self.F.avg_pool2d(self.F.pad(x, (0, 1, 0, 1)), 2, 1)
            elif self.d.avg_down and stride > 1:
                x, stride = self.F.avg_pool2d(x, 2, stride, ceil_mode=True, count_include_pad=False), 1
            return self.norm(norm, self.conv(conv, x, stride))
        x, more = x[:, :, ::stride, ::stride], out - x.shape[1]
        before = more // 2 if self.d.shortcut == "A" else 0
        return self.F.pad(x, (0, 0, 0, 0, before, more - before)) if more else x

    def PlainBlock(self, key, x, stride):
        first, second = self.dilations
        x = self.norm_relu(f"{key}.bn1", self.conv(f"{key}.conv1", x, stride, 1, first))
        return self.norm_relu(f"{key}.bn2", self.conv(f"{key}.conv2", x, 1, 1, second))

    def BasicBlock(self, key, x, stride):
        first, second = self.dilations
        aa = self.d.antialias != "none" and (stride == 2 or first != second)
        f = self.norm_relu(f"{key}.bn1", self.conv(f"{key}.conv1", x, 1 if aa else stride, 1, first))
        f = self.strided(f, stride) if aa else f
        f = self.gated(key, self.norm(f"{key}.bn2", self.conv(f"{key}.conv2", f, 1, 1, second)))
        return self.act(f + self.shortcut(key, x, stride, f.shape[1]))

    def Bottleneck(self, key, x, stride):
        first, second = (stride, 1) if self.d.stride_on == "1x1" else (1, stride)
        groups = self.static.get("groups", 1)
        f = self.norm_relu(f"{key}.bn1", self.conv(f"{key}.conv1", x, first))
        aa = self.d.antialias != "none" and (stride == 2 or self.dilations[0] != self.dilations[1])
        second = 1 if aa else second
        f = self.norm_relu(f"{key}.bn2", self.conv(f"{key}.conv2", f, second, groups, self.dilations[0]))
        f = self.strided(f, stride) if aa else f
        f = self.norm(f"{key}.bn3", self.conv(f"{key}.conv3", f))
        f = self.gated(key, self.act(f) if self.d.relu_before_sum else f)
        return self.act(f + self.shortcut(key, x, stride, f.shape[1]))

    def preactivated(self, key, x, stride):
        """What the branch reads, and the shortcut's value."""
        h = self.norm_relu(f"{key}.bn1", x) if f"{key}.bn1.weight" in self.p else x
        if f"{key}.downsample.weight" in self.p:
            return h, self.conv(f"{key}.downsample", x if self.d.projection_of == "x" else h, stride)
        shared = key == "layer1.0" and self.d.first_block == "paper"  # a net's first block
        return h, (h if shared else x)[:, :, ::stride, ::stride]

    def PreActBasicBlock(self, key, x, stride):
        h, s = self.preactivated(key, x, stride)
        first, second = self.dilations
        h = self.norm_relu(f"{key}.bn2", self.conv(f"{key}.conv1", h, stride, 1, first))
        return self.conv(f"{key}.conv2", h, 1, 1, second) + s

    def PreActBottleneck(self, key, x, stride):
        first, second = (stride, 1) if self.d.stride_on == "1x1" else (1, stride)
        h, s = self.preactivated(key, x, stride)
        h = self.norm_relu(f"{key}.bn2", self.conv(f"{key}.conv1", h, first))
        h = self.norm_relu(f"{key}.bn3", self.conv(f"{key}.conv2", h, second, 1, self.dilations[0]))
        return self.conv(f"{key}.conv3", h) + s


def oracle(model):
    """torchvision's net where ``model`` is one of its ten, else a TorchNetwork."""
    spec = model.spec
    if spec.name in TORCHVISION and spec.dialect == "torchvision" and not spec.options:
        return torchvision_forward(spec.name, spec.num_classes)
    return TorchNetwork(spec)
