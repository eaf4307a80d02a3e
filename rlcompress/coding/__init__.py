"""Programming problems: where they come from, what is shown of their tests, and the program in a model's answer.

Nothing here executes anything: programs are judged by `rlcompress.sandbox`.
"""
