"""What is no ResNet, or none of the family: the refusal says so in one line."""

import torch
from torch import nn

from .kind import Layout, add, kind, lively
from .nets import conv, resnet

NO = r"(?i:\b(not|no|none)\b.*(ResNet|residual|family))"
BN = nn.BatchNorm2d


def refused(name, source, make, words=NO):
    """A kind that is refused; ``make`` gives a network or a state dict."""

    def layout():
        made = make()
        return Layout(tree=made.state_dict() if isinstance(made, nn.Module) else made, refusal=words)

    add(f"no ResNet: {name}", source, layout)


def cbr(i, o, k=3, s=1, **options):
    return nn.Sequential(conv(i, o, k, s, **options), BN(o), nn.ReLU())


def state(*shapes, **named):
    return {**{f"{i}.weight": torch.randn(shape) for i, shape in enumerate(shapes)}, **named}


def transformer(prefix, names, width=16, layers=2):
    return {f"{prefix}.{i}.{name}.weight": torch.randn(width, width) for i in range(layers) for name in names}


refused("VGG", "torchvision", lambda: nn.ModuleDict({
    "features": nn.Sequential(conv(3, 8, bias=True), nn.ReLU(), nn.MaxPool2d(2), conv(8, 16, bias=True), nn.ReLU()),
    "classifier": nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 5))}))
refused("VGG with batch norm", "torchvision", lambda: nn.ModuleDict({
    "features": nn.Sequential(conv(3, 8, bias=True), BN(8), nn.ReLU(), conv(8, 16, bias=True), BN(16)),
    "classifier": nn.Linear(16, 5)}))
refused("MobileNetV2", "torchvision", lambda: nn.ModuleDict({"features": nn.Sequential(
    cbr(3, 8, 3, 2), nn.Sequential(cbr(8, 48, 1), cbr(48, 48, 3, groups=48), conv(48, 8, 1), BN(8)), cbr(8, 32, 1)),
    "classifier": nn.Sequential(nn.Dropout(), nn.Linear(32, 5))}))
refused("EfficientNet", "torchvision, lukemelas", lambda: {
    "_conv_stem.weight": torch.randn(8, 3, 3, 3), "_blocks.0._depthwise_conv.weight": torch.randn(8, 1, 3, 3),
    "_blocks.0._se_reduce.weight": torch.randn(2, 8, 1, 1), "_conv_head.weight": torch.randn(32, 8, 1, 1),
    "_fc.weight": torch.randn(5, 32), "_fc.bias": torch.randn(5)})
refused("DenseNet", "torchvision", lambda: nn.ModuleDict({"features": nn.ModuleDict({
    "conv0": conv(3, 8, 7, 2), "norm0": BN(8), "denseblock1": nn.ModuleDict({f"denselayer{i}": nn.ModuleDict({
        "norm1": BN(8 + 4 * i), "conv1": conv(8 + 4 * i, 16, 1), "norm2": BN(16), "conv2": conv(16, 4)})
        for i in range(3)}),
    "norm5": BN(20)}), "classifier": nn.Linear(20, 5)}))
refused("Inception", "torchvision GoogLeNet", lambda: nn.ModuleDict({
    "conv1": cbr(3, 8, 7, 2), "inception3a": nn.ModuleDict({"branch1": cbr(8, 4, 1), "branch2": nn.Sequential(
        cbr(8, 4, 1), cbr(4, 8)), "branch3": nn.Sequential(cbr(8, 4, 1), cbr(4, 4)), "branch4": cbr(8, 4, 1)}),
    "fc": nn.Linear(20, 5)}))
refused("ConvNeXt", "facebookresearch/ConvNeXt", lambda: {
    "downsample_layers.0.0.weight": torch.randn(8, 3, 4, 4), "stages.0.0.gamma": torch.randn(8),
    "stages.0.0.dwconv.weight": torch.randn(8, 1, 7, 7), "stages.0.0.pwconv1.weight": torch.randn(32, 8),
    "stages.0.0.pwconv2.weight": torch.randn(8, 32), "norm.weight": torch.randn(8), "head.weight": torch.randn(5, 8)})
