"""What the command line understands: commands and their options, parsed without importing anything heavy."""

from __future__ import annotations

import argparse
from typing import Any

DESCRIPTION = "Trains prompt compressors, proves them and serves them."


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; `handler` of its result is the command's name, e.g. "config show"."""
    everywhere = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    everywhere.add_argument("--debug", action="store_true", help="show tracebacks and debug messages")
    everywhere.add_argument("--log-level", choices=("debug", "info", "warning", "error"), help="default: info")
    everywhere.add_argument("--log-file", metavar="FILE", help="write all log messages there, debug ones too")
    whole = argparse.ArgumentParser("rlcompress", description=DESCRIPTION, parents=[everywhere])
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str, parent: Any = commands) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = parent.add_parser(
            name.rpartition(" ")[2], help=text, description=text, parents=[everywhere]
        )
        made.set_defaults(handler=name)
        return made

    command("doctor", "say what this installation and machine can do")

    config = commands.add_parser("config", help="show, check or create configurations")
    actions = config.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_config(command("config show", "print the merged configuration", actions))
    check = command("config check", "check configuration files", actions)
    check.add_argument("files", nargs="+", metavar="FILE")
    _add_profile(check)
    create = command("config create", "write a complete, commented configuration", actions)
    _add_config(create)
    create.add_argument("--output", required=True, metavar="FILE")
    _add_overwrite(create)

    data = command("data", "prepare the splits of a data set")
    _add_config(data)
    data.add_argument("--out", metavar="FOLDER", help="default: runs/data/NAME")

    judges = command("judges", "train both judges and say how well they read")
    _add_config(judges)
    judges.add_argument("--out", metavar="DIR", help="default: runs/judges/NAME")

    sft = command("sft", "fine-tune the policy on examples before reinforcement learning")
    _add_config(sft)
    _add_overwrite(sft)

    train = command("train", "train, evaluate and report one run")
    _add_config(train)
    _add_overwrite(train)
    train.add_argument("--resume", metavar="RUN", help="go on with a run from its newest whole checkpoint")
    train.add_argument("--checkpoint", metavar="NAME", help="with --resume: go back to iteration-000050, best or last")
    train.add_argument("--dry-run", action="store_true", help="print configuration, sizes and resource plan only")

    status = command("status", "print the state and the last metrics of a run, or the state of a job, or list all runs")
    status.add_argument("run_path", nargs="?", metavar="RUN_OR_JOB")
    status.add_argument("--address", metavar="URL", help="of a job: as for submit")
    status.add_argument("--runs", default="runs", metavar="FOLDER", help="where runs lie (default: runs)")

    evaluate = command("evaluate", "compare a run or artifact with the baselines on held-out text")
    evaluate.add_argument("target", metavar="RUN_OR_ARTIFACT")
    evaluate.add_argument("--judge", metavar="MODEL", help="default: the run's judges/heldout")
    evaluate.add_argument("--skip-trained", action="store_true", help="drop and count rows that were trained on")
    _add_evaluation(evaluate)

    baselines = command("baselines", "evaluate the baselines without a trained model")
    _add_config(baselines)
    _add_evaluation(baselines)

    compare = command("compare", "evaluate several runs or artifacts together, paired against the first")
    compare.add_argument("target", nargs="+", metavar="RUN_OR_ARTIFACT")
    compare.add_argument("--judge", metavar="MODEL", help="default: the first run's judges/heldout")
    compare.add_argument("--skip-trained", action="store_true", help="drop and count rows that were trained on")
    _add_evaluation(compare)

    report = command("report", "write report.html and plots from saved results")
    report.add_argument("paths", nargs="+", metavar="RUN")
    report.add_argument("--plots", metavar="DIR", help="also write every plot as PNG, PDF and CSV there")
    report.add_argument("--pool", action="store_true", help="show and print all as one method over its training seeds")

    compress = command("compress", "compress the text on standard input")
    compress.add_argument("target", metavar="RUN_OR_ARTIFACT", help="a folder, or a hub id such as owner/name")
    compress.add_argument("--download", action="store_true", help="fetch a hub id that is not in the local cache")
    budget = compress.add_mutually_exclusive_group()
    budget.add_argument("--rate", type=float, help="kept fraction (default: 0.5, or the policy's own choice)")
    budget.add_argument("--target-tokens", type=int, metavar="N", help="kept reader tokens")
    compress.add_argument("--question", metavar="TEXT", help="what the reader will be asked")
    compress.add_argument("--protect", nargs="+", default=[], metavar="PATTERN", help="names or regular expressions")
    compress.add_argument(
        "--form",
        choices=("text", "messages", "json"),
        default="text",
        help="what standard input holds: chat messages and JSON keep their shape (default: text)",
    )
    compress.add_argument("--json", action="store_true", help="print the account too: tokens, spans, status")

    judged = command(
        "judge-code", "run a program by its tests in the sandbox and print the verdict as one line of JSON"
    )
    judged.add_argument("--program", required=True, metavar="FILE", help="Python, from whatever model wrote it")
    judged.add_argument("--tests", required=True, metavar="FILE", help="JSON: a list of assert lines, as MBPP has them")
    judged.add_argument("--setup", metavar="FILE", help="Python that runs between the program and its tests")
    judged.add_argument("--level", default="auto", metavar="NAME", help="bubblewrap, landlock, rlimits (default: auto)")
    judged.add_argument("--minimum", metavar="NAME", help="the weakest level to accept (default: landlock)")
    judged.add_argument("--timeout", type=float, metavar="SECONDS", help="for all tests together (default: 5)")

    speed = command("speed", "time a language model on original and compressed prompts: from which length it pays")
    speed.add_argument("target", metavar="RUN_OR_ARTIFACT")
    speed.add_argument(
        "--reader", metavar="MODEL", help="a folder, a hub id or random:LAYERSxWIDTH; default: speed.reader"
    )
    speed.add_argument("--precision", help="auto, float32, bfloat16 or float16; default: speed.precision")
    speed.add_argument("--lengths", nargs="+", type=int, metavar="TOKENS", help="default: speed.lengths")
    speed.add_argument("--rates", nargs="+", type=float, metavar="RATE", help="default: speed.rates")
    speed.add_argument("--repeats", type=int, metavar="N", help="timed rounds; default: speed.repeats")
    speed.add_argument("--new-tokens", type=int, metavar="N", help="default: speed.new_tokens")
    speed.add_argument(
        "--price-per-million", type=float, metavar="PRICE", help="of input tokens: also print what it saves"
    )
    speed.add_argument("--data", metavar="FILE", help="of the prompts; default: the run's, but for its training rows")
    speed.add_argument("--device", help="default: the run's")
    speed.add_argument("--out", metavar="DIR")

    tune = command("tune", "search hyper-parameters")
    _add_config(tune)
    tune.add_argument("--out", metavar="DIR")

    serve = command("serve", "answer requests with an artifact")
    serve.add_argument("target", metavar="RUN_OR_ARTIFACT")
    serve.add_argument("--host", help="default: serve.host")
    serve.add_argument("--port", type=int, help="default: serve.port")
    _add_config(serve, "--config")

    submit = command("submit", "run a training on a Ray cluster")
    _add_config(submit)
    submit.add_argument("--address", metavar="URL", help="the cluster's dashboard, default: RAY_API_SERVER_ADDRESS")
    return whole


