"""Small networks in PyTorch (float64), written from the papers: outputs, gradients, running statistics. For NAME of
unetplusplus, deeplabv3plus and hourglass it writes NAME.safetensors (weights, named as in PyTorch's state dict),
NAME-expected.safetensors and NAME.json (options and cases).

    /usr/bin/python3 test/reference/make_networks.py

The residual blocks of the encoder are torchvision's. Parameter names are those of segmentation_models.pytorch and,
for the hourglass, of the PyTorch network of the thesis.
"""
import json

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock

from reference_files import HERE, stored, write_safetensors

torch.set_num_threads(1)
rng = np.random.default_rng(11)


class Encoder(nn.Module):
    """torchvision's ResNet without pooling and classifier, of any width."""

    def __init__(self, in_channels, blocks, features, output_stride=32):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, features, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(features)
        inputs = features
        for s, count in enumerate(blocks):
            outputs, layers = features * 2**s, []
            for i in range(count):
                stride, downsample = (2 if s > 0 and i == 0 else 1), None
                if inputs != outputs:
                    downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))
                layers.append(BasicBlock(inputs, outputs, stride, downsample))
                inputs = outputs
            setattr(self, f"layer{s + 1}", nn.Sequential(*layers))
            reach = 4 * 2**s
            if reach > output_stride:
                dilate(getattr(self, f"layer{s + 1}"), reach // output_stride)

    def forward(self, x):
        maps = [F.relu(self.bn1(self.conv1(x)))]
        x = F.max_pool2d(maps[0], 3, 2, 1)
        for s in range(4):
            x = getattr(self, f"layer{s + 1}")(x)
            maps.append(x)
        return maps


def dilate(stage, rate):
    """Strides become dilations."""
    for conv in stage.modules():
        if isinstance(conv, nn.Conv2d):
            conv.stride, conv.dilation = (1, 1), (rate, rate)
            conv.padding = (rate * (conv.kernel_size[0] // 2),) * 2


def conv_norm_relu(inputs, outputs, kernel=3):
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class DecoderBlock(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv1, self.conv2 = conv_norm_relu(inputs, outputs), conv_norm_relu(outputs, outputs)

    def forward(self, x, *skips):
        return self.conv2(self.conv1(torch.cat([F.interpolate(x, scale_factor=2), *skips], 1)))


class UNetPlusPlus(nn.Module):
    """Zhou et al., 2018: node X(row, column), here x_i_l: l - i columns after the node x_i_i at the encoder."""

    def __init__(self, in_channels, out_channels, blocks, features, decoder):
        super().__init__()
        self.encoder = Encoder(in_channels, blocks, features)
        deep = [8 * features, 4 * features, 2 * features, features, features]  # strides 32 … 2
        self.decoder = nn.Module()
        self.decoder.blocks = nn.ModuleDict()
        for l in range(4):
            for i in range(l + 1):
                below = decoder[l - 1] if i == 0 and l > 0 else deep[l]
                skips = (l - i) * deep[l + 1] + deep[l + 1]
                self.decoder.blocks[f"x_{i}_{l}"] = DecoderBlock(below + skips, decoder[l] if i == 0 else deep[l + 1])
        self.decoder.blocks["x_0_4"] = DecoderBlock(decoder[3], decoder[4])
        self.segmentation_head = nn.Sequential(nn.Conv2d(decoder[4], out_channels, 3, padding=1))

    def forward(self, x):
        deep, node = self.encoder(x)[::-1], {}
        # Column by column of the paper's figure: first the nodes at the encoder, then those that are one step on, …
        for step in range(4):
            for i in range(4 - step):
                l = i + step
                below = deep[i] if step == 0 else node[i, l - 1]
                node[i, l] = self.decoder.blocks[f"x_{i}_{l}"](below, *[node[k, l] for k in range(i + 1, l + 1)], deep[l + 1])
        return torch.sigmoid(self.segmentation_head(self.decoder.blocks["x_0_4"](node[0, 3])))


class Separable(nn.Sequential):
    def __init__(self, inputs, outputs, rate=1):
        super().__init__(
            nn.Conv2d(inputs, inputs, 3, padding=rate, dilation=rate, groups=inputs, bias=False),
            nn.Conv2d(inputs, outputs, 1, bias=False),
        )


class Pyramid(nn.Module):
    def __init__(self, inputs, outputs, rates, dropout):
        super().__init__()
        self.convs = nn.ModuleList([conv_norm_relu(inputs, outputs, 1)])
        for rate in rates:
            self.convs.append(nn.Sequential(Separable(inputs, outputs, rate), nn.BatchNorm2d(outputs), nn.ReLU()))
        self.convs.append(nn.Sequential(nn.AdaptiveAvgPool2d(1), *conv_norm_relu(inputs, outputs, 1)))
        self.project = nn.Sequential(*conv_norm_relu((len(rates) + 2) * outputs, outputs, 1), nn.Dropout(dropout))

    def forward(self, x):
        maps = [conv(x) for conv in self.convs]
        maps[-1] = F.interpolate(maps[-1], size=x.shape[2:], mode="bilinear", align_corners=False)
        return self.project(torch.cat(maps, 1))


class DeepLabV3Plus(nn.Module):
    """Chen et al., 2018."""

    def __init__(self, in_channels, out_channels, blocks, features, rates, output_stride, channels, skip):
        super().__init__()
        self.encoder = Encoder(in_channels, blocks, features, output_stride)
        self.scale = output_stride // 4
        self.decoder = nn.Module()
        self.decoder.aspp = nn.Sequential(
            Pyramid(8 * features, channels, rates, 0.0), Separable(channels, channels), nn.BatchNorm2d(channels), nn.ReLU()
        )
        self.decoder.block1 = conv_norm_relu(features, skip, 1)
        self.decoder.block2 = nn.Sequential(Separable(channels + skip, channels), nn.BatchNorm2d(channels), nn.ReLU())
        self.segmentation_head = nn.Sequential(nn.Conv2d(channels, out_channels, 1))

    def forward(self, x):
        maps = self.encoder(x)
        context = F.interpolate(self.decoder.aspp(maps[-1]), scale_factor=self.scale, mode="bilinear", align_corners=True)
        fused = self.decoder.block2(torch.cat([context, self.decoder.block1(maps[1])], 1))
        return torch.sigmoid(F.interpolate(self.segmentation_head(fused), scale_factor=4, mode="bilinear", align_corners=True))


class Conv(nn.Module):
    def __init__(self, inputs, outputs, kernel=1, stride=1, norm=False):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)
        self.bn = nn.BatchNorm2d(outputs) if norm else None

    def forward(self, x):
        x = self.conv(x)
        return x if self.bn is None else F.relu(self.bn(x))


class Residual(nn.Module):
    """Pre-activation bottleneck. The skip layer has weights even where it is not used."""

    def __init__(self, inputs, outputs):
        super().__init__()
        half = outputs // 2
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), Conv(inputs, half)
        self.bn2, self.conv2 = nn.BatchNorm2d(half), Conv(half, half, 3)
        self.bn3, self.conv3 = nn.BatchNorm2d(half), Conv(half, outputs)
        self.skip_layer = Conv(inputs, outputs)
        self.same = inputs == outputs

    def forward(self, x):
        y = self.conv1(F.relu(self.bn1(x)))
        y = self.conv2(F.relu(self.bn2(y)))
        y = self.conv3(F.relu(self.bn3(y)))
        return y + (x if self.same else self.skip_layer(x))


class Hourglass(nn.Module):
    def __init__(self, depth, features):
        super().__init__()
        self.up1, self.low1 = Residual(features, features), Residual(features, features)
        self.low2 = Hourglass(depth - 1, features) if depth > 1 else Residual(features, features)
        self.low3 = Residual(features, features)

    def forward(self, x):
        low = self.low3(self.low2(self.low1(F.max_pool2d(x, 2))))
        return self.up1(x) + F.interpolate(low, scale_factor=2)


class Merge(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv = Conv(inputs, outputs)

    def forward(self, x):
        return self.conv(x)


class StackedHourglass(nn.Module):
    """Newell et al., 2016."""

    def __init__(self, in_channels, out_channels, stacks, features, depth, stem):
        super().__init__()
        self.pre = nn.Sequential(
            Conv(in_channels, stem, 7, 2, norm=True), Residual(stem, 2 * stem), nn.MaxPool2d(2),
            Residual(2 * stem, 2 * stem), Residual(2 * stem, features),
        )  # fmt: skip
        self.hgs = nn.ModuleList(nn.Sequential(Hourglass(depth, features)) for _ in range(stacks))
        self.features = nn.ModuleList(
            nn.Sequential(Residual(features, features), Conv(features, features, norm=True)) for _ in range(stacks)
        )
        self.outs = nn.ModuleList(Conv(features, out_channels) for _ in range(stacks))
        self.merge_features = nn.ModuleList(Merge(features, features) for _ in range(stacks - 1))
        self.merge_preds = nn.ModuleList(Merge(out_channels, features) for _ in range(stacks - 1))

    def forward(self, x):
        x, heatmaps = self.pre(x), []
        for i, out in enumerate(self.outs):
            seen = self.features[i](self.hgs[i](x))
            heatmaps.append(out(seen))
            if i < len(self.outs) - 1:
                x = x + self.merge_preds[i](heatmaps[-1]) + self.merge_features[i](seen)
        return heatmaps


def state(net):
    return {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}


def initial_weights(net):
    """Convolutions with He's variance (wide outputs, so that an error anywhere shows); batch norms, biases and running statistics moved off 1 and 0, so that each counts."""
    weights = {}
    for name, value in state(net).items():
        value = value.numpy().astype(np.float64)
        if value.ndim == 4:
            value = rng.standard_normal(value.shape) * np.sqrt(2 / value[0].size)
        else:
            kind = name.split(".")[-1]
            low, high = {"weight": (0.7, 1.3), "bias": (-0.2, 0.3), "running_mean": (-0.3, 0.3), "running_var": (0.5, 1.5)}[kind]
            value = rng.uniform(low, high, value.shape)
        weights[name] = value.astype(np.float32)
    return weights


def dice_loss(p, y):
    return 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)


def mean_mse(heatmaps, y):
    return sum(F.mse_loss(h, y) for h in heatmaps) / len(heatmaps)


def images(n, channels, height, width):
    return rng.standard_normal((n, channels, height, width)).astype(np.float32)


def tensor(array):
    return torch.tensor(np.asarray(array, np.float64))


def run(stem, build, options, evaluations, training):
    """build(**more) makes the network; evaluations and training are cases (name, options, input shape)."""
    weights = initial_weights(build())
    expected = {}

    def fresh(more):
        net = build(**more).double()
        missing = net.load_state_dict({k: torch.tensor(v) for k, v in weights.items()}, strict=False)
        assert not missing.unexpected_keys and all("num_batches" in k for k in missing.missing_keys)
        return net

    def keep(case, outputs):
        for i, y in enumerate(outputs if isinstance(outputs, list) else [outputs]):
            expected[f"{case}/y{i}"] = stored(y)

    for case, more, shape in evaluations:
        expected[f"{case}/x"] = images(*shape)
        keep(case, fresh(more).eval()(tensor(expected[f"{case}/x"])))
    case, more, shape = training
    x = expected[f"{case}/x"] = images(*shape)
    net = fresh(more).train()
    outputs = net(tensor(x))
    keep(case, outputs)
    heatmaps = isinstance(outputs, list)
    size = outputs[0].shape if heatmaps else outputs.shape
    y = expected[f"{case}/y"] = (rng.uniform(size=size) < 0.4).astype(np.float32)
    loss = (mean_mse if heatmaps else dice_loss)(outputs, tensor(y))
    loss.backward()
    expected[f"{case}/loss"] = stored(loss)
    for name, parameter in net.named_parameters():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        expected[f"{case}/grads/{name}"] = stored(gradient)
    for name, value in state(net).items():
        if "running" in name:
            expected[f"{case}/after/{name}"] = stored(value)
    table = {
        "options": options,
        "evaluations": [{"name": name, "options": fovea_options(more)} for name, more, _ in evaluations],
        "training": {"name": case, "options": fovea_options(more)},
    }
    write_safetensors(HERE / f"{stem}.safetensors", weights)
    write_safetensors(HERE / f"{stem}-expected.safetensors", expected)
    (HERE / f"{stem}.json").write_text(json.dumps(table) + "\n")
    for name in (stem, f"{stem}-expected"):
        print(f"{name}.safetensors: {(HERE / f'{name}.safetensors').stat().st_size:,} bytes")
    gradients = [float(np.abs(v).max()) for k, v in expected.items() if "/grads/" in k]
    used = [g for g in gradients if g > 0]
    print(f"  {len(used)} gradients, largest entries from {min(used):.1e} to {max(used):.1e}; {len(gradients) - len(used)} unused")
    first = expected[f"{evaluations[0][0]}/y0"]
    print(f"  first output from {first.min():.3f} to {first.max():.3f}")


def fovea_options(more):
    """What a case changes, under fovea's names."""
    names = {"rates": "atrousRates", "output_stride": "outputStride"}
    return {names[k]: v for k, v in more.items()}


def main():
    encoder = {"blocks": [1, 2, 1, 1], "features": 4}
    decoder = [10, 8, 6, 5, 3]
    run(
        "unetplusplus",
        lambda: UNetPlusPlus(2, 2, **encoder, decoder=decoder),
        {"inChannels": 2, "outChannels": 2, "encoder": encoder, "decoderChannels": decoder},
        [("32x64", {}, (1, 2, 32, 64))],
        ("train", {}, (3, 2, 64, 64)),
    )

    def deeplab(rates=(1, 2, 3), output_stride=16):
        return DeepLabV3Plus(3, 1, **encoder, rates=rates, output_stride=output_stride, channels=12, skip=5)

    run(
        "deeplabv3plus",
        deeplab,
        {"inChannels": 3, "encoder": encoder, "decoderChannels": 12, "skipChannels": 5, "dropout": 0},
        [
            ("stride16", {"rates": [12, 24, 36]}, (2, 3, 48, 64)),
            ("stride8", {"output_stride": 8, "rates": [2, 4, 6]}, (1, 3, 40, 32)),
        ],
        ("train", {"rates": [1, 2, 3]}, (2, 3, 64, 64)),
    )
    run(
        "hourglass",
        lambda: StackedHourglass(1, 2, stacks=2, features=8, depth=2, stem=4),
        {"outChannels": 2, "stacks": 2, "features": 8, "depth": 2, "stemFeatures": 4},
        [("32x48", {}, (1, 1, 32, 48))],
        ("train", {}, (2, 1, 32, 32)),
    )


main()
