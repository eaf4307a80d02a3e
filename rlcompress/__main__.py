"""The command line: `python -m rlcompress COMMAND`, or `rlcompress COMMAND`.

The only file here that imports upward, and late: a command is parsed first, and imports only what it needs. In an
installed wheel, without the checkout, `compress`, `judge-code`, `report`, `config`, `status` and `doctor` work.
"""

from __future__ import annotations

import importlib
import logging
import os
import shlex
import sys
from argparse import Namespace as Arguments
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlcompress.errors import UserError
from rlcompress.options import parser

if TYPE_CHECKING:
    from rlcompress.config.families import AnyRun
    from rlcompress.config.schema import RunConfig

FLOORS = ("rlcompress", "envs", "policies", "cluster", "serve")
MORE = ("matplotlib", "pyarrow", "scipy")  # packages that the library does without and `report` does not
JOB_PREFIX = "raysubmit_"  # of the ids that Ray gives to jobs
Handler = Callable[[Arguments], int | None]  # an exit status, None for 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 for a failure, 2 for a user's mistake, 130 for Ctrl-C."""
    arguments = parser().parse_args(argv)
    # Threads of torch that have nothing to do sleep, in this process and in those of a Ray that it starts: spinning, as
    # they do by default, they take the cores that the others need. It is read when torch is loaded, which comes later.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if not sys.stderr.isatty():  # bars are for people: in a log each step of them is a line
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    arguments.command_line = shlex.join(["rlcompress", *(sys.argv[1:] if argv is None else argv)])
    try:
        _start_logging(arguments)
        return HANDLERS[arguments.handler](arguments) or 0
    except UserError as error:
        return _fail(f"error: {error}", 2)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name in MORE:
            mend = f"pip install {' '.join(MORE)}"
            return _fail(f"error: {arguments.command} needs {error.name}, which is not installed: {mend}", 2)
        first = str(error).partition("\n")[0]
        return _fail(f"failed: {type(error).__name__}: {first} (use --debug for the traceback)", 1)


def _fail(message: str, status: int) -> int:
    logging.getLogger("rlcompress").debug("the command failed", exc_info=True)  # shown by --debug, kept by --log-file
    print(message, file=sys.stderr)
    return status


def _start_logging(arguments: Arguments) -> None:
    """Messages of this project go to the console from --log-level on, and all of them to --log-file."""
    console: logging.Handler = logging.StreamHandler()
    console.setLevel("DEBUG" if "debug" in arguments else getattr(arguments, "log_level", "info").upper())
    handlers = [console]
    if log_file := getattr(arguments, "log_file", None):
        try:
            handlers.append(logging.FileHandler(log_file, encoding="utf-8"))
        except OSError as error:
            raise UserError(f"--log-file {log_file} cannot be written: {error.strerror}") from None
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level="WARNING", format=form, handlers=handlers, force=True)
    for floor in FLOORS:
        logging.getLogger(floor).setLevel("DEBUG" if log_file else console.level)  # libraries stay at warnings


def _doctor(arguments: Arguments) -> int:
    from rlcompress.machine import doctor

    findings = doctor.examine()
    print(doctor.table(findings))
    return 0 if doctor.healthy(findings) else 1


def _config_show(arguments: Arguments) -> None:
    from rlcompress.config.files import dump_yaml

    print(dump_yaml(_config(arguments)), end="")


def _config_check(arguments: Arguments) -> int:
    from rlcompress.config.files import load_run

    status, profiles = 0, _profiles(arguments)
    for file in arguments.files:
        try:
            load_run(file, profiles=profiles)
            print(f"ok {file}")
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            status = 2
    return status


def _config_create(arguments: Arguments) -> None:
    from rlcompress.config.show import commented_yaml

    output = Path(arguments.output)
    if output.exists() and not arguments.overwrite:
        raise UserError(f"{output} exists: choose another --output or give --overwrite")
    text = commented_yaml(_config(arguments))
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text, encoding="utf-8")
    print(output)


