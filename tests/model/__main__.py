"""`python -m tests.model`: random operations on a real stack, each answer compared with a reference model.

Exit 1 at the first answer that the model doesn't allow. The same seed asks for the same operations.
"""

import random
import sys
import traceback

import click

from tests.faults.target import Target
from tests.model.life import Outcome, live


@click.command(help=__doc__)
@click.option("--seed", type=int, help="Of the first life; unset: any.")
@click.option("--lives", type=click.IntRange(1), default=1, show_default=True, help="One after the other, each anew.")
@click.option("--operations", type=click.IntRange(1), default=10_000, show_default=True, help="In each life.")
@click.option("--keep", is_flag=True, help="Leave the stack of a failure up.")
def main(*, seed: int | None, lives: int, operations: int, keep: bool) -> None:
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    failed = False
    for each in range(seed, seed + lives):
        print(f"seed {each}: {operations:,} operations", flush=True)
        target = Target()
        left = False
        try:
            outcome = live(target, each, operations, tell=lambda line: print(f"  {line}", flush=True))
            show(outcome)
            failed |= outcome.failure is not None
            left = keep and outcome.failure is not None
        except Exception:
            traceback.print_exc()
            failed, left = True, keep
        finally:
            if left:
                print(f"The stack is left in {target.home}: {target.url}")
            else:
                target.remove()
    sys.exit(1 if failed else 0)


def show(outcome: Outcome) -> None:
    """The outcome, for people."""
    for line in outcome.tail:
        print(f"  {line}")
    made, verdict = sum(outcome.operations.values()), "FAILED" if outcome.failure else "ok"
    print(
        f"seed {outcome.seed}: {verdict} after {made:,} operations in {outcome.seconds} s;"
        f" {outcome.images:,} images, {outcome.jobs:,} jobs; {outcome.requests:,} requests, {outcome.sent_again} of"
        " them once more",
        flush=True,
    )
    if outcome.failure:
        print(outcome.failure)


if __name__ == "__main__":
    main()