refused("ViT", "timm", lambda: {
    "cls_token": torch.randn(1, 1, 16), "pos_embed": torch.randn(1, 17, 16),
    "patch_embed.proj.weight": torch.randn(16, 3, 8, 8),
    **transformer("blocks", ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")), "head.weight": torch.randn(5, 16)})
refused("a language model", "transformers, Llama", lambda: {
    "model.embed_tokens.weight": torch.randn(100, 16),
    **transformer("model.layers", ("self_attn.q_proj", "self_attn.k_proj", "mlp.gate_proj", "mlp.down_proj")),
    "lm_head.weight": torch.randn(100, 16)})
refused("BERT", "transformers", lambda: {
    "bert.embeddings.word_embeddings.weight": torch.randn(100, 16),
    **transformer("bert.encoder.layer", ("attention.self.query", "attention.self.key", "output.dense"))})
refused("a U-Net", "milesial/Pytorch-UNet", lambda: nn.ModuleDict({
    "inc": nn.Sequential(conv(3, 8), BN(8), nn.ReLU(), conv(8, 8), BN(8)), "down1": nn.Sequential(conv(8, 16), BN(16)),
    "up1": nn.ConvTranspose2d(16, 8, 2, 2), "outc": nn.Conv2d(8, 2, 1)}))
refused("a DCGAN's generator", "pytorch/examples", lambda: nn.Sequential(
    nn.ConvTranspose2d(16, 8, 4), BN(8), nn.ReLU(), nn.ConvTranspose2d(8, 4, 4), BN(4), nn.ReLU(),
    nn.ConvTranspose2d(4, 3, 4)))
refused("a multilayer perceptron", "exercises", lambda: nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 5)))
refused("LeNet", "exercises", lambda: nn.ModuleDict({"conv1": nn.Conv2d(1, 6, 5), "conv2": nn.Conv2d(6, 16, 5),
                                                     "fc1": nn.Linear(16, 12), "fc2": nn.Linear(12, 5)}))
refused("AlexNet", "torchvision", lambda: nn.ModuleDict({"features": nn.Sequential(
    nn.Conv2d(3, 8, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(8, 16, 5, 1, 2)),
    "classifier": nn.Linear(16, 5)}))
refused("an optimizer's state alone", "torch.optim.SGD.state_dict()", lambda: {
    "state": {i: {"momentum_buffer": v} for i, v in enumerate(resnet().parameters())},
    "param_groups": [{"lr": 0.1, "params": [0]}]}, r"(?i:optimi[sz]er)|" + NO)
refused("word vectors", "gensim", lambda: {"vectors": torch.randn(50, 8)})
refused("an empty dictionary", "scripts", dict, r"(?i)no arrays|empty")
refused("a number", "scripts", lambda: {"loss": 0.3, "epoch": 2}, r"(?i)no arrays")
refused("RegNet", "torchvision: expansion 1, groups", lambda: nn.ModuleDict({
    "stem": cbr(3, 8, 3, 2), "trunk_output": nn.ModuleDict({f"block{n}": nn.ModuleDict({"0": nn.ModuleDict({
        "proj": nn.Sequential(conv(i, o, 1, 2), BN(o)), "f": nn.ModuleDict({
            "a": cbr(i, o, 1), "b": cbr(o, o, 3, 2, groups=o // 8), "c": nn.Sequential(conv(o, o, 1), BN(o))})})})
        for n, (i, o) in enumerate(((8, 16), (16, 32), (32, 64), (64, 128)), 1)}), "fc": nn.Linear(128, 5)}),
    r"(?i:RegNet|bottleneck)|" + NO)


def blocks(block):
    """A ResNet-10 whose blocks carry something that the family lacks."""

    def make():
        net = resnet(bottleneck=block in BOTTLENECK)
        for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
            block(stage[0])
        return lively(net)

    return make


def res2net(b):
    c = b.conv2.in_channels // 4
    del b.conv2, b.bn2
    b.convs, b.bns = nn.ModuleList(conv(c, c) for _ in range(3)), nn.ModuleList(BN(c) for _ in range(3))


def resnest(b):
    c = b.conv2.in_channels
    b.conv2 = nn.ModuleDict({"conv": conv(c, 2 * c, groups=2), "bn0": BN(2 * c),
                             "fc1": nn.Conv2d(c, 32, 1), "bn1": BN(32),
                             "fc2": nn.Conv2d(32, 2 * c, 1)})
    del b.bn2


def sk(b):
    c = b.conv2.in_channels
    b.conv2 = nn.ModuleDict({"paths": nn.ModuleList([cbr(c, c), cbr(c, c)]), "attn": nn.ModuleDict(
        {"fc_reduce": conv(c, 16, 1), "bn": BN(16), "fc_select": conv(16, 2 * c, 1)})})
    del b.bn2


def cbam(b):
    c = b.bn2.num_features
    b.ca, b.sa = nn.ModuleDict({"fc1": conv(c, 4, 1), "fc2": conv(4, c, 1)}), nn.ModuleDict({"conv1": conv(2, 1, 7)})


def prelu(b):
    b.prelu = nn.PReLU(b.bn2.num_features)


def fixup(b):
    del b.bn1, b.bn2
    for name in ("bias1a", "bias1b", "bias2a", "bias2b", "scale"):
        setattr(b, name, nn.Parameter(torch.zeros(1)))


BOTTLENECK = (res2net, resnest, sk)
refused("Res2Net", "Res2Net/Res2Net-PretrainedModels", blocks(res2net), r"(?i)Res2Net")
refused("ResNeSt", "zhanghang1989/ResNeSt", blocks(resnest), r"(?i)ResNeSt")
refused("SKNet", "timm skresnet", blocks(sk), r"(?i)\bSK|selective")
refused("CBAM", "luuuyi/CBAM.PyTorch", blocks(cbam), r"(?i)CBAM|\bca\b|\bsa\b|layer1\.0\.(ca|sa)")
refused("PReLU in the blocks", "face recognition", blocks(prelu), r"(?i)PReLU|activation")
refused("Fixup", "hongyi-zhang/Fixup", blocks(fixup), r"(?i)fixup|bias1a|norm")
refused("iResNet", "deepinsight/insightface", lambda: {**{
    k: v for k, v in blocks(prelu)().state_dict().items() if k[:2] != "fc"}, "layer1.0.bn3.weight": torch.ones(8),
    "bn2.weight": torch.ones(64), "fc.weight": torch.randn(16, 256), "features.weight": torch.ones(16)},
    r"(?i)iResNet|PReLU|activation")
refused("ResNet of 3-D convolutions", "torchvision r3d_18, kenshohara",
        lambda: {k: v[:, :, None] if v.ndim == 4 else v for k, v in resnet().state_dict().items()},
        r"(?i)3-?D|video|dimension")
refused("ResNet of 1-D convolutions", "ECG, audio",
        lambda: {k: v[..., 0] if v.ndim == 4 else v for k, v in resnet().state_dict().items()},
        r"(?i)1-?D|dimension|axes")
refused("CLIP's RN50: attention pooling", "openai/CLIP", lambda: {
    **{f"visual.{k}": v for k, v in resnet(bottleneck=True).state_dict().items() if k[:2] != "fc"},
    "visual.conv2.weight": torch.randn(4, 4, 3, 3), "visual.conv3.weight": torch.randn(8, 4, 3, 3),
    "visual.attnpool.positional_embedding": torch.randn(5, 256),
    "visual.attnpool.q_proj.weight": torch.randn(256, 256)},
    r"(?i)CLIP|attention|attnpool")
refused("BiT: standardised weights, group norms", "google-research/big_transfer", lambda: {
    "resnet/root_block/standardized_conv2d/kernel": torch.randn(7, 7, 3, 8), "resnet/group_norm/gamma": torch.ones(32),
    "resnet/block1/unit01/a/standardized_conv2d/kernel": torch.randn(1, 1, 8, 8),
    "resnet/block1/unit01/a/group_norm/gamma": torch.ones(8),
    "resnet/head/conv2d/kernel": torch.randn(1, 1, 32, 5)}, r"(?i)BiT|standardi[sz]ed")
refused("NFNet", "timm nfnet", lambda: {
    "stem.conv1.weight": torch.randn(4, 3, 3, 3), "stem.conv1.gain": torch.ones(4, 1, 1, 1),
    "stages.0.0.conv1.weight": torch.randn(8, 4, 1, 1), "stages.0.0.conv1.gain": torch.ones(8, 1, 1, 1),
    "stages.0.0.skipinit_gain": torch.tensor(0.0), "head.fc.weight": torch.randn(5, 8)},
    r"(?i:NFNet|normali[sz]er-free)|" + NO)
refused("Darknet-53", "ultralytics, YOLOv3", lambda: nn.Sequential(
    cbr(3, 8), cbr(8, 16, 3, 2), nn.Sequential(cbr(16, 8, 1), cbr(8, 16)), cbr(16, 32, 3, 2),
    nn.Sequential(cbr(32, 16, 1), cbr(16, 32)), nn.Flatten(), nn.Linear(32, 5)))
refused("ResNet-9 of DAWNBench", "davidcpage/cifar10-fast", lambda: nn.ModuleDict({
    "prep": cbr(3, 8), "layer1": nn.ModuleDict({"conv": cbr(8, 16), "res": nn.Sequential(cbr(16, 16), cbr(16, 16))}),
    "layer2": cbr(16, 32), "layer3": nn.ModuleDict({"conv": cbr(32, 64),
    "res": nn.Sequential(cbr(64, 64), cbr(64, 64))}),
    "linear": nn.Linear(64, 5, bias=False)}))
refused("RepVGG", "DingXiaoH/RepVGG", lambda: nn.ModuleDict({f"stage{n}": nn.ModuleDict({
    "rbr_dense": nn.Sequential(conv(i, o, 3, 2), BN(o)), "rbr_1x1": nn.Sequential(conv(i, o, 1, 2), BN(o))})
    for n, (i, o) in enumerate(((3, 8), (8, 16), (16, 32)))} | {"linear": nn.Linear(32, 5)}))


@kind("blur filters in buffers", "adobe/antialiased-cnns: layer2.0.conv2.1.filt")
def blur_buffers():
    net = resnet()
    filters = {f"layer{n}.0.conv2.0.filt": torch.ones(8 * 2 ** (n - 1), 1, 3, 3) / 9 for n in (2, 3, 4)}
    renamed = {
        k.replace("conv2.weight", "conv2.1.weight") if k[5:6] in "234" else k: v for k, v in net.state_dict().items()
    }
    return Layout(tree={**renamed, **filters}, refusal=r"(?i)blur|anti-?alias|filt")
