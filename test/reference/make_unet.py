"""A small U-Net in PyTorch (float64): outputs, gradients and ten Adam steps. Writes unet.safetensors
(the weights, named as in PyTorch's state dict), unet-expected.safetensors and unet.json.

    /usr/bin/python3 test/reference/make_unet.py

The architecture and the parameter names are those of M. Buda's brain-segmentation-pytorch U-Net.
"""
import json
from collections import OrderedDict

import numpy as np
import torch
from torch import nn

from reference_files import HERE, stored, write_safetensors

torch.set_num_threads(1)
CONFIG = {"inChannels": 2, "outChannels": 1, "features": 2, "smooth": 1, "lr": 1e-3, "steps": 10}
rng = np.random.default_rng(9)


def block(prefix, inputs, outputs):
    """Twice: 3×3 convolution without bias, batch norm, ReLU."""
    layers = OrderedDict()
    for k, channels in ((1, inputs), (2, outputs)):
        layers[f"{prefix}conv{k}"] = nn.Conv2d(channels, outputs, 3, padding=1, bias=False)
        layers[f"{prefix}norm{k}"] = nn.BatchNorm2d(outputs)
        layers[f"{prefix}relu{k}"] = nn.ReLU()
    return nn.Sequential(layers)


class UNet(nn.Module):
    def __init__(self, in_channels, out_channels, features):
        super().__init__()
        width = [features * 2**level for level in range(5)]
        for level in range(1, 5):
            inputs = in_channels if level == 1 else width[level - 2]
            setattr(self, f"encoder{level}", block(f"enc{level}", inputs, width[level - 1]))
        self.bottleneck = block("bottleneck", width[3], width[4])
        for level in range(4, 0, -1):
            setattr(self, f"upconv{level}", nn.ConvTranspose2d(width[level], width[level - 1], 2, stride=2))
            setattr(self, f"decoder{level}", block(f"dec{level}", 2 * width[level - 1], width[level - 1]))
        self.conv = nn.Conv2d(features, out_channels, 1)

    def forward(self, x):
        skips = []
        for level in range(1, 5):
            x = getattr(self, f"encoder{level}")(x)
            skips.append(x)
            x = nn.functional.max_pool2d(x, 2)
        x = self.bottleneck(x)
        for level in range(4, 0, -1):
            up = getattr(self, f"upconv{level}")(x)
            x = getattr(self, f"decoder{level}")(torch.cat([up, skips[level - 1]], 1))
        return torch.sigmoid(self.conv(x))


def state(net):
    return {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}


def dice_loss(p, y):
    return 1 - (2 * (p * y).sum() + CONFIG["smooth"]) / (p.sum() + y.sum() + CONFIG["smooth"])


def objects(n, height, width):
    """Bright discs on a noisy slope, the second channel a blurred copy; masks of the discs."""
    v, u = np.mgrid[:height, :width]
    images, masks = np.zeros((n, 2, height, width)), np.zeros((n, 1, height, width))
    for i in range(n):
        cx, cy = rng.uniform(0.3, 0.7) * width, rng.uniform(0.3, 0.7) * height
        radius = rng.uniform(0.18, 0.32) * min(height, width)
        distance = np.hypot(u - cx, v - cy)
        masks[i, 0] = distance < radius
        slope = 0.3 * (u / width - 0.5)
        images[i, 0] = masks[i, 0] - 0.5 + slope + 0.15 * rng.standard_normal((height, width))
        images[i, 1] = np.exp(-((distance / radius) ** 2)) - 0.5 + 0.1 * rng.standard_normal((height, width))
    return images.astype(np.float32), masks.astype(np.float32)


def tensor(array):
    return torch.tensor(array.astype(np.float64))


