"""Where a run, its picture and its JSON go: nothing is written over by accident."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from nolr.errors import BadInput
from nolr.files import check_writable

__all__ = ["check_outputs", "check_report", "run_path"]


def run_path(out: Path | None, overwrite: bool, stem: str) -> Path:
    """The run file: the one asked for, or a name under runs/ that is still free."""
    if out is None:
        names = (f"{stem}-{number}" if number > 1 else stem for number in count(1))
        candidates = (Path("runs") / f"{name}.h5" for name in names)
        return next(path for path in candidates if not _taken(path))
    check_writable(out)
    if out.suffix == ".png":
        raise BadInput(f"{str(out)!r} is where the picture goes: name the run file *.h5")
    for path in (out, out.with_suffix(".png")):
        if not overwrite and path.is_file():
            raise BadInput(
                f"{str(path)!r} exists already: go on with a run (--resume), replace it "
                "(--overwrite), or choose another --out"
            )
    return out


def _taken(path: Path) -> bool:
    return path.exists() or path.with_suffix(".png").exists()


def check_outputs(run: Path, out: Path | None, *inputs: Path) -> None:
    """Refuse to write one file over another, before any work is done."""
    if out is None:
        return
    check_writable(out)
    for other in (run, run.with_suffix(".png"), *inputs):
        if out.resolve() == other.resolve():
            raise BadInput(
                f"{str(out)!r} would be written over {str(other)!r}: choose another name"
            )


def check_report(target: str, out: Path) -> None:
    """The same for a report on a target, which is a recipe by name, or the file of a run."""
    if Path(target).is_file():
        check_outputs(Path(target), out)
    else:
        check_writable(out)
