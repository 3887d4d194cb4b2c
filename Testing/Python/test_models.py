"""Models as bundles: what is saved comes back, and what is broken is refused before anything of it runs."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import re
import subprocess
import sys

import pytest
from learned import CONFIGURATION, DESCRIPTION, LEARNED, NAME, save_tiny, tiny

from STEnhanceLib import models, networks
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import all_methods
from STEnhanceLib.methods.run import enhance

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytestmark = pytest.mark.usefixtures("one_thread")

SHIPPED = sorted(path.parents[1].name for path in models.SHIPPED.glob("*/configs/metadata.json"))


def weight_file(folder):
    return folder / "models" / "model.safetensors"


def change_metadata(folder, change) -> None:
    path = folder / "configs" / "metadata.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    change(metadata)
    path.write_text(json.dumps(metadata), encoding="utf-8")


def put_weights(folder, content: bytes) -> None:
    """Other weights, with the checksum and the size that the metadata then needs."""
    weight_file(folder).write_bytes(content)
    told = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    change_metadata(folder, lambda metadata: metadata["weights"].update(told))


# Saving and loading


def test_a_saved_network_comes_back_in_half_precision_ready_to_infer(bundle):
    saved, image = tiny(), torch.rand(1, 1, 12, 10)
    loaded = models.load(NAME)
    assert not loaded.training
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    for name, weights in saved.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weights.half().float()), name
    difference = (loaded(image) - saved(image)).abs().max()
    assert 0 < difference < 1e-3, "half precision, and no more than that"


def test_a_network_is_loaded_once_until_its_weights_are_others(bundle):
    first = models.load(NAME)
    weight_file(bundle).rename(bundle / "elsewhere")
    assert models.load(NAME) is first
    models.save(bundle, networks.build("edsr", CONFIGURATION), NAME, "edsr", CONFIGURATION, DESCRIPTION)
    assert models.load(NAME) is not first
    change_metadata(bundle, lambda metadata: metadata["architecture"]["configuration"].update(features=8))
    with pytest.raises(STEnhanceError, match="do not fit"):
        models.load(NAME)


@pytest.mark.usefixtures("bundle")
def test_gradients_pass_through_a_network_that_a_method_asked_for_first():
    with torch.inference_mode():
        models.load(NAME)
    image = torch.rand(1, 1, 12, 10, requires_grad=True)
    models.load(NAME)(image).sum().backward()
    assert image.grad.abs().max() > 0


def test_saving_twice_gives_the_same_bytes(bundle, tmp_path):
    save_tiny(tmp_path / "again" / NAME)
    for file in ("models/model.safetensors", "configs/metadata.json", "docs/README.md"):
        assert (bundle / file).read_bytes() == (tmp_path / "again" / NAME / file).read_bytes()


@pytest.mark.parametrize("key", [*DESCRIPTION, *(f"training.{key}" for key in DESCRIPTION["training"])])
def test_a_model_that_hides_something_is_not_saved(tmp_path, key):
    described = json.loads(json.dumps(DESCRIPTION))
    *parents, last = key.split(".")
    part = described
    for parent in parents:
        part = part[parent]
    del part[last]
    with pytest.raises(STEnhanceError, match=f"cannot be written: it lacks {re.escape(key)}"):
        models.save(tmp_path / NAME, tiny(), NAME, "edsr", CONFIGURATION, described)
    assert not (tmp_path / NAME).exists()


@pytest.mark.parametrize("value", [float("nan"), 1e6])
def test_weights_that_half_precision_cannot_hold_are_not_saved(tmp_path, value):
    network = tiny()
    with torch.no_grad():
        network.head.bias[0] = value
    with pytest.raises(STEnhanceError, match=r"head\.bias .* NaN or beyond half precision"):
        models.save(tmp_path / NAME, network, NAME, "edsr", CONFIGURATION, DESCRIPTION)


def test_a_folder_is_called_like_its_model(bundle, tmp_path):
    with pytest.raises(STEnhanceError, match="expected a folder of the same name"):
        models.save(tmp_path / "run-17", tiny(), NAME, "edsr", CONFIGURATION, DESCRIPTION)
    bundle.rename(bundle.with_name("renamed"))
    with pytest.raises(STEnhanceError, match=f"describes the model '{NAME}'; name its folder like that"):
        models.find_model("renamed")


# The card


def test_the_card_is_the_metadata_in_words(bundle):
    card = (bundle / "docs" / "README.md").read_text(encoding="utf-8")
    assert card == models.find_model(NAME).card()
    for words in ("A tiny EDSR", "no data at all", "CC0-1.0", "somebody", "It was never trained.", "On nothing", "1.2"):
        assert words in card
    assert "Nothing was measured yet." in card
    assert "not for clinical use" in card


def test_scores_measured_later_change_metadata_and_card_and_nothing_else(bundle):
    before, weights = json.loads((bundle / "configs/metadata.json").read_text()), weight_file(bundle).read_bytes()
    row = {"protocol": "s2", "case": "a|b", "method": "edsr", "psnr": 31.256, "ssim": 0.91, "roi_psnr": float("nan")}
    models.update_scores(bundle, [row])
    found = models.find_model(NAME)
    assert found.metadata == before | {"scores": [row | {"roi_psnr": None}]}
    assert "| s2 | a\\|b | edsr | 31.26 | 0.9100 |" in found.card()
    assert (bundle / "docs" / "README.md").read_text(encoding="utf-8") == found.card()
    assert weight_file(bundle).read_bytes() == weights
    with pytest.raises(STEnhanceError, match=r"it lacks scores\.ssim"):
        models.update_scores(bundle, [{"protocol": "s2", "case": "a", "method": "edsr", "psnr": 31.2}])
    assert models.find_model(NAME).metadata == found.metadata


# What is broken is refused


class Trap:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (open, (str(self.trace), "w"))


def pickled(trace, how: str) -> bytes:
    if how == "torch":
        stream = io.BytesIO()
        torch.save({"weights": Trap(trace)}, stream)
        return stream.getvalue()
    return pickle.dumps(Trap(trace), protocol=int(how))


def test_a_trap_would_leave_its_trace(tmp_path):
    pickle.loads(pickled(tmp_path / "trace", "4")).close()
    assert (tmp_path / "trace").exists()


@pytest.mark.parametrize("how", ["0", "2", "5", "torch"])
@pytest.mark.parametrize("checksum_matches", [True, False])
def test_a_pickle_behind_the_name_of_safetensors_is_never_opened(bundle, tmp_path, how, checksum_matches):
    content = pickled(tmp_path / "trace", how)
    if checksum_matches:
        put_weights(bundle, content)
    else:
        weight_file(bundle).write_bytes(content)
    with pytest.raises(STEnhanceError, match=r"no safetensors file\. Pickled weights .* are never opened"):
        models.load(NAME)
    assert not (tmp_path / "trace").exists()


def test_a_pickle_that_starts_like_safetensors_is_never_opened(bundle, tmp_path):
    put_weights(bundle, b"\x80\x04\x95\x00\x00\x00\x00\x00{" + pickled(tmp_path / "trace", "4"))
    with pytest.raises(STEnhanceError, match="cannot be read as safetensors"):
        models.load(NAME)
    assert not (tmp_path / "trace").exists()


def with_nan(content: bytes) -> bytes:
    from safetensors.torch import load, save

    weights = load(content)
    next(iter(weights.values())).view(-1)[0] = float("nan")
    return save(weights)


def flip_a_byte(folder):
    content = bytearray(weight_file(folder).read_bytes())
    content[-7] ^= 1
    weight_file(folder).write_bytes(content)


BREAKS = {
    "missing": (lambda f: weight_file(f).unlink(), "weight file .* cannot be read .*No such file"),
    "truncated": (lambda f: weight_file(f).write_bytes(weight_file(f).read_bytes()[:-100]), "has .* bytes; expected"),
    "empty": (lambda f: weight_file(f).write_bytes(b""), "has 0 bytes; expected"),
    "too long": (lambda f: weight_file(f).write_bytes(weight_file(f).read_bytes() + b"0"), "has more bytes; expected"),
    "one byte flipped": (flip_a_byte, "another SHA-256 checksum.*damaged or altered"),
    "NaN": (lambda f: put_weights(f, with_nan(weight_file(f).read_bytes())), "NaN or infinite numbers"),
    "no tensors": (lambda f: put_weights(f, b"\x02\0\0\0\0\0\0\0{}"), "do not fit its architecture .*Missing key"),
    "other sizes": (
        lambda f: change_metadata(f, lambda m: m["architecture"]["configuration"].update(features=8)),
        "do not fit its architecture .*size mismatch",
    ),
    "more tensors": (
        lambda f: change_metadata(f, lambda m: m["architecture"]["configuration"].update(blocks=0)),
        "do not fit its architecture .*Unexpected key",
    ),
    "unknown architecture": (
        lambda f: change_metadata(f, lambda m: m["architecture"].update(network="edsr-9")),
        "architecture is not known here .*no network 'edsr-9'",
    ),
    "unknown configuration": (
        lambda f: change_metadata(f, lambda m: m["architecture"]["configuration"].update(depth=3)),
        "architecture is not known here .*cannot be built",
    ),
    "impossible configuration": (
        lambda f: change_metadata(f, lambda m: m["architecture"]["configuration"].update(features=-4)),
        "architecture is not known here",
    ),
    "newer format": (
        lambda f: change_metadata(f, lambda m: (m.clear(), m.update(format_version=2, new="all"))),
        "format_version is 2, this version of STEnhance reads 1; update",
    ),
    "format in words": (
        lambda f: change_metadata(f, lambda m: m.update(format_version="1")),
        "expected a whole number",
    ),
    "format of true": (
        lambda f: change_metadata(f, lambda m: m.update(format_version=True)),
        "expected a whole number",
    ),
    "no format": (lambda f: change_metadata(f, lambda m: m.pop("format_version")), "it lacks format_version"),
    "no JSON": (lambda f: (f / "configs/metadata.json").write_text("{format"), "is not valid JSON"),
    "no text": (lambda f: (f / "configs/metadata.json").write_bytes(b"\xff\xfe{"), "is not valid JSON"),
    "nested without end": (lambda f: (f / "configs/metadata.json").write_text("[" * 10**5), "is not valid JSON"),
    "a list": (lambda f: (f / "configs/metadata.json").write_text("[]"), "holds .*; expected an object"),
    "no limits": (lambda f: change_metadata(f, lambda m: m.pop("limits")), "it lacks limits"),
    "no checksum": (lambda f: change_metadata(f, lambda m: m["weights"].pop("sha256")), r"it lacks weights\.sha256"),
    "size in words": (lambda f: change_metadata(f, lambda m: m["weights"].update(bytes="many")), "weights.bytes is"),
    "negative size": (lambda f: change_metadata(f, lambda m: m["weights"].update(bytes=-2)), "weights.bytes is"),
    **{
        f"weights at {path}": (
            lambda f, path=path: change_metadata(f, lambda m: m["weights"].update(file=path)),
            "expected a .safetensors file inside the model's folder",
        )
        for path in ("/etc/model.safetensors", "../other/model.safetensors", "models/model.pt", "C:\\m.safetensors")
    },
    "weights at a parent, as Windows writes it": (
        lambda f: change_metadata(f, lambda m: m["weights"].update(file="..\\m.safetensors")),
        "expected a .safetensors file inside the model's folder",
    ),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_a_broken_model_is_one_sentence_before_the_first_frame(bundle, beating_disc, broken):
    break_it, said = BREAKS[broken]
    break_it(bundle)
    with pytest.raises(STEnhanceError, match=said) as told:
        models.load(NAME)
    assert NAME in str(told.value)
    assert "\n" not in str(told.value)
    frames = []
    with pytest.raises(STEnhanceError, match=said):
        frames.extend(enhance(LEARNED, beating_disc, LEARNED.parameters()).frames)
    assert frames == []


def test_a_damaged_file_is_noticed_before_a_job_is_planned(bundle, beating_disc):
    flip_a_byte(bundle)
    with pytest.raises(STEnhanceError, match="SHA-256"):
        enhance(LEARNED, beating_disc, LEARNED.parameters())


# Where models come from


def test_a_name_that_is_nowhere_is_told_with_those_that_are(bundle):
    with pytest.raises(STEnhanceError, match=f"no model 'tiny-x3' in .*own models or .*there are: .*{NAME}"):
        models.find_model("tiny-x3")
    with pytest.raises(STEnhanceError, match=r"of the kind 'edsr'; expected 'ddos-unet'"):
        models.find_model(NAME, network="ddos-unet")
    assert models.find_model(NAME, network="edsr").folder == bundle


def test_a_model_of_the_user_counts_before_the_shipped_one_of_its_name(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(models, "SHIPPED", tmp_path / "shipped")
    save_tiny(tmp_path / "shipped" / NAME, version="0.9")
    save_tiny(tmp_path / "shipped" / "only-shipped")
    save_tiny(tmp_path / "shipped" / "for-something-else", task="training")
    assert models.find_model(NAME).folder == bundle
    assert models.find_model("only-shipped").folder == tmp_path / "shipped" / "only-shipped"
    assert models.alike([NAME]) == [NAME, "only-shipped"]
    monkeypatch.delenv(models.VARIABLE)
    assert models.find_model(NAME).identity().startswith(f"{NAME} 0.9 sha256:")


def test_a_broken_model_of_the_user_leaves_the_others_alone(bundle, caplog):
    save_tiny(bundle.with_name("good"))
    (bundle / "configs" / "metadata.json").write_text("{")
    (bundle.parent / "no model at all").mkdir()
    found = models.all_models()
    assert "good" in found and NAME not in found
    assert "is not valid JSON" in caplog.text


def test_a_place_of_models_that_is_no_folder_is_told(bundle, tmp_path, caplog, monkeypatch):
    monkeypatch.setenv(models.VARIABLE, f"{tmp_path / 'mistyped'}{os.pathsep}{bundle.parent}")
    assert NAME in models.all_models()
    assert models.find_model(NAME).folder == bundle
    assert caplog.text.count(f"{tmp_path / 'mistyped'}, which is no folder") == 1


def test_an_edsr_whose_scale_is_no_number_is_told_as_a_broken_model(bundle, beating_disc):
    change_metadata(bundle, lambda metadata: metadata["architecture"]["configuration"].update(scale="two"))
    edsr = all_methods()["edsr"]
    started = enhance(edsr, beating_disc, edsr.parameters(model=NAME))
    with pytest.raises(STEnhanceError, match="scale two was given; expected 2 or 4"):
        next(started.frames)


def test_finding_models_imports_nothing_heavy(bundle):
    program = f"""
