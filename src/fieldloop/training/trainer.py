"""Fitting a workload's model on a data snapshot with Lightning, logged to MLflow, resumable after a kill.

A training run lives in a folder named by what went into it; its `last.ckpt` is written after every epoch, and a run
that finds one goes on from there, in the same MLflow run. That file is this machine's own; what a finished run hands on
is in networks.py. Choosing what ships stands in `evaluation`. Lightning takes five seconds to import: only what fits a
network imports this module, and where it does.
"""

import io
import json
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import MLFlowLogger
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler, TensorDataset

from fieldedge.system.durable import write_durably
from fieldloop.core.dataset import Array, Dataset, joined, load_dataset, save_dataset
from fieldloop.core.params import ModelParams
from fieldloop.core.process_setup import hush
from fieldloop.core.stored_names import EPISODES, stored, unstored
from fieldloop.training.networks import save_network
from fieldloop.training.standing import is_logged, is_whole
from fieldloop.training.trained import WHAT_IFS, Trained
from fieldloop.workload import Workload

Pretrain = Callable[[nn.Module], Dataset | None]
Scale = Callable[[Array], Array]  # the contract's units to what the model sees

EXPERIMENT = "fieldloop"
LEFT_OUT = "left_out.json"  # in the MLflow run: groups that nothing was learned from, and why
LAST = "last"  # the checkpoint of the last whole epoch
_RUN_ID = "mlflow_run_id"
VALIDATION_SHARE = 0.1  # of groups, where no periods are set aside; the gate uses whole held-out periods instead


class GroupedData(lightning.LightningDataModule):
    """Examples held in memory as tensors; whole groups are for validation and calibration, those set aside if any."""

    def __init__(self, examples: Dataset, scale: Scale, batch_size: int, seed: int) -> None:
        super().__init__()
        self.batch_size, self.seed = batch_size, seed
        chosen = examples.is_set_aside
        if chosen.all() or not chosen.any():
            chosen = np.random.default_rng(seed).random(len(examples.groups)) < VALIDATION_SHARE
        is_validation = torch.from_numpy(chosen[examples.group])
        inputs, targets = torch.from_numpy(scale(examples.inputs)), torch.from_numpy(examples.targets)
        self.fit_set = TensorDataset(inputs[~is_validation], targets[~is_validation])
        self.validation_set = TensorDataset(inputs[is_validation], targets[is_validation])

    def train_dataloader(self) -> DataLoader[Any]:
        epoch = self.trainer.current_epoch if self.trainer else 0
        generator = torch.Generator().manual_seed(self.seed * 1000 + epoch)
        order = RandomSampler(self.fit_set, generator=generator)
        return DataLoader(self.fit_set, sampler=BatchSampler(order, self.batch_size, False), batch_size=None)

    def val_dataloader(self) -> DataLoader[Any]:
        order = BatchSampler(SequentialSampler(self.validation_set), 8192, False)
        return DataLoader(self.validation_set, sampler=order, batch_size=None)


class LearnerModule(lightning.LightningModule):
    """The workload's network and loss under AdamW with a cosine schedule."""

    def __init__(self, workload: Workload, params: dict[str, Any]) -> None:
        super().__init__()
        self.save_hyperparameters({"workload": workload.name, "params": params})
        self.params = ModelParams.model_validate(params)
        self.workload, self.learner = workload, workload.learner
        self.network = self.learner.network(self.params.hidden, self.params.dropout)
        self._seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def on_train_batch_start(self, _batch: tuple[Tensor, Tensor], _index: int) -> None:
        """Dropout draws by step, so that a resumed run draws what an undisturbed one would have."""
        # Where no accelerator is, torch.manual_seed notes the whole stack for each that might come: a millisecond.
        seed = torch.default_generator.manual_seed if self.device.type == "cpu" else torch.manual_seed
        seed(self.params.seed * 1_000_000 + self.global_step)

    def training_step(self, batch: tuple[Tensor, Tensor], _index: int) -> Tensor:
        loss = self.learner.loss(self.network(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], _index: int) -> None:
        outputs = self.network(batch[0])
        self.log("validation_loss", self.learner.loss(outputs, batch[1]), batch_size=len(batch[0]))
        self._seen.append((batch[0], outputs.detach(), batch[1]))

    def on_validation_start(self) -> None:
        """What is validated, and calibrated by, are the bare answers: the same however often it is done."""
        self.learner.forget_calibration(self.network)

    def on_validation_epoch_end(self) -> None:
        """Calibrated after every epoch, so that every checkpoint is; the fit itself does not depend on it."""
        inputs, outputs, targets = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        self._seen.clear()
        self.learner.calibrate(self.network, inputs, outputs, targets)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=self.params.learning_rate, weight_decay=self.params.weight_decay
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.params.epochs)
        return {"optimizer": optimizer, "lr_scheduler": schedule}


class _Progress(Callback):
    """Tells an outside listener how far the training is."""

    def __init__(self, on_progress: Callable[[int, int], None]) -> None:
        self.on_progress = on_progress

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        self.on_progress(trainer.current_epoch + 1, trainer.max_epochs or 0)


