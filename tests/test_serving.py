"""The server of the examples: right classes, whoever else asks; and a line for what is refused."""

import http.client
import io
import json
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import torch

import onebyone as obo
from onebyone.errors import ModelError
from tests.helpers import photos
from tests.helpers.photos import COFFEE
from tests.offline.small import photo, write_network

MISSING = "the extra `serve` is not installed"
pytest.importorskip("starlette", reason=MISSING)
uvicorn = pytest.importorskip("uvicorn", reason=MISSING)
testclient = pytest.importorskip("starlette.testclient", reason="httpx2 is not installed")

from examples import serving  # noqa: E402
from examples.serving import Batcher, Classifier, Limits, make_app  # noqa: E402

PATIENCE_SECONDS = 20


class Held:
    """A network that holds each call until it may go on, and notes how many images came."""

    def __init__(self):
        self.batches = []
        self.entered = threading.Semaphore(0)
        self.may_go = threading.Event()

    def __call__(self, images):
        self.batches.append(len(images))
        self.entered.release()
        assert self.may_go.wait(PATIENCE_SECONDS)
        return images.mean(dim=(2, 3))

    def wait_for_a_call(self):
        assert self.entered.acquire(timeout=PATIENCE_SECONDS)


CARD = obo.models.ModelCard(model="means", preprocess=obo.models.Preprocess(8, 8))


@contextmanager
def held_app(limits):
    """A held network, which has been let through the warm-up, and its app behind a client."""
    network = Held()
    network.may_go.set()
    with testclient.TestClient(make_app(Classifier(network, CARD), limits)) as client:
        assert network.batches == [1, limits.batch]
        for _ in network.batches:
            network.wait_for_a_call()
        network.may_go.clear()
        yield network, client
        network.may_go.set()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A compiled network of four classes."""
    return serving.load(write_network(tmp_path_factory.mktemp("small")))


def expected(classifier, content):
    """What `onebyone.predict` says of a photo."""
    top = obo.predict(classifier.run, classifier.card, obo.open_photo(io.BytesIO(content))).top
    return [{"index": one.index, "label": one.label, "probability": one.probability} for one in top]


def test_a_real_network_says_what_predict_says():
    network = obo.create_model("efficientnet_lite0", weights="imagenet")
    wanted = obo.predict(network, network.card, obo.open_photo(COFFEE)).top
    with testclient.TestClient(make_app(serving.load("efficientnet_lite0"))) as client:
        assert client.get("/health").json() == {"status": "ok", "model": "efficientnet_lite0"}
        classes = client.post("/predict", content=COFFEE.read_bytes()).json()["classes"]
    assert [one["label"] for one in classes] == [one.label for one in wanted]
    probabilities = [one["probability"] for one in classes]
    assert probabilities == pytest.approx([one.probability for one in wanted], abs=1e-4)


def test_each_gets_the_classes_of_its_own_photo_to_the_bit(small):
    contents = [photo(number) for number in range(40)]
    with (
        testclient.TestClient(make_app(small)) as client,
        ThreadPoolExecutor(8) as clients,
    ):
        answers = clients.map(lambda one: client.post("/predict", content=one), contents)
        got = [answer.json()["classes"] for answer in answers]
    assert got == [expected(small, content) for content in contents]
    assert len({str(one) for one in got}) == len(contents)


def test_what_comes_while_the_network_is_busy_runs_together():
    network = Held()
    images = torch.rand(13, 3, 2, 2)
    with Batcher(network, most=8) as batcher:
        first = batcher.submit(images[0])
        network.wait_for_a_call()
        others = [batcher.submit(image) for image in images[1:]]
        network.may_go.set()
        rows = [scores.result(PATIENCE_SECONDS) for scores in (first, *others)]
    assert network.batches == [1, 8, 4]
    assert torch.equal(torch.stack(rows), images.mean(dim=(2, 3)))


def test_who_has_given_up_is_not_computed_and_disturbs_nobody():
    network = Held()
    images = torch.rand(3, 3, 2, 2)
    with Batcher(network, most=8) as batcher:
        batcher.submit(images[0])
        network.wait_for_a_call()
        given_up, kept = batcher.submit(images[1]), batcher.submit(images[2])
        assert given_up.cancel()
        network.may_go.set()
        assert torch.equal(kept.result(PATIENCE_SECONDS), images[2].mean(dim=(1, 2)))
    assert network.batches == [1, 1]


def test_closing_answers_what_still_waits():
    network = Held()
    with Batcher(network, most=2) as batcher:
        scores = [batcher.submit(image) for image in torch.rand(5, 3, 2, 2)]
        network.may_go.set()
    assert all(one.done() for one in scores)


def test_an_error_of_the_network_belongs_to_those_who_wait():
    def run(images):
        if images.any():
            raise ModelError("planted")
        return images.mean(dim=(2, 3))

    with Batcher(run, most=8) as batcher:
        with pytest.raises(ModelError, match="planted"):
            batcher.submit(torch.ones(3, 2, 2)).result(PATIENCE_SECONDS)
        assert batcher.submit(torch.zeros(3, 2, 2)).result(PATIENCE_SECONDS).tolist() == [0, 0, 0]


NO_PHOTO = (
    "the content is no photo that can be read; a JPEG, PNG, WebP, AVIF, BMP, TIFF or GIF was wanted"
)
BAD = {
    "empty": (b"", 400, NO_PHOTO),
    "text": (b"hello", 400, NO_PHOTO),
    "cut": (
        COFFEE.read_bytes()[:5000],
        400,
        "the content is damaged or cut short (image file is truncated (3 bytes not processed)); "
        "get the file again",
    ),
    "pixels": (
        photos.large_png(1001),
        400,
        "the content has more than 1 million pixels, which is too many to unpack; scale it down "
        "first",
    ),
    "bytes": (b"\0" * 200_001, 413, "Content Too Large"),
}


@pytest.mark.parametrize(("content", "status", "line"), BAD.values(), ids=BAD)
def test_what_cannot_be_answered_is_refused_with_one_line(small, content, status, line):
    limits = Limits(body_bytes=200_000, pixels=1_000_000)
    with testclient.TestClient(make_app(small, limits)) as client:
        answer = client.post("/predict", content=content)
        assert (answer.status_code, answer.text) == (status, line)
        chunked = client.post("/predict", content=iter([content[:100], content[100:]]))
        assert (chunked.status_code, chunked.text) == (status, line)
        assert client.post("/predict", content=photo(0)).status_code == 200


def test_too_many_at_once_are_refused_and_the_others_answered():
    with held_app(Limits(waiting=1)) as (network, client), ThreadPoolExecutor(1) as clients:
        taken = clients.submit(client.post, "/predict", content=photo(0))
        network.wait_for_a_call()
        refused = client.post("/predict", content=photo(1))
        assert client.get("/health").status_code == 200
        network.may_go.set()
        assert taken.result(PATIENCE_SECONDS).status_code == 200
        assert client.post("/predict", content=photo(1)).status_code == 200
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.text == "too many photos are waiting; try again"


@contextmanager
def served(app):
    """The address of a real server, and the server."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        try:
            yield listening.getsockname(), server
        finally:
            server.should_exit = True
            thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()


