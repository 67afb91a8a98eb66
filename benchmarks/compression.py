"""How small and how fast the model becomes, and whether it still decides as it did: the champion of `make season`.

    .venv/bin/python benchmarks/compression.py [--seeds 4] [--quick]

Every file answers through the device's own package on one thread, all of them in turns in one process, so that ratios
hold on a busy machine. Decisions are compared morning by morning on the held-out seasons, profits in closed loop: on
simulated what-if fields, and at the main site of benchmarks/decisions.py in 2008-2018, which no model has seen.
FIELDLOOP_ROOT names another clone to take the champion from.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from benchmarks.closed_loop.fieldloop import advised
from benchmarks.closed_loop.kept import write_json
from benchmarks.closed_loop.sites import DEAR_WATER, MAIN
from benchmarks.common.bars import machine, print_bars
from benchmarks.common.champion import champion
from benchmarks.small_models.sparse import unstructured, zero_share
from benchmarks.small_models.trees import grown
from fieldedge.diagnostics.benchmark import cpu_features
from fieldedge.workloads.agriculture import AGRICULTURE
from fieldloop.compression import Bench, CompressionInputs, Recipe, compress
from fieldloop.compression.candidates import Scales
from fieldloop.compression.distil import fine_tuned, subset
from fieldloop.compression.distiller import Distiller
from fieldloop.compression.onnx_files import Shell, export_body, export_shell, write_whole
from fieldloop.compression.ort_quantise import body_inputs, float16, ort_dynamic, ort_static
from fieldloop.compression.prune import with_other_body
from fieldloop.compression.quantise import quantized_body
from fieldloop.compression.saturation import pair_sums
from fieldloop.core.params import CompressionParams
from fieldloop.evaluation.predictor import predictor

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "compression.json"
WHOLE, AS_TRAINED, SMALL = "float32", "float32, operation by operation", "INT8, pruned"
FLOOR = "float32, one layer"
LARGE_HIDDEN, LARGE_EPOCHS = (1024, 640, 448), 3  # a million weights
BATCHES = (1, 12, 64)
CALLS = 2000
FIRST_SEED = 300
SPARSITY = 0.6
HASWELL = ("qemu-x86_64", "-cpu", "Haswell")


def main() -> int:
    """Run, print the tables, write the JSON; 1 where a bar is missed."""
    options = parsed()
    started = time.monotonic()
    loop, inputs = champion()
    params = loop.params.compression
    bench = Bench(loop.settings.edge_python_path, ROOT, loop.workload)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        shipped = compress(inputs, params, folder / "step", bench)
        print(f"the loop's own step: {shipped.reason}\n")
        files = Files(inputs, params, folder / "files")
        rows = weighed(files, bench)
        rows += [trees_row(inputs, rows[0])] if not options.quick else []
        print_table(f"the champion, {sum(p.numel() for p in body(inputs).parameters()):,} weights", rows)
        profits = closed_loop(files.paths, options.seeds)
        large = [] if options.quick else large_rows(inputs, params, folder / "large", bench)
        overflow = saturation(files, bench)
    asked = bars(rows, profits, params)
    print()
    print_bars(asked, decimals=3)
    figures = {
        "machine": {**machine(), "cpu_features": cpu_features()},
        "seconds": round(time.monotonic() - started, 1),
        "bars": asked,
        "champion": rows,
        "closed_loop_2008_2018": profits,
        "large_network": large,
        "saturation": overflow,
        "step": {key: value for key, value in shipped.as_dict().items() if key not in ("path", "picture")},
    }
    if not options.quick:
        write_json(RESULT, json.loads(json.dumps(figures).replace(f"{ROOT}/", "").replace(scratch, "")))
        print(f"\nwritten to {RESULT.relative_to(ROOT)}")
    return int(not all(bar["is_met"] for bar in asked))


def parsed() -> argparse.Namespace:
    """The command line."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seeds", type=int, default=4, help="draws of the sensors' noise at the main site")
    arguments.add_argument("--quick", action="store_true", help="without trees and the large network; writes nothing")
    return arguments.parse_args()