def _add_config(parser: argparse.ArgumentParser, name: str = "config") -> None:
    if name == "config":
        parser.add_argument(name, nargs="?", metavar="CONFIG", help="a YAML or JSON file; none takes the defaults")
    else:
        parser.add_argument(name, metavar="CONFIG", help="a YAML or JSON file")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="e.g. learner.lr=1e-4 seed=1"
    )
    _add_profile(parser)


def _add_profile(parser: argparse.ArgumentParser) -> None:
    text = "of tune_configs/profiles, laid over the file, a later one over an earlier; auto suits this machine"
    parser.add_argument("--profile", nargs="+", action="extend", default=[], metavar="NAME", help=text)


def _add_overwrite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="delete what is there first")


def _add_evaluation(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", metavar="FILE", help="JSONL, Parquet or text; default: the test split")
    parser.add_argument("--rates", nargs="+", type=float, metavar="RATE", help="default: evaluate.rates")
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="default: evaluate.methods")
    parser.add_argument("--seeds", type=int, metavar="N", help="default: evaluate.seeds")
    parser.add_argument("--slices", nargs="+", metavar="NAME", help="parts measured apart; default: evaluate.slices")
    parser.add_argument("--metrics", nargs="+", metavar="NAME", help="each is computed; default: evaluate.metrics")
    parser.add_argument("--reader", metavar="MODEL", help="answers questions from the texts; default: evaluate.reader")
    parser.add_argument("--out", metavar="DIR")
