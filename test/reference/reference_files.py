"""Case tables (JSON, one case a line) with their arrays (safetensors), shared by the make_*.py scripts.

Inputs are drawn in float32; values and gradients are computed in float64 and stored as float32, so
a stored value is right to half a unit in the last place.
"""
import json
import struct
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
DTYPES = {"float32": "F32", "int32": "I32"}


def write_safetensors(path, arrays):
    """8-byte little-endian header length, JSON header {name: {dtype, shape, data_offsets}}, data."""
    header, blobs, offset = {}, [], 0
    for name, array in arrays.items():
        array = np.asarray(array)
        blob = np.ascontiguousarray(array).tobytes()
        header[name] = {
            "dtype": DTYPES[str(array.dtype)],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + len(blob)],
        }
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data starts at a multiple of 8
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def stored(value):
    """A tensor or array as it goes into the file: float32, or int32 where it holds integers."""
    if isinstance(value, torch.Tensor):
        value = value.detach().numpy()
    value = np.asarray(value)
    return value.astype(np.int32 if value.dtype.kind in "iub" else np.float32)


class Table:
    """Collects cases; `add` runs the reference function and takes its gradients."""

    def __init__(self, stem, seed):
        self.stem, self.cases, self.arrays = stem, [], {}
        self.rng = np.random.default_rng(seed)

    def normal(self, *shape, scale=1.0, offset=0.0):
        return (offset + scale * self.rng.standard_normal(shape)).astype(np.float32)

    def uniform(self, *shape, low=0.0, high=1.0):
        return self.rng.uniform(low, high, shape).astype(np.float32)

    def distinct(self, *shape):
        """No two values closer than 0.01: for maxima, whose gradients jump at ties."""
        n = int(np.prod(shape))
        values = (self.rng.permutation(n) - n / 2) * min(0.05, 4 / n) + self.rng.uniform(0, 0.01 * min(1, 80 / n), n)
        return values.reshape(shape).astype(np.float32)

    def add(self, name, op, fn, inputs, attrs=None, grads=(), more_grads=(), outputs=("y",), **fields):
        """fn(*inputs) gives the outputs; gradients are those of <outputs[0], upstream>."""
        tensors = {}
        for key, value in inputs.items():
            value = stored(value)
            integers = value.dtype == np.int32
            tensors[key] = torch.tensor(value.astype(np.int64 if integers else np.float64))
            if key in (*grads, *more_grads):
                tensors[key].requires_grad_()
            self.arrays[f"{name}/{key}"] = value
        results = fn(*tensors.values())
        results = results if isinstance(results, tuple) else (results,)
        assert len(results) == len(outputs), name
        for key, value in zip(outputs, results):
            assert key not in inputs, f"{name}: {key} is both input and output"
            self.arrays[f"{name}/{key}"] = stored(value)
        case = {"name": name, "op": op, "inputs": list(inputs), "attrs": attrs or {}, "outputs": list(outputs)}
        if grads or more_grads:
            dy = self.normal(*results[0].shape)
            self.arrays[f"{name}/dy"] = stored(dy)
            results[0].backward(torch.tensor(np.asarray(dy, np.float64)).reshape(results[0].shape))
            for key in (*grads, *more_grads):
                self.arrays[f"{name}/d{key}"] = stored(tensors[key].grad)
            case["grads"] = list(grads)
            if more_grads:
                case["moreGrads"] = list(more_grads)
            case["upstream"] = "dy"
        case.update(fields)
        assert name not in {c["name"] for c in self.cases}, f"{name} twice"
        self.cases.append(case)
        return case

    def keep(self, case, key, value):
        """One more array of a case."""
        self.arrays[f"{case['name']}/{key}"] = stored(value)

    def write(self):
        lines = ",\n".join(json.dumps(case) for case in self.cases)
        (HERE / f"{self.stem}.json").write_text(f"[\n{lines}\n]\n")
        path = HERE / f"{self.stem}.safetensors"
        write_safetensors(path, self.arrays)
        print(f"{path.name}: {len(self.cases)} cases, {len(self.arrays)} arrays, {path.stat().st_size:,} bytes")
