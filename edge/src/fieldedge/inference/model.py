"""The model on the device: ONNX Runtime, one thread, no telemetry.

A model made for another contract is refused, and one that cannot repeat its golden vectors does not pass the
self-test. `predict` either returns finite outputs or raises; what to do then is the caller's choice.
"""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldedge.contract import MAX_CANDIDATES, SCALED_LIMIT, Contract
from fieldedge.inference.bundles import Golden, check_contract_hash
from fieldedge.inference.model_file import check_model_file
from fieldedge.system.errors import ReleaseError

INPUT = "features"
OUTPUT = "outputs"
METADATA_CONTRACT_HASH = "fieldloop.contract_hash"
CONSTANT = 1e-6  # in an output's unit: answers that differ by less are one answer
METADATA_WORKLOAD = "fieldloop.workload"


class Model:
    """A loaded model. `predict` maps scaled features (K, F) to outputs (K, outputs) in physical units.

    Raises:
        ReleaseError: the file is not a model, or not one for this contract.
    """

    def __init__(self, model: bytes, contract: Contract) -> None:
        check_model_file(model)
        self._runtime = _onnxruntime()
        self._failures = _runtime_failures(self._runtime)
        try:
            self._session = self._runtime.InferenceSession(
                model, self._session_options(), providers=["CPUExecutionProvider"]
            )
        except self._failures as error:
            raise ReleaseError(f"the model does not load: {_first_line(error)}") from error
        self._check_fits(contract)
        self._contract, self._outputs = contract, len(contract.outputs)

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Outputs (K, outputs) for scaled features (K, F).

        Raises:
            ReleaseError: the runtime failed, or an output is missing or not finite.
        """
        try:
            (outputs,) = self._session.run([OUTPUT], {INPUT: np.ascontiguousarray(features, dtype=np.float32)})
        except self._failures as error:
            raise ReleaseError(f"the model does not run: {_first_line(error)}") from error
        result: NDArray[np.float32] = outputs
        if result.shape != (len(features), self._outputs):
            raise ReleaseError(f"the model answered {result.shape}; expected ({len(features)}, {self._outputs})")
        if not np.isfinite(result).all():
            raise ReleaseError("the model gave outputs that are not finite")
        return result

    def self_test(self, golden: Golden, tolerance: float) -> float:
        """The largest error on the golden vectors, in standard deviations of each golden output.

        Raises:
            ReleaseError: the error is above `tolerance`, an output is not finite or outside the contract's range, or
                all answers are the same.
        """
        outputs = self.predict(golden.features)
        both = np.concatenate([golden.outputs, outputs])
        fault = self._contract.output_fault(both.min(axis=0).tolist(), both.max(axis=0).tolist())
        if fault is not None:
            raise ReleaseError(f"the answers to its golden vectors lie outside the contract: {fault}; train it anew")
        if len(outputs) > 1 and float(np.ptp(outputs, axis=0).max()) < CONSTANT:
            raise ReleaseError("the model gives one and the same answer to every golden vector: it has not learned")
        error = largest_error_sd(golden.outputs, outputs)
        if error > tolerance:
            raise ReleaseError(
                f"on this processor the model misses its golden vectors by {error:.4g} standard deviations; "
                f"at most {tolerance:g} is allowed: release it as float32"
            )
        return error

    def answer_the_most(self) -> None:
        """Answer as many rows at once as a decision can ask for, at both ends of the scaled range and amid it.

        Raises:
            ReleaseError: the runtime failed (it may not have the memory), or an output is not finite.
        """
        shape = MAX_CANDIDATES, len(self._contract.features)
        for row in (0.0, SCALED_LIMIT, -SCALED_LIMIT):
            self.predict(np.full(shape, row, np.float32))
        self.predict(np.where(np.indices(shape).sum(axis=0) % 2, SCALED_LIMIT, -SCALED_LIMIT).astype(np.float32))
        self.predict(np.zeros((1, shape[1]), np.float32))

    def _session_options(self) -> Any:
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = self._runtime.ExecutionMode.ORT_SEQUENTIAL
        options.add_session_config_entry("session.load_model_format", "ONNX")  # what was checked is what is loaded
        options.log_severity_level = 4  # what fails is raised, and reported once by the caller
        return options

    def _check_fits(self, contract: Contract) -> None:
        try:
            metadata = self._session.get_modelmeta().custom_metadata_map
            found = (_signature(self._session.get_inputs()), _signature(self._session.get_outputs()))
        except self._failures as error:  # names that are no text
            raise ReleaseError(f"the model does not load: {_first_line(error)}") from error
        check_contract_hash(metadata.get(METADATA_CONTRACT_HASH), contract, "the model's metadata")
        if metadata.get(METADATA_WORKLOAD) != contract.workload:
            raise ReleaseError(
                f"the model is for {metadata.get(METADATA_WORKLOAD)!r}; this device runs {contract.workload!r}"
            )
        wanted = ([(INPUT, len(contract.features))], [(OUTPUT, len(contract.outputs))])
        if found != wanted:
            raise ReleaseError(f"the model maps {found[0]} to {found[1]}; expected {wanted[0]} to {wanted[1]}")


def largest_error_sd(expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """The largest difference of (N, outputs), in standard deviations of each expected output."""
    spread = expected.std(axis=0, dtype=np.float64)
    spread[spread < 1e-9] = 1.0
    return float((np.abs(found - expected) / spread).max())


def _signature(values: Any) -> list[tuple[str, Any]]:
    return [(value.name, value.shape[-1] if value.shape else None) for value in values]


def _onnxruntime() -> Any:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # it counts only before the import
    import onnxruntime

    return onnxruntime


def _runtime_failures(runtime: Any) -> tuple[type[Exception], ...]:
    """The runtime's own exceptions (they share no base class), and those of a wrong argument."""
    state = runtime.capi.onnxruntime_pybind11_state
    own = [kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    return (*own, ValueError, RuntimeError, TypeError)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
