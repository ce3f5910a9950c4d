"""The U-Net of src/nn/networks/unet.ts in eager PyTorch: median time of a training step, as one line of JSON.

    python3 bench/gpu/pytorch_unet.py [--device cuda] [--features 32] [--channels 3] [--batch 8] [--size 256]
                                      [--precision float32|tf32|float16] [--seconds 10]

Gradients cleared, forward, soft Dice loss, backward, Adam; like fovea's step in layers, shapes and order. float32 is
without TF32. cuDNN looks for its fastest algorithms first (benchmark mode), so that nothing is held back. float16 is
torch.autocast with a GradScaler.
"""

import argparse
import json
import statistics
import time

import torch
from torch import nn


def block(inputs: int, features: int) -> nn.Sequential:
    """[3×3 convolution without bias, batch norm, ReLU] twice."""
    layers = []
    for channels in (inputs, features):
        layers += [
            nn.Conv2d(channels, features, 3, padding=1, bias=False),
            nn.BatchNorm2d(features),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Four levels; probabilities (N, 1, H, W)."""

    def __init__(self, channels: int, features: int, levels: int = 4):
        super().__init__()
        widths = [features * 2**level for level in range(levels + 1)]
        self.encoders = nn.ModuleList(block(i, o) for i, o in zip([channels, *widths], widths[:levels]))
        self.bottleneck = block(widths[levels - 1], widths[levels])
        self.ups = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, stride=2) for w in widths[:levels])
        self.decoders = nn.ModuleList(block(2 * w, w) for w in widths[:levels])
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Conv2d(features, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for encoder in self.encoders:
            skips.append(encoder(x))
            x = self.pool(skips[-1])
        x = self.bottleneck(x)
        for up, decoder, skip in reversed(list(zip(self.ups, self.decoders, skips))):
            x = decoder(torch.cat([up(x), skip], dim=1))
        return torch.sigmoid(self.head(x))


def dice_loss(p: torch.Tensor, y: torch.Tensor, smooth: float = 1.0) -> torch.Tensor:
    return 1 - (2 * (p * y).sum() + smooth) / (p.sum() + y.sum() + smooth)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--features", type=int, default=32)
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--precision", choices=["float32", "tf32", "float16"], default="float32")
    parser.add_argument("--seconds", type=float, default=10)
    given = parser.parse_args()

    torch.manual_seed(42)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = given.precision == "tf32"
    torch.backends.cudnn.benchmark = True
    on_gpu = given.device.startswith("cuda")
    half = given.precision == "float16"
    if half and not on_gpu:
        parser.error("--precision float16 needs --device cuda")
    net = UNet(given.channels, given.features).to(given.device).train()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    scaler = torch.cuda.amp.GradScaler(enabled=half)
    shape = (given.batch, given.channels, given.size, given.size)
    x = torch.randn(shape, device=given.device)
    y = (torch.rand((given.batch, 1, given.size, given.size), device=given.device) > 0.6).float()

    def synchronize() -> None:
        if on_gpu:
            torch.cuda.synchronize()

    def step() -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", dtype=torch.float16, enabled=half):
            p = net(x)
        loss = dice_loss(p.float(), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss

    for _ in range(3):
        loss = step()
    synchronize()
    times = []
    end = time.perf_counter() + given.seconds
    # One step a measurement, awaited, as fovea's are when they take more than 5 ms.
    while len(times) < 5 or (time.perf_counter() < end and len(times) < 300):
        start = time.perf_counter()
        loss = step()
        synchronize()
        times.append(1000 * (time.perf_counter() - start))
    if not torch.isfinite(loss):
        raise SystemExit(f"the loss became {loss.item()}")
    result = {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "precision": given.precision,
        "ms": statistics.median(times),
        "min": min(times),
        "runs": len(times),
        "parameters": sum(p.numel() for p in net.parameters()),
        "peakBytes": torch.cuda.max_memory_allocated() if on_gpu else 0,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