import sys
from STEnhanceLib import models
models.find_model({NAME!r}).card()
print(*{{"torch", "safetensors", "SimpleITK", "scipy", "pydicom", "matplotlib"}} & sys.modules.keys())
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ran.stdout.strip(), ran.returncode) == ("", 0), ran.stderr


# The models that come with STEnhance


def test_every_model_that_a_method_names_is_shipped():
    named = {name for method in all_methods().values() for name in method.models}
    assert named <= set(SHIPPED)
    assert {path.name for path in models.SHIPPED.glob("*")} == set(SHIPPED), "nothing else lies there"


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_loads_is_small_and_says_what_it_is(name, monkeypatch):
    from safetensors.torch import load

    monkeypatch.delenv(models.VARIABLE, raising=False)
    model = models.find_model(name)
    content = model.checked_weights()
    assert len(content) <= 16 * 2**20
    assert {str(weights.dtype) for weights in load(content).values() if weights.is_floating_point()} == {
        "torch.float16"
    }
    models.load(name)
    assert (model.folder / "docs" / "README.md").read_text(encoding="utf-8") == model.card()
    training = model.metadata["training"]
    assert training["data"] and training["data_licence"] and training["recipe"] and training["steps"] > 0
    assert model.metadata["limits"] and len(model.metadata["citation"]) > 20
    if model.metadata["task"] != "training":
        assert model.metadata["scores"], "what nobody measured is not shipped"