def _data(arguments: Arguments) -> None:
    from rlcompress.data.prepare import prepare

    config = _config(arguments)
    folder = Path(arguments.out or Path(config.runs) / "data" / config.name)
    prepare(config, folder)
    print(folder)


def _judges(arguments: Arguments) -> None:
    print(_upstairs("cluster", arguments.command).train_judges(_masking_config(arguments), out=arguments.out))


def _sft(arguments: Arguments) -> None:
    cluster = _upstairs("cluster", arguments.command)
    print(cluster.sft(_config(arguments), command=arguments.command_line, overwrite=arguments.overwrite).path)


def _train(arguments: Arguments) -> None:
    config = _train_config(arguments)
    if arguments.dry_run:
        print(_plan(config))
        return
    cluster = _upstairs("cluster", arguments.command)
    run = cluster.train(
        config,
        command=arguments.command_line,
        resume=arguments.resume,
        checkpoint=arguments.checkpoint or "latest",
        overwrite=arguments.overwrite,
    )
    print(run.path)


def _train_config(arguments: Arguments) -> AnyRun:
    if arguments.resume is None:
        if arguments.checkpoint is not None:
            raise UserError("--checkpoint names a checkpoint of the run in --resume RUN: give that too")
        return _config(arguments)
    if arguments.config is not None or arguments.set or arguments.profile or arguments.overwrite:
        given = "CONFIG, --set, --profile or --overwrite"
        raise UserError(f"--resume goes on with the configuration of its run: give no {given}")
    from rlcompress.recording.directory import open_run

    return open_run(arguments.resume).config


def _plan(config: AnyRun) -> str:
    from rlcompress.config.files import dump_yaml
    from rlcompress.config.show import derived

    sizes = "\n".join(f"#   {name}: {size}" for name, size in derived(config).items())
    try:
        placed = str(_upstairs("cluster.placement", "the plan").describe(config))
    except UserError as error:
        placed = str(error)
    resources = "\n".join(f"#   {line}" for line in placed.splitlines())
    return f"{dump_yaml(config)}\n# derived sizes\n{sizes}\n\n# resource plan\n{resources}"


def _status(arguments: Arguments) -> None:
    from rlcompress.recording.directory import index, open_run

    if (arguments.run_path or "").startswith(JOB_PREFIX):
        print(_upstairs("cluster", "status JOB").job_status(arguments.run_path, arguments.address))
        return
    if arguments.run_path is not None:
        print(open_run(arguments.run_path).summary())
        return
    runs = index(arguments.runs)
    if not runs:
        print(f"no runs in {arguments.runs}")
    for line in runs:
        path = Path(arguments.runs) / line["name"]
        state = open_run(path).state()["state"] if (path / "config.yaml").is_file() else "gone"
        print(f"{line['created']}  {state:<9} {path}")


def _evaluate(arguments: Arguments) -> None:
    """`evaluate` with one target, or `compare` with several."""
    stage = getattr(_upstairs("cluster", arguments.command), arguments.command)
    written = stage(
        arguments.target,
        data=arguments.data,
        rates=arguments.rates,
        seeds=arguments.seeds,
        judge=arguments.judge,
        out=arguments.out,
        methods=arguments.methods,
        skip_trained=arguments.skip_trained,
        slices=arguments.slices,
        metrics=arguments.metrics,
        reader=arguments.reader,
    )
    print(written)


def _baselines(arguments: Arguments) -> None:
    cluster = _upstairs("cluster", arguments.command)
    config = _masking_config(arguments)
    keys = ("data", "rates", "methods", "seeds", "out", "slices", "metrics", "reader")
    print(cluster.baselines(config, **{key: getattr(arguments, key) for key in keys}))


def _report(arguments: Arguments) -> None:
    from rlcompress.measuring.results import pooled_runs
    from rlcompress.measuring.tables import text_table
    from rlcompress.reporting.report import write_report

    runs = [Path(path) for path in arguments.paths]
    written = write_report(runs, plots=arguments.plots and Path(arguments.plots), pool=arguments.pool)
    if arguments.pool:
        print(text_table(pooled_runs(runs)))
    print(written)