class Files:
    """Every file of the table, by its name there."""

    def __init__(self, inputs: CompressionInputs, params: CompressionParams, folder: Path) -> None:
        self.inputs, self.params, self.folder = inputs, params, folder
        self.paths: dict[str, Path] = {}
        self.hows: dict[str, str] = {}
        whole, keep = inputs.network, min(params.search.keep)
        shell, float_body = export_shell(whole, len(inputs.features)), export_body(body(inputs))
        plain = export_shell(whole, len(inputs.features), is_folded=False)
        self._add(WHOLE, shell, float_body, "its arithmetic folded")
        self._add(AS_TRAINED, plain, float_body, "as it trains, and as it was exported before")
        self._add("float16", shell, float16(float_body), "weights stored in 16 bits")
        self._add_int8("INT8", whole, shell, float_body, "all neurons")
        distiller = Distiller(inputs, params)
        self.pruned: Any = distiller.taught(keep)
        small_shell, small_body = export_shell(self.pruned, len(inputs.features)), export_body(self.pruned.body)
        self._add(
            "float32, pruned", small_shell, small_body, f"{100 * keep:g} % of the neurons, taught by the whole one"
        )
        self._add_int8(SMALL, self.pruned, small_shell, small_body, f"{100 * keep:g} % of the neurons")
        sparse = unstructured(whole, SPARSITY)
        told = f"{100 * zero_share(sparse):.0f} % of the weights zero, by magnitude"
        self._add("float32, sparse", shell, export_body(sparse.body), told)
        linear: Any = distiller.tuned(with_other_body(inputs.workload.learner, whole, (), 0.0))
        self._add(FLOOR, shell, export_body(linear.body), "a body of one layer: what any file costs at least")

    def _add_int8(self, name: str, network: Any, shell: Shell, float_body: onnx.ModelProto, told: str) -> None:
        """The same network by each quantiser. The plain name is neural-compressor's, with weights of 7 bits."""
        calibration = self.inputs.calibration
        self._add(name, shell, quantized_body(network, calibration, shell, Recipe()), f"neural-compressor, {told}")
        unsigned = quantized_body(network, calibration, shell, Recipe(weights="unsigned"))
        self._add(f"{name}, 8-bit unsigned weights", shell, unsigned, f"neural-compressor, {told}")
        static = ort_static(float_body, body_inputs(network, calibration))
        self._add(f"{name}, ORT static", shell, static, f"ONNX Runtime's quantiser, {told}")
        self._add(f"{name}, ORT dynamic", shell, ort_dynamic(float_body), f"ONNX Runtime's quantiser, {told}")

    def _add(self, name: str, shell: Shell, inner: onnx.ModelProto, how: str) -> None:
        path = self.folder / f"{len(self.paths):02d}.onnx"
        self.paths[name] = write_whole(shell, inner, dict(self.inputs.metadata), path)
        self.hows[name] = how


def body(inputs: CompressionInputs) -> Any:
    """The champion's body."""
    network: Any = inputs.network
    return network.body


def weighed(files: Files, bench: Bench) -> list[dict[str, Any]]:
    """A row for every file: bytes, error, decisions, profit, and times by the number of candidates."""
    inputs = files.inputs
    scales = Scales(inputs, files.params)
    times = timed(files.paths, AGRICULTURE.contract.scale(files.inputs.held_out.inputs), bench)
    rows = []
    for name, path in files.paths.items():
        precision: Any = "int8" if name.startswith("INT8") else "float32"
        one = scales.measured(name, precision, 1.0, inputs.network, files.hows[name], "", path)
        rows.append(
            {
                "file": name,
                "how": files.hows[name],
                "bytes": one.bytes,
                "bytes_compressed": len(zlib.compress(path.read_bytes(), 9)),
                "yield_rmse_t_ha": one.primary,
                "error_increase_pct": one.error_increase_pct,
                "same_action_pct": one.same_action_pct,
                "agreement_pct": one.agreement_pct,
                "worst_regret_pct": one.worst_regret_pct,
                "what_if_profit_usd_ha": one.value,
                "what_if_profit_change_pct": one.value_change_pct,
                "is_sound": one.is_sound,
                "is_overflow_free": one.is_overflow_free,
                **{f"{key}_us": {str(n): times[n][name][key] for n in BATCHES} for key in ("p50", "p99")},
                "memory_kb": times[BATCHES[0]][name]["memory_kb"],
            }
        )
        print(f"  weighed {name}", flush=True)
    return rows


def timed(paths: Mapping[str, Path], rows: Any, bench: Bench) -> dict[int, dict[str, dict[str, Any]]]:
    """Times of every file by the device's own package, all in one process, by the number of candidates."""
    found = {}
    for candidates in BATCHES:
        said, _ = bench.measure([str(bench.edge_python)], list(paths.values()), rows[:candidates], CALLS)
        named = dict(zip(paths, said["files"], strict=True))
        found[candidates] = {
            name: {"p50": one["p50_us"], "p99": one["p99_us"], "memory_kb": one["memory_kb"]}
            for name, one in named.items()
        }
    return found