def ask(address, content):
    with closing(http.client.HTTPConnection(*address, timeout=PATIENCE_SECONDS)) as connection:
        connection.request("POST", "/predict", body=content)
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_a_server_that_is_stopped_answers_what_it_has_taken():
    network = Held()
    network.may_go.set()
    with ThreadPoolExecutor(1) as clients:
        with served(make_app(Classifier(network, CARD))) as (address, server):
            for _ in range(2):  # the warm-up
                network.wait_for_a_call()
            network.may_go.clear()
            answer = clients.submit(ask, address, photo(0))
            network.wait_for_a_call()
            server.should_exit = True
            time.sleep(0.3)  # it looks every 0.1 s whether it should
            assert not answer.done()
            network.may_go.set()
        status, body = answer.result(PATIENCE_SECONDS)
    assert (status, len(json.loads(body)["classes"])) == (200, 3)
    left = {thread.name.partition("_")[0] for thread in threading.enumerate()}
    assert not left & {"network", "photos"}


def test_a_network_that_was_written_is_served_from_its_file(tmp_path):
    name = write_network(tmp_path)
    small = serving.load(name)
    serving.write(name, str(tmp_path / "small.obo"))
    (tmp_path / "mine.py").unlink()
    loaded = serving.load(str(tmp_path / "small.obo"), threads=1)
    x = torch.rand(3, 3, 8, 8)
    assert torch.equal(loaded.run(x), small.run(x))
    assert loaded.card == small.card


WRONG = {
    "model": (
        {"SERVE_MODEL": "mobilenetv2"},
        "no model 'mobilenetv2'; did you mean 'mobilenet_v2'? `onebyone models` lists all",
    ),
    "file": (
        {"SERVE_MODEL": "no.obo"},
        "no.obo: a compiled network (a file that `.save` wrote) was wanted, and there is no such "
        "file",
    ),
    "threads": (
        {"SERVE_THREADS": "two"},
        "Config 'SERVE_THREADS' has value 'two'. Not a valid int.",
    ),
}


@pytest.mark.parametrize(("environment", "line"), WRONG.values(), ids=WRONG)
def test_a_wrong_environment_is_one_line(monkeypatch, capsys, environment, line):
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as end:
        serving.app()
    assert (end.value.code, capsys.readouterr().err) == (3, f"serving: {line}\n")


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        (
            ["resnet18", "net.bin"],
            "serving: a file that ends in .obo was wanted, and 'net.bin' came",
        ),
        (["resnet51", "net.obo"], "serving: no model 'resnet51'; did you mean "),
        (["resnet18"], "usage: serving.py [-h] model file"),
    ],
)
def test_a_wrong_file_or_model_to_write_is_status_2(tmp_path, asked, line):
    program = str(Path(serving.__file__).absolute())
    done = subprocess.run(
        [sys.executable, program, *asked], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stdout, list(tmp_path.iterdir())) == (2, "", [])
    assert done.stderr.startswith(line)
    assert "Traceback" not in done.stderr