def _compress(arguments: Arguments) -> None:
    from rlcompress.compress_command import compressed_input

    sys.stdout.buffer.write(compressed_input(arguments).encode("utf-8"))
    sys.stdout.buffer.flush()


def _judge_code(arguments: Arguments) -> int:
    """Exit status 0 whatever the verdict; 1 where the sandbox failed, so that there is none."""
    from rlcompress.coding.files import judge_files, verdict_json
    from rlcompress.sandbox import CodeStatus

    verdict = judge_files(
        arguments.program,
        arguments.tests,
        setup=arguments.setup,
        level=arguments.level,
        minimum=arguments.minimum,
        seconds=arguments.timeout,
    )
    print(verdict_json(verdict))
    return 1 if verdict.status is CodeStatus.SANDBOX_ERROR else 0


def _speed(arguments: Arguments) -> None:
    from rlcompress.measuring.speed import speed

    keys = ("reader", "precision", "lengths", "rates", "repeats", "new_tokens", "price_per_million")
    asked = {key: getattr(arguments, key) for key in keys}
    print(speed(arguments.target, data=arguments.data, out=arguments.out, device=arguments.device, **asked))


def _tune(arguments: Arguments) -> None:
    print(_upstairs("cluster", arguments.command).tune(_masking_config(arguments), out=arguments.out))


def _serve(arguments: Arguments) -> None:
    from rlcompress.recording.directory import find_artifact

    app = _upstairs("serve.app", arguments.command)
    named = {"serve.host": arguments.host, "serve.port": arguments.port}
    arguments.set += [f"{key}={value}" for key, value in named.items() if value is not None]
    settings = _masking_config(arguments).serve
    app.run(find_artifact(arguments.target), host=settings.host, port=settings.port, settings=settings)


def _submit(arguments: Arguments) -> None:
    cluster = _upstairs("cluster", arguments.command)
    _config(arguments)  # a mistake shows here and not on the cluster
    job = cluster.submit(arguments.config, arguments.set, arguments.address, profiles=arguments.profile)
    where = ["--address", arguments.address] if arguments.address else []
    print(f"job        {job}\nnext       {shlex.join(['python', '-m', 'rlcompress', 'status', job, *where])}")


def _config(arguments: Arguments) -> AnyRun:
    from rlcompress.config.files import load_run

    return load_run(arguments.config, arguments.set, _profiles(arguments))


def _masking_config(arguments: Arguments) -> RunConfig:
    """For commands that are of masking alone."""
    from rlcompress.config.files import load_config

    return load_config(arguments.config, arguments.set, _profiles(arguments))


def _profiles(arguments: Arguments) -> list[str]:
    """The profiles asked for; in the place of `auto` the one that suits this machine, which is said."""
    from rlcompress.config.profiles import AUTO

    if AUTO not in arguments.profile:
        return list(arguments.profile)
    from rlcompress.machine.hardware import suited_profile

    chosen, why = suited_profile()
    print(f"profile    {chosen}: {why}", file=sys.stderr)  # standard output may be a configuration
    return [chosen if name == AUTO else name for name in arguments.profile]


def _upstairs(module: str, command: str) -> Any:
    """Import a module of a higher floor, or say what an installation without it needs."""
    from rlcompress.machine.doctor import floor_present

    if not floor_present(module.partition(".")[0]):
        raise UserError(f"{command} needs the checkout: pip install -e .")
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("ray", "gymnasium"):
            raise
        raise UserError(f"{command} needs {error.name}, which is not installed: pip install -e .") from None


HANDLERS: dict[str, Handler] = {
    "doctor": _doctor,
    "config show": _config_show,
    "config check": _config_check,
    "config create": _config_create,
    "data": _data,
    "judges": _judges,
    "sft": _sft,
    "train": _train,
    "status": _status,
    "evaluate": _evaluate,
    "baselines": _baselines,
    "compare": _evaluate,
    "report": _report,
    "compress": _compress,
    "judge-code": _judge_code,
    "speed": _speed,
    "tune": _tune,
    "serve": _serve,
    "submit": _submit,
}

if __name__ == "__main__":
    sys.exit(main())
