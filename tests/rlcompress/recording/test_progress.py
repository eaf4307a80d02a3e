import io

import pytest

from rlcompress.recording.progress import Progress, duration


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_log_gets_a_plain_line_an_interval():
    stream, clock = io.StringIO(), Clock()
    progress = Progress(5, every=2, stream=stream, clock=clock)
    for step in range(1, 6):
        clock.now = step * 10.0
        progress.update(step, {"reward": 0.123456})
    lines = stream.getvalue().splitlines()
    assert [line.split("  ")[:3] for line in lines] == [
        ["iteration 2/5", "40%", "left 30s"],
        ["iteration 4/5", "80%", "left 10s"],
        ["iteration 5/5", "100%", "left 0s"],
    ]
    assert all(line.endswith(" GB  reward 0.1235") for line in lines)
    assert "\r" not in stream.getvalue()


def test_a_terminal_keeps_one_line():
    stream = Terminal()
    progress = Progress(2, stream=stream, clock=Clock())
    progress.update(1, {"a_long_name_of_a_metric": 1.0})
    progress.update(2, {})
    first, second = stream.getvalue().lstrip("\r").split("\r")
    assert len(second) - 1 == len(first), "the shorter line covers the longer one"
    assert stream.getvalue().count("\n") == 1


def test_steps_before_a_resume_do_not_count_for_the_speed():
    stream, clock = io.StringIO(), Clock()
    progress = Progress(100, start=90, stream=stream, clock=clock)
    clock.now = 5.0
    progress.update(95, {})
    assert "left 5s" in stream.getvalue()


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (59.6, "1m00s"), (150, "2m30s"), (3900, "1h05m")])
def test_durations(seconds, text):
    assert duration(seconds) == text
