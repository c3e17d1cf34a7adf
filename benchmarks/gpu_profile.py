"""Kernels of a compiled step: how long each takes, what it is for, and how many bytes it moves."""

import collections
import json
import pathlib
import re
import tempfile

import jax

_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "f32": 4, "s32": 4, "u32": 4, "s64": 8}
_SHAPE = re.compile(rf"\b({'|'.join(_BYTES)})\[([\d,]*)\]")
_LINE = re.compile(r"\s+(?:ROOT )?%?([\w.\-]+) = (.*?) ([\w\-]+)\((.*?)\)(.*)")
_FREE = {"parameter", "get-tuple-element", "tuple", "bitcast", "constant"}


def _size(shapes: str) -> int:
    total = 0
    for kind, sides in _SHAPE.findall(shapes):
        count = _BYTES[kind]
        for side in filter(None, sides.split(",")):
            count *= int(side)
        total += count
    return total


class Program:
    """The instructions of a compiled program, by name.

    Attributes:
      bytes: instruction -> bytes that it reads and writes, if each operand is read once.
      groups: instruction -> what it is for.
    """

    def __init__(self, text: str):
        """Reads the text of a compiled program (HLO)."""
        shapes, self.bytes, self.groups = {}, {}, {}
        for line in text[text.index("\nENTRY") :].splitlines():
            if not (match := _LINE.match(line)):
                continue
            name, shape, kind, operands, rest = match.groups()
            shapes[name] = shape
            if kind in _FREE:
                continue
            read = (shapes.get(x.strip().split("%")[-1], "") for x in operands.split(","))
            self.bytes[name] = _size(shape) + sum(map(_size, read))
            self.groups[name] = _group(name, shape, kind, rest)

    def table(self, profile: tuple[dict, float, int], path: pathlib.Path, say) -> None:
        """Prints groups and the ten largest kernels, and writes all kernels to a file."""
        kernels, span, steps = profile
        total = sum(seconds for seconds, _ in kernels.values())
        rows, groups = [], collections.defaultdict(lambda: [0.0, 0, 0])
        for (kernel, instruction), (seconds, count) in kernels.items():
            name = self._find(instruction) or self._find(kernel)
            group = self.groups.get(name, f"unknown: {kernel[:40]}")
            moved = self.bytes.get(name, 0)
            row = [1e3 * seconds / steps, count / steps, group, name, kernel[:120], moved / 1e9]
            rows.append(row)
            for i, x in enumerate((row[0], row[1], moved * count / steps / 1e9)):
                groups[group][i] += x
        rows.sort(key=lambda row: -row[0])
        path.write_text(json.dumps({"steps": steps, "span_s": span, "kernels": rows}))
        say(
            f"kernels: {1e3 * total / steps:.2f} ms a step in {sum(r[1] for r in rows):.0f}, from "
            f"first to last {1e3 * span / steps:.2f} ms; ms, share, number, GB, GB/s by group:"
        )
        for group, (ms, count, moved) in sorted(groups.items(), key=lambda item: -item[1][0])[:24]:
            rate = moved / ms * 1e3 if ms else 0
            print(f"  {ms:7.3f} {ms / total / 10 * steps:5.1f} % {count:6.0f} {moved:7.2f} "
                  f"{rate:6.0f}  {group}")  # fmt: skip
        print("ten largest kernels: ms, share, number a step, GB/s, instruction, kernel")
        for ms, count, group, name, kernel, moved in rows[:10]:
            rate = moved * count / ms * 1e3 if ms else 0
            print(f"  {ms:7.3f} {ms / total / 10 * steps:5.1f} % {count:4.0f} {rate:6.0f}  "
                  f"{name} [{group}] {kernel[:60]}", flush=True)  # fmt: skip

    def _find(self, name: str) -> str | None:
        """Returns the instruction that a kernel is named after: dots are underscores there."""
        if name in self.groups:
            return name
        if not hasattr(self, "_by_kernel"):
            self._by_kernel = {re.sub(r"[.\-]", "_", known): known for known in self.groups}
        return self._by_kernel.get(re.sub(r"[.\-]", "_", name))


def _group(name: str, shape: str, kind: str, rest: str) -> str:
    found = re.search(r'op_name="([^"]*)"', rest)
    what = found[1] if found else ""
    phase = "backward" if "transpose(jvp" in what else "forward" if "jvp(" in what else "update"
    if "__cudnn$conv" in rest or "conv_fusion" in name:
        window = re.search(r"size=(\w+)", rest)
        size = window[1] if window else "?"
        if "BackwardFilter" in rest:
            return f"convolution {size}, weight gradient"
        if "BackwardInput" in rest or phase == "backward":
            return f"convolution {size}, data gradient"
        return f"convolution {size}, forward"
    if "gemm" in name or "__cublas" in rest or kind == "dot":
        return f"product, {phase}"
    if re.search("reduce_window|select_and_scatter|scatter", name + what):
        return f"pooling, {phase}"
    if "transpose_fusion" in name or kind in ("copy", "transpose"):
        return "copies and transposes of kernels"
    if phase == "update":
        return "optimizer, norms of gradients"
    if "reduce" in name:
        one_row = re.fullmatch(r"[(\w\[\d\]{}, ]*", shape) and not re.search(r"\[\d+,", shape)
        return f"sums, {phase}" + (", second stage or small" if one_row else "")
    if not re.search(r"\[\d+,", shape):
        return f"per channel, {phase}"
    return f"norm, ReLU and other sums, {phase}"


def profile(run, wait, steps: int = 3) -> tuple[dict, float, int]:
    """Returns ((kernel, instruction) -> (seconds, number), seconds in all, steps)."""
    run()
    wait()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(steps):
                run()
            wait()
        (path,) = pathlib.Path(folder).glob("**/*.xplane.pb")
        planes = list(jax.profiler.ProfileData.from_file(str(path)).planes)
        kernels, first, last = collections.defaultdict(lambda: [0.0, 0]), float("inf"), 0.0
        on_gpu = [plane for plane in planes if plane.name.startswith("/device:GPU")]
        for plane in on_gpu or planes:
            for line in plane.lines:
                if on_gpu and not line.name.startswith("Stream"):
                    continue  # the same once more, by module and by layer
                for event in line.events:
                    stats = dict(event.stats)
                    if not on_gpu and "hlo_op" not in stats:
                        continue
                    entry = kernels[event.name, str(stats.get("hlo_op", ""))]
                    entry[0] += event.duration_ns / 1e9
                    entry[1] += 1
                    first = min(first, event.start_ns)
                    last = max(last, event.start_ns + event.duration_ns)
    return dict(kernels), (last - first) / 1e9, steps
