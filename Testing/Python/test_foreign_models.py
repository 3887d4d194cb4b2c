"""Bundles with odd metadata: a sentence before anything is allocated."""

from __future__ import annotations

import os
import time
import tracemalloc

import pytest
from learned import NAME
from test_models import SHIPPED, change_metadata, weight_file

from STEnhanceLib import models
from STEnhanceLib.errors import STEnhanceError

pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("size", [2**63 - 1, 2**63, 10**30])
def test_a_size_beyond_any_file_is_refused(bundle, size):
    change_metadata(bundle, lambda metadata: metadata["weights"].update(bytes=size))
    with pytest.raises(STEnhanceError, match=f"bytes; expected {size}"):
        models.load(NAME)


@pytest.mark.parametrize("file", ["models/model\0.safetensors", "a\nb.safetensors", "\x1b[2J.safetensors"])
def test_a_file_name_that_is_none_is_refused(bundle, file):
    change_metadata(bundle, lambda metadata: metadata["weights"].update(file=file))
    with pytest.raises(STEnhanceError, match=r"expected a \.safetensors file inside the model's folder"):
        models.load(NAME)


@pytest.mark.parametrize(
    "configuration",
    [
        {"blocks": 10**9},
        {"features": 10**5},
        {"features": 10**12},
        {"features": 10**30},
        {"blocks": -1},
        {"features": 0},
        {"features": "many"},
        {"features": [4]},
        {"features": None},
        {"blocks": 1.5},
        {"scale": 0},
        {"scale": 10**6},
        {"scale": "x"},
        {"nonsense": 1},
        {"": 1},
    ],
)
def test_an_odd_configuration_is_one_sentence_at_once(bundle, configuration):
    change_metadata(bundle, lambda metadata: metadata["architecture"]["configuration"].update(configuration))
    start = time.process_time()
    tracemalloc.start()
    with pytest.raises(STEnhanceError, match=NAME):
        models.load(NAME)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert time.process_time() - start < 10
    assert most < 50 << 20


def test_half_a_character_in_the_metadata_is_refused(bundle):
    change_metadata(bundle, lambda metadata: metadata.update(title="\ud800"))
    with pytest.raises(STEnhanceError, match="not valid JSON"):
        models.find_model(NAME)


def test_metadata_that_nest_deeper_than_a_card_can_be_made(bundle):
    deep = []
    for _ in range(400):
        deep = [deep]
    change_metadata(bundle, lambda metadata: metadata["training"].update(data=deep))
    try:
        models.find_model(NAME).card()
    except STEnhanceError as error:
        assert NAME in str(error)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has other pipes")
@pytest.mark.parametrize("which", ["weights", "metadata"])
def test_a_pipe_in_a_bundle_is_not_waited_for(bundle, which):
    path = weight_file(bundle) if which == "weights" else bundle / "configs" / "metadata.json"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(STEnhanceError, match=r"no file|no model|There is"):
        models.load(NAME)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_models_that_come_with_us_fit_into_what_is_allowed(name):
    assert models.load(name) is not None