def train(
    workload: Workload,
    examples: Dataset,
    params: ModelParams,
    folder: Path,
    tracking_uri: str,
    data_hash: str,
    tags: dict[str, str],
    on_progress: Callable[[int, int], None],
    pretrain: Pretrain | None = None,
    artifact_location: str | None = None,
) -> Trained:
    """Fit the workload's model; a finished run is returned as it is, a killed one goes on from its last epoch.

    Args:
        folder: the run's own folder, named by its inputs.
        tags: lineage to write on the MLflow run.
        pretrain: teaches the fresh network what no log can show, and returns more examples; done once for a folder.
        artifact_location: where a new experiment's files go, a URI; None: beside an SQLite store, else as MLflow says.
    """
    finished = folder / "trained.json"
    if finished.is_file():
        trained = Trained(**unstored(json.loads(finished.read_text())))
        if is_whole(trained, tracking_uri):
            return trained
        for path in (finished, folder / f"{LAST}.ckpt", folder / _RUN_ID):  # all but the practice, and logged anew
            path.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    hush()
    lightning.seed_everything(params.seed, verbose=False)
    learner = LearnerModule(workload, params.model_dump(mode="json"))
    if pretrain is not None:
        practised = _pretrained(learner.network, pretrain, folder)
        examples = examples if practised is None else joined(examples, practised)
    data = GroupedData(examples, workload.device.contract.scale, params.batch_size, params.seed)
    logger = _logger(folder, tracking_uri, {**tags, "data_hash": data_hash}, artifact_location)
    last = folder / f"{LAST}.ckpt"
    ctrl_c = _CtrlC()
    trainer = _trainer(params, folder, logger, [_Progress(on_progress), ctrl_c])
    with ctrl_c:
        trainer.fit(learner, data, ckpt_path=str(last) if last.is_file() else None, weights_only=True)
        if "validation_loss" not in trainer.callback_metrics:  # killed after its last epoch: nothing was left to fit
            trainer.validate(learner, data, verbose=False)
    save_network(learner.network, workload.name, params, folder)
    trained = Trained(
        workload=workload.name,
        folder=str(folder),
        checkpoint=str(last),
        mlflow_run_id=str(logger.run_id),
        data_hash=data_hash,
        examples=len(examples),
        episodes=len(examples.groups),
        validation_loss=float(trainer.callback_metrics.get("validation_loss", float("nan"))),
        left_out=dict(examples.left_out),
    )
    _tell_left_out(logger, trained)
    write_durably(finished, json.dumps(stored(asdict(trained)), indent=1).encode())
    return trained


def _tell_left_out(logger: MLFlowLogger, trained: Trained) -> None:
    """What nothing was learned from, beside the run's other figures."""
    run_id = trained.mlflow_run_id
    logger.experiment.log_metric(run_id, EPISODES, float(trained.episodes))
    logger.experiment.log_metric(run_id, f"{EPISODES}_left_out", float(len(trained.left_out)))
    if trained.left_out:
        logger.experiment.log_dict(run_id, dict(trained.left_out), LEFT_OUT)


def _pretrained(network: nn.Module, pretrain: Pretrain, folder: Path) -> Dataset | None:
    """The practice's examples, if any, and what it taught the network; both kept, so that a killed run has them."""
    taught, lived = folder / "practised.pt", folder / WHAT_IFS
    if not taught.is_file():
        made = pretrain(network)
        if made is not None:
            save_dataset(made, lived)
        sink = io.BytesIO()
        torch.save(network.state_dict(), sink)
        write_durably(taught, sink.getvalue())
    network.load_state_dict(torch.load(taught, weights_only=True))
    return load_dataset(lived) if lived.is_file() else None


class _CtrlC(Callback):
    """Ctrl-C ends the training between two batches, never within a write to MLflow; a second one ends it at once.

    Used as a context around the fit. Lightning would make a KeyboardInterrupt a silent `sys.exit(1)` and turn the
    signal off for good; here it stays one. Outside the main thread Python hears no signals, so nothing is done there.
    """

    def __init__(self) -> None:
        self._is_pressed = False
        self._before: Any = None

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._press)

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
        is_interrupt = isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt)
        if is_interrupt or (error is None and self._is_pressed):
            raise KeyboardInterrupt from error

    def _press(self, _number: int, _frame: Any) -> None:
        if self._is_pressed:
            raise KeyboardInterrupt
        self._is_pressed = True

    def on_train_batch_end(self, *_args: Any, **_kwargs: Any) -> None:
        if self._is_pressed:
            raise KeyboardInterrupt


def _trainer(
    params: ModelParams, folder: Path, logger: MLFlowLogger, callbacks: Sequence[Callback]
) -> lightning.Trainer:
    # Named and kept by itself: `save_last` alone would write only once, when the training has ended.
    keep_last = ModelCheckpoint(folder, LAST, save_on_train_epoch_end=True, enable_version_counter=False)
    return lightning.Trainer(
        max_epochs=params.epochs,
        accelerator="auto",
        devices=1,
        precision=params.precision,
        logger=logger,
        callbacks=[keep_last, *callbacks],
        reload_dataloaders_every_n_epochs=1,
        log_every_n_steps=0,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _logger(folder: Path, tracking_uri: str, tags: dict[str, str], artifact_location: str | None) -> MLFlowLogger:
    """The run's logger; a resumed run keeps its MLflow run."""
    run_file = folder / _RUN_ID
    run_id = run_file.read_text() if run_file.is_file() else None
    if run_id is not None and not is_logged(run_id, tracking_uri):
        run_id = None
    if artifact_location is None and tracking_uri.startswith("sqlite:///"):
        artifact_location = (Path(tracking_uri.removeprefix("sqlite:///")).parent / "artifacts").as_uri()
    logger = MLFlowLogger(
        experiment_name=EXPERIMENT,
        run_name=folder.name,
        tracking_uri=tracking_uri,
        tags=tags,
        artifact_location=artifact_location,
        run_id=run_id,
    )
    if run_id is None:
        write_durably(run_file, str(logger.run_id).encode())
    return logger
