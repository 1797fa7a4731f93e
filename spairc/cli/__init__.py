"""The command line: parse, call, print. Everything heavy is imported by the command that needs it.

Exit codes: 0 done; 1 `verify`, `doctor` or `leaderboard check` found faults, `reproduce` did not
reproduce, or Ctrl-C; 2 something in the input is wrong, told in one line. To add a command: a
function in one of these files, a line below.
"""

import click

from spairc.cli import build, compare, evaluate, leaderboard, report, reproduce, start, train
from spairc.cli.common import Group

COMMANDS = (
    start.demo,
    start.doctor,
    start.show,
    start.download,
    start.convert,
    start.list_names,
    build.build,
    build.corrupt,
    build.verify,
    compare.compare,
    evaluate.evaluate,
    evaluate.merge,
    report.report,
    report.score,
    report.fit_protocol,
    train.train,
    reproduce.reproduce,
    leaderboard.push,
    leaderboard.leaderboard,
)


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    commands=list(COMMANDS),
)
@click.version_option(package_name="spairc")
def main() -> None:
    """Measure how robust semantic correspondence is: SPair-C, any matcher, PCK, mCE."""
