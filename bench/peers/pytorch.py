#!/usr/bin/env python3
"""Eager PyTorch on the processor, all cores: what a user of its framework gets on a machine without a GPU. Prints JSON
lines as the other peers do; see README.md.

    python3 bench/peers/pytorch.py [--quick]
"""

import json
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "gpu"))
from pytorch_unet import UNet, dice_loss  # noqa: E402

# The work of workload.mjs; run.mjs compares the results with the other peers'.
CONV = {"batch": 4, "channels": 32, "filters": 32, "size": 64}
BATCH, CHANNELS, SIZE, FEATURES, LEVELS = 4, 1, 64, 16, 4


def uniform(seed: int, shape: tuple, low: float = -1.0, high: float = 1.0) -> torch.Tensor:
    """mulberry32, as in workload.mjs: its state moves on evenly, so all numbers come at once."""
    count = int(np.prod(shape))
    with np.errstate(over="ignore"):
        state = np.uint32(seed) + np.uint32(0x6D2B79F5) * np.arange(1, count + 1, dtype=np.uint32)
        t = (state ^ (state >> np.uint32(15))) * (state | np.uint32(1))
        t ^= t + (t ^ (t >> np.uint32(7))) * (t | np.uint32(61))
        t ^= t >> np.uint32(14)
    return torch.from_numpy((low + (high - low) * (t / 2**32)).astype(np.float32).reshape(shape))


def unet_batch() -> tuple:
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    discs = [np.hypot(x - (SIZE * 0.4 + 3 * n), y - (SIZE * 0.5 - 2 * n)) < SIZE * 0.2 + n for n in range(BATCH)]
    masks = torch.from_numpy(np.stack(discs)[:, None].astype(np.float32))
    return uniform(7, tuple(masks.shape), -0.3, 0.3) + masks - 0.5, masks


def unet() -> UNet:
    """With the weights of workload.mjs, whose seeds follow the order of the layers in the forward pass."""
    net = UNet(CHANNELS, FEATURES, LEVELS)
    seed = 0

    def fill(layer: torch.nn.Module) -> None:
        nonlocal seed
        weight = layer.weight
        if weight.dim() == 4:
            transposed = isinstance(layer, torch.nn.ConvTranspose2d)
            bound = 1 / np.sqrt(weight.shape[0 if transposed else 1] * weight.shape[2] * weight.shape[3])
            weight.data = uniform(100 + seed, tuple(weight.shape), -bound, bound)
            if layer.bias is not None:
                layer.bias.data = uniform(500 + seed, tuple(layer.bias.shape), -bound, bound)
        seed += 1

    def fill_block(block: torch.nn.Module) -> None:
        for layer in block:
            if not isinstance(layer, torch.nn.ReLU):
                fill(layer)

    for block in [*net.encoders, net.bottleneck]:
        fill_block(block)
    for up, decoder in reversed(list(zip(net.ups, net.decoders))):
        fill(up)
        fill_block(decoder)
    fill(net.head)
    return net


def mean_abs(values: torch.Tensor) -> float:
    return float(values.detach().double().abs().mean())


def measure(name: str, step, quick: bool) -> dict:
    """As in measure.mjs: median and least of so many runs, or of what so many seconds hold."""
    warm_ups, runs, at_least, seconds = (1, 3, 1, 3) if quick else (2, 9, 3, 12)
    times = []
    for _ in range(warm_ups + runs):
        start = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - start))
        measured = times[warm_ups:]
        if len(measured) >= at_least and sum(measured) > 1e3 * seconds:
            break
    first, measured = times[0], times[warm_ups:]
    figures = {"ms": statistics.median(measured), "min": min(measured), "first": first}
    return {"name": name, **{k: float(f"{v:.4g}") for k, v in figures.items()}, "runs": len(measured)}


def conv_tensors() -> tuple:
    n, c, k, side = CONV["batch"], CONV["channels"], CONV["filters"], CONV["size"]
    return uniform(1, (n, c, side, side)), uniform(2, (k, c, 3, 3)), uniform(3, (n, k, side, side))


def conv(name: str, quick: bool) -> dict:
    x, weight, _ = conv_tensors()
    with torch.no_grad():
        result = measure(name, lambda: F.conv2d(x, weight, padding=1), quick)
        return {**result, "check": [mean_abs(F.conv2d(x, weight, padding=1))]}


def conv_gradients(name: str, quick: bool) -> dict:
    x, weight, dy = (t.requires_grad_() for t in conv_tensors())
    y = F.conv2d(x, weight, padding=1)

    def gradients() -> tuple:
        return torch.autograd.grad(y, (x, weight), dy.detach(), retain_graph=True)

    return {**measure(name, gradients, quick), "check": [mean_abs(g) for g in gradients()]}


def inference(name: str, quick: bool) -> dict:
    net, (images, _) = unet().eval(), unet_batch()
    with torch.no_grad():
        return {**measure(name, lambda: net(images), quick), "check": [mean_abs(net(images))]}


def training(name: str, quick: bool) -> dict:
    net, (images, masks) = unet().train(), unet_batch()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8)
    losses = []

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss = dice_loss(net(images), masks)
        loss.backward()
        optimizer.step()
        losses.append(float(loss))

    return {**measure(name, step, quick), "check": losses[:2]}


def main() -> None:
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    torch.set_num_threads(threads)
    results = []
    work = {
        "conv3x3 4x32->32x64x64": conv,
        "conv3x3 gradients 4x32->32x64x64": conv_gradients,
        "unet16 inference 4x1x64x64": inference,
        "unet16 training step 4x1x64x64": training,
    }
    for name, run in work.items():
        results.append(run(name, "--quick" in sys.argv))
        adapter = f"the processor, {threads} threads"
        line = {"peer": "PyTorch (processor)", "version": torch.__version__, "adapter": adapter, "results": results}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
