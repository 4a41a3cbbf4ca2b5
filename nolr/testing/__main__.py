"""python -m nolr.testing --backend NAME: the self-test of a backend."""

import click

from nolr.errors import BadInput
from nolr.testing.backends import Check, check_backend


@click.command()
@click.option("--backend", default="numpy", show_default=True, help="The one to test.")
def main(backend: str) -> None:
    """Compare a backend with NumPy, test its random numbers, and certify an estimator on it."""

    def show(check: Check) -> None:
        verdict = "ok" if check.passed else "FAILED"
        click.echo(f"{check.name:<34}{verdict:<8}{check.seconds:>7.2f} s  {check.detail}")

    try:
        report = check_backend(backend, show)
    except BadInput as error:
        click.echo(f"nolr: error: {error}", err=True)
        raise SystemExit(2) from None
    failed = sum(not check.passed for check in report.checks)
    click.echo(f"{backend}: {len(report.checks)} checks, {failed} failed")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