def initial_weights():
    """Convolutions with He's variance (wide outputs, so that an error anywhere shows); batch norms and
    running statistics moved off 1 and 0, so that each counts."""
    torch.manual_seed(7)
    net = UNet(CONFIG["inChannels"], CONFIG["outChannels"], CONFIG["features"])
    weights = {}
    for name, value in state(net).items():
        value = value.numpy().astype(np.float64)
        if "norm" in name:
            low, high = {"weight": (0.7, 1.3), "bias": (-0.2, 0.3), "running_mean": (-0.3, 0.3), "running_var": (0.5, 1.5)}[name.split(".")[-1]]
            value = rng.uniform(low, high, value.shape)
        elif value.ndim == 4:
            fan_in = value.shape[0] if "upconv" in name else value[0].size  # 2×2 with stride 2: one tap a pixel
            value = rng.standard_normal(value.shape) * np.sqrt(2 / fan_in)
        weights[name] = value.astype(np.float32)
    return weights


def fresh(weights, dtype):
    net = UNet(CONFIG["inChannels"], CONFIG["outChannels"], CONFIG["features"]).to(dtype)
    missing = net.load_state_dict({k: torch.tensor(v) for k, v in weights.items()}, strict=False)
    assert not missing.unexpected_keys and all("num_batches" in k for k in missing.missing_keys)
    return net


def train(weights, batches, dtype):
    net = fresh(weights, dtype).train()
    optimiser = torch.optim.Adam(net.parameters(), lr=CONFIG["lr"])
    losses = []
    for step in range(CONFIG["steps"]):
        x, y = batches[step % len(batches)]
        optimiser.zero_grad()
        loss = dice_loss(net(tensor(x).to(dtype)), tensor(y).to(dtype))
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses, {k: stored(v) for k, v in state(net).items()}


def main():
    weights = initial_weights()
    expected = {}

    for shape, size in (("32x32", (32, 32)), ("32x48", (32, 48))):
        x, y = objects(2, *size)
        expected[f"{shape}/x"], expected[f"{shape}/y"] = x, y
        expected[f"{shape}/eval"] = stored(fresh(weights, torch.float64).eval()(tensor(x)))
        net = fresh(weights, torch.float64).train()
        p = net(tensor(x))
        loss = dice_loss(p, tensor(y))
        expected[f"{shape}/train"] = stored(p)
        expected[f"{shape}/loss"] = stored(loss)
        if shape == "32x32":
            loss.backward()
            for name, parameter in net.named_parameters():
                expected[f"{shape}/grads/{name}"] = stored(parameter.grad)
            for name, value in state(net).items():
                if "running" in name:
                    expected[f"{shape}/after/{name}"] = stored(value)

    batches = [objects(2, 32, 32) for _ in range(2)]
    for k, (x, y) in enumerate(batches):
        expected[f"training/x{k}"], expected[f"training/y{k}"] = x, y
    losses, final = train(weights, batches, torch.float64)
    single_losses, single = train(weights, batches, torch.float32)
    expected["training/losses"] = np.array(losses, np.float32)
    for name, value in final.items():
        expected[f"training/final/{name}"] = value

    def difference(kind):
        return max(float(np.abs(final[k] - single[k]).max()) for k in final if ("running" in k) == kind)
    table = {
        **CONFIG,
        "batches": len(batches),
        "losses": losses,
        "float32Differences": {  # of PyTorch's own float32 run: what a float32 engine may differ by
            "relativeLoss": float(f"{max(abs(a - b) / a for a, b in zip(losses, single_losses)):.1e}"),
            "finalParameters": float(f"{difference(False):.1e}"),
            "finalRunningStatistics": float(f"{difference(True):.1e}"),
        },
    }
    write_safetensors(HERE / "unet.safetensors", weights)
    write_safetensors(HERE / "unet-expected.safetensors", expected)
    (HERE / "unet.json").write_text(json.dumps(table, indent=1) + "\n")
    print(json.dumps(table, indent=1))
    for name in ("unet.safetensors", "unet-expected.safetensors"):
        print(f"{name}: {(HERE / name).stat().st_size:,} bytes")
    gradients = {k: np.abs(v).max() for k, v in expected.items() if "/grads/" in k}
    print("parameter gradients, largest entry: from", min(gradients.values()), "to", max(gradients.values()))
    print("eval output from", expected["32x32/eval"].min(), "to", expected["32x32/eval"].max())


main()