def trees_row(inputs: CompressionInputs, whole: Mapping[str, Any]) -> dict[str, Any]:
    """LightGBM of equal accuracy, or as near as it comes."""
    held_out = inputs.held_out
    trees = grown(inputs.training, held_out, whole["yield_rmse_t_ha"])
    size, compressed = trees.sizes()
    times = {n: trees.call_times_us(AGRICULTURE.contract.scale(held_out.inputs)[:n], 300) for n in BATCHES}
    return {
        "file": "LightGBM",
        "how": f"5 boosters of {trees.trees} trees; without the effects of an action, and in Python",
        "bytes": size,
        "bytes_compressed": compressed,
        "yield_rmse_t_ha": trees.yield_rmse_t_ha,
        "error_increase_pct": 100.0 * (trees.yield_rmse_t_ha / whole["yield_rmse_t_ha"] - 1.0),
        "p50_us": {str(n): float(np.median(values)) for n, values in times.items()},
        "p99_us": {str(n): float(np.quantile(values, 0.99)) for n, values in times.items()},
    }


def closed_loop(paths: Mapping[str, Path], seeds: int) -> dict[str, Any]:
    """Profit at the main site in seasons that no model has seen, day by day with the device's own code."""
    found: dict[str, Any] = {"site": MAIN.name, "scenario": DEAR_WATER.name, "seeds": seeds, "profit_usd_ha": {}}
    for name in (WHOLE, "float32, pruned", SMALL):
        outcomes = advised(MAIN, DEAR_WATER, range(FIRST_SEED, FIRST_SEED + seeds), predictor(paths[name]))
        found["profit_usd_ha"][name] = float(outcomes.profit_usd_ha.mean())
        print(f"  2008-2018 at {MAIN.name}: {name} earns {found['profit_usd_ha'][name]:.2f} USD/ha", flush=True)
    whole = found["profit_usd_ha"][WHOLE]
    found["change_pct"] = {name: 100.0 * (p - whole) / abs(whole) for name, p in found["profit_usd_ha"].items()}
    return found


def large_rows(
    inputs: CompressionInputs, params: CompressionParams, folder: Path, bench: Bench
) -> list[dict[str, Any]]:
    """A network of a million weights, taught by the champion: how the ratios grow with size."""
    torch.manual_seed(0)
    fresh = with_other_body(inputs.workload.learner, inputs.network, LARGE_HIDDEN, 0.0)
    own = inputs.model.model_copy(update={"epochs": LARGE_EPOCHS, "learning_rate": 0.001})
    training = subset(inputs.training, 30_000, 0)
    large: Any = fine_tuned(inputs.workload, fresh, training, own, [inputs.network], 0.9)
    files = Files(replace(inputs, network=large, training=training), params, folder)
    times = timed(files.paths, AGRICULTURE.contract.scale(inputs.held_out.inputs), bench)
    whole = files.paths[WHOLE].stat().st_size
    rows = [
        {
            "file": name,
            "bytes": path.stat().st_size,
            "bytes_pct": 100.0 * path.stat().st_size / whole,
            "p50_us": {str(n): times[n][name]["p50"] for n in BATCHES},
            "time_ratio": {str(n): times[n][name]["p50"] / times[n][WHOLE]["p50"] for n in BATCHES},
        }
        for name, path in files.paths.items()
    ]
    weights = sum(p.numel() for p in large.body.parameters())
    print(f"\na network of {weights:,} weights")
    print(f"{'file':<38} {'kB':>8} {'%':>6}" + "".join(f"{f'{n} cand.':>10}" for n in BATCHES))
    for row in rows:
        ratios = "".join(f"{row['time_ratio'][str(n)]:>10.2f}" for n in BATCHES)
        print(f"{row['file']:<38} {row['bytes'] / 1000:>8.0f} {row['bytes_pct']:>6.1f}{ratios}")
    return rows


