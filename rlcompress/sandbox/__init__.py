"""Runs code that a model wrote, and judges it from outside.

`judge` gives a verdict that the program cannot forge: expected values never enter its process, what it returns comes
back as plain data, the comparison is made here. A jail is made for each program and gone with all that it made.

What a program can do: answer each call with any plain value it likes, however it comes to it, for it shares the
process with what answers. It sees a call only when it is asked, and learns of the test that much. It can therefore
guess (a bare `assert f(x)` is a coin), know tests by heart (keep some hidden), or make two calls of one assert agree
with each other.
"""

from rlcompress.sandbox.judging import judge as judge
from rlcompress.sandbox.levels import Held as Held
from rlcompress.sandbox.levels import best_level as best_level
from rlcompress.sandbox.levels import choose as choose
from rlcompress.sandbox.levels import probe as probe
from rlcompress.sandbox.verdict import CodeStatus as CodeStatus
from rlcompress.sandbox.verdict import Limits as Limits
from rlcompress.sandbox.verdict import TestVerdict as TestVerdict
from rlcompress.sandbox.verdict import Verdict as Verdict
