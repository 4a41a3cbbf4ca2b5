"""A data set before it is read: its files, their checksums, its licence and what to cite."""

from __future__ import annotations

from dataclasses import dataclass

from nolr.errors import BadInput, nearest

__all__ = ["SourceFile", "SourceSet", "listed"]


@dataclass(frozen=True)
class SourceFile:
    """One file of a set.

    Attributes:
        url: where it can be downloaded; None where it cannot.
        size: in bytes.
        sha256: 64 hexadecimal digits.
    """

    name: str
    url: str | None
    size: int
    sha256: str


@dataclass(frozen=True)
class SourceSet:
    """A data set as its authors publish it.

    Attributes:
        folder: its sub-folder of the data folder.
        files: the whole set, in the version that is downloaded.
        alternatives: other versions, each the whole set as well: who has one needs no other.
        elsewhere: further sub-folders of the data folder where its files may lie, as other programs
            unpack them.
        origin: where no version can be downloaded, what the files are and what to do instead.
    """

    name: str
    folder: str
    files: tuple[SourceFile, ...]
    licence: str
    citation: str
    alternatives: tuple[tuple[SourceFile, ...], ...] = ()
    elsewhere: tuple[str, ...] = ()
    origin: str = ""

    @property
    def versions(self) -> tuple[tuple[SourceFile, ...], ...]:
        """Every version of the set, the one that is downloaded first."""
        return (self.files, *self.alternatives)

    @property
    def folders(self) -> tuple[str, ...]:
        """Every sub-folder of the data folder where a file may lie, its own first."""
        return (self.folder, *self.elsewhere)

    @property
    def size(self) -> int:
        """Of the version that is downloaded, in bytes."""
        return sum(file.size for file in self.files)

    @property
    def remedy(self) -> str:
        """What to do where files are missing or altered."""
        if self.origin:
            return f"{self.name} cannot be downloaded: {self.origin}"
        return f"download it with 'nolr data fetch {self.name}'"

    def file(self, name: str) -> SourceFile:
        """The file of this name, of whichever version.

        Raises:
            BadInput: the set has no such file.
        """
        files = {file.name: file for version in self.versions for file in version}
        if name not in files:
            raise BadInput(f"{self.name} has no file {name!r}{nearest(name, files)}")
        return files[name]


def listed(base: str | None, *rows: tuple[str, int, str]) -> tuple[SourceFile, ...]:
    """Files from rows of name, size and sha256; their addresses begin with `base`."""
    return tuple(
        SourceFile(name, None if base is None else base + name, size, sha256)
        for name, size, sha256 in rows
    )
