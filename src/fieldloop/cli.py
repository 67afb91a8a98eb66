"""The command line of the cloud side: stages that DVC runs, and the servers behind `make ui`.

The loop itself is a Prefect flow: `python -m flows.season`.
"""

import sys
from typing import Annotated

import typer

from fieldedge.errors import FieldloopError
from fieldloop import quiet
from fieldloop.progress import bar
from fieldloop.settings import load_params, load_settings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
Workload = Annotated[str, typer.Option(help="the block of params.yaml")]


@app.callback()
def _about() -> None:
    """Train in the cloud, decide in the field, learn from every season."""


@app.command()
def history(workload: Workload = "agriculture") -> None:
    """Simulate the sample world's past seasons into data/history (run it through `dvc repro history`)."""
    from fieldloop.simulation.history import simulate_history

    settings = load_settings()
    params = load_params(settings.root, workload).history
    seasons = {region: range(first, last + 1) for region, (first, last) in params.regions.items()}
    with bar("field-seasons") as on_progress:
        simulate_history(
            seasons,
            params.fields_per_region,
            params.seed,
            settings.data_dir / "history",
            settings.worker_count,
            on_progress,
        )


@app.command("compile")
def compile_simulator() -> None:
    """Compile the simulator and the device's season for this machine (done by `make setup`; else at first use)."""
    from fieldloop.simulation.compiled.__main__ import main as compile_season
    from fieldloop.workloads.agriculture.many_fields import warm_up

    compile_season()
    warm_up()


@app.command()
def ui() -> None:
    """Serve Prefect, MLflow, Data Docs and the report on this machine until Ctrl-C."""
    from fieldloop.ui import serve_ui

    serve_ui(load_settings())


def main() -> None:
    """Run a command; what is wrong is said in one line."""
    try:
        quiet.settle(load_settings().home_dir)
        app()
    except FieldloopError as error:
        sys.stderr.write(f"fieldloop: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