def saturation(files: Files, bench: Bench) -> dict[str, Any]:
    """Where 8-bit products overflow without VNNI: by the weights, on calibration rows, and on an emulated Haswell."""
    inputs, shell = files.inputs, export_shell(files.inputs.network, len(files.inputs.features))
    forms: tuple[Any, ...] = ("reduced", "unsigned", "signed")
    paths = {}
    for form in forms:
        inner = quantized_body(inputs.network, inputs.calibration, shell, Recipe(weights=form))
        paths[form] = write_whole(shell, inner, dict(inputs.metadata), files.folder / f"overflow-{form}.onnx")
    rows = AGRICULTURE.contract.scale(inputs.held_out.inputs)[:: max(1, len(inputs.held_out) // 200)]
    emulated = on_haswell(paths, files.paths[WHOLE], rows, bench)
    found: dict[str, Any] = {}
    print("\nproducts of 8 bits where two are added in 16 (AVX2 without VNNI)")
    for form, path in paths.items():
        layers = pair_sums(onnx.load(path), inputs.calibration[:512])
        found[form] = {
            "layers": [vars(layer) for layer in layers],
            "can_overflow": not all(layer.is_safe for layer in layers),
            "overflows_on_calibration": sum(layer.overflows for layer in layers),
            **emulated.get(form, {}),
        }
        told = ", ".join(f"{key} {value}" for key, value in found[form].items() if key != "layers")
        print(f"  {form:<9} {told}")
    return found


def on_haswell(paths: Mapping[str, Path], whole: Path, rows: Any, bench: Bench) -> dict[str, Any]:
    """The error against float32 here and on an emulated processor without VNNI; nothing where there is no emulator."""
    if shutil.which(HASWELL[0]) is None:
        print(f"  (no {HASWELL[0]} here: an emulated processor says nothing)")
        return {}
    files, truth = list(paths.values()), predictor(whole)(rows)
    spread = truth.std(axis=0)
    found: dict[str, Any] = {form: {} for form in paths}
    for where, command in (("here", []), ("on_haswell", list(HASWELL))):
        _, answers = bench.measure([*command, str(bench.edge_python)], files, rows, 0)
        for form, got in zip(paths, answers, strict=True):
            error = np.sqrt(((got - truth) ** 2).mean(axis=0)) / spread
            found[form][f"nrmse_{where}"] = round(float(error.max()), 4)
    return found


def bars(
    rows: Sequence[Mapping[str, Any]], profits: Mapping[str, Any], params: CompressionParams
) -> list[dict[str, Any]]:
    """The bars, each with what was measured; the time against the file as it was before, and as it is now."""
    named, at = {row["file"]: row for row in rows}, str(params.candidates_per_decision)
    small, whole, before = named[SMALL], named[WHOLE], named[AS_TRAINED]
    lost = abs(profits["change_pct"][SMALL])
    measured = [
        ("INT8+pruned file, % of the float32 file", 100.0 * small["bytes"] / before["bytes"], 15.0, True),
        (
            f"time of {at} candidates, of float32's as exported before",
            small["p50_us"][at] / before["p50_us"][at],
            0.6,
            True,
        ),
        (
            f"time of {at} candidates, of float32's, folded as well",
            small["p50_us"][at] / whole["p50_us"][at],
            0.6,
            True,
        ),
        (
            "time of 64 candidates, of float32's, folded as well",
            small["p50_us"]["64"] / whole["p50_us"]["64"],
            0.6,
            True,
        ),
        ("closed-loop profit 2008-2018, % away from float32", lost, 0.5, True),
        ("closed-loop profit of what-if fields, % away", abs(small["what_if_profit_change_pct"]), 0.5, True),
        ("decisions that agree, %", small["agreement_pct"], 99.0, False),
    ]
    return [
        {"bar": name, "measured": value, "limit": limit, "is_met": value <= limit if is_upper else value >= limit}
        for name, value, limit, is_upper in measured
    ]


def print_table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """The files, one a line."""
    print(f"\n{title}")
    head = "".join(f"{f'{n}: us':>9}" for n in BATCHES)
    print(f"{'file':<38} {'kB':>7} {'zip kB':>7} {'error %':>8} {'same %':>7}{head} {'p99':>7}")
    for row in rows:
        times = "".join(f"{row['p50_us'][str(n)]:>9.1f}" for n in BATCHES)
        same = f"{row['agreement_pct']:>7.1f}" if "agreement_pct" in row else f"{'-':>7}"
        print(
            f"{row['file']:<38} {row['bytes'] / 1000:>7.1f} {row['bytes_compressed'] / 1000:>7.1f} "
            f"{row['error_increase_pct']:>+8.2f} {same}{times} {row['p99_us']['12']:>7.0f}"
        )


if __name__ == "__main__":
    sys.exit(main())
