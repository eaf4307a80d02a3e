"""Errors a user can mend. Anything else that is raised is a bug and keeps its traceback."""


class UserError(Exception):
    """A mistake in a command, a file or a configuration.

    The message is one line that names the key, file or field and says how to mend it; the command line
    prints it without a traceback and exits with status 2.
    """


class ResourceShortage(UserError):
    """The cluster cannot hold what the run needs; raised before anything starts."""


class OutOfMemory(UserError):
    """The smallest piece of work does not fit the device's memory."""


class JudgeUnavailable(TimeoutError):
    """A judge did not answer within its deadline. Becomes `Status.JUDGE_FAILED`, never a reward."""
