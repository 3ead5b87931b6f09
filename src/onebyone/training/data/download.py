"""Files of published sets that are fetched once and kept, each with its checksum."""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError
from urllib.parse import urlsplit

import torch.hub

from onebyone.errors import DataError, first_line
from onebyone.files import replacing

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Download:
    """A file on the net.

    Attributes:
        url: Its address.
        md5: Its checksum, in hexadecimal, as its publisher gives it.
    """

    url: str
    md5: str

    def fetch(self, name: str) -> Path:
        """Return where the file lies, downloading it into torch's cache the first time.

        Args:
            name: The set that it belongs to, which is the name of its folder.

        Raises:
            DataError: If it is neither in the cache nor to be had, or damaged.
        """
        path = Path(torch.hub.get_dir()) / "datasets" / name / PurePosixPath(self.url).name
        if path.is_file():
            self._check(path, path)
            return path
        _LOG.info("asking %s for %s", urlsplit(self.url).hostname, path.name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                torch.hub.download_url_to_file(self.url, str(temporary), progress=False)
                self._check(temporary, path)
        except OSError as error:
            if isinstance(error, HTTPError):
                error.close()  # it holds the connection
            raise DataError(
                f"cannot get {self.url} ({first_line(error)}); check the network, or name a "
                f"folder that has the file: {name}:DIR"
            ) from error
        return path

    def _check(self, path: Path, called: Path) -> None:
        with path.open("rb") as file:
            digest = hashlib.file_digest(
                file, lambda: hashlib.md5(usedforsecurity=False)
            ).hexdigest()
        if digest != self.md5:
            raise DataError(
                f"{called} is damaged: its md5 was to be {self.md5}, and is {digest}; remove it, "
                "and get it again"
            )
