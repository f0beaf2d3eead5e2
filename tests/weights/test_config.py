"""What Hugging Face's and timm's configurations say: followed, compared with the arrays, and never trusted."""

import json

import numpy as np
import pytest

from npresnet import WeightsError, create_model, load_model, save_weights
from npresnet.data import Preprocessing
from npresnet.models import build
from npresnet.weights import recognise

from ..support.libraries import assert_close, images, randomise_torch

BASIC = {"layer_type": "basic", "depths": [2, 2, 2, 2], "hidden_sizes": [64, 128, 256, 512]}
NARROW = {**BASIC, "embedding_size": 8, "hidden_sizes": [8, 16, 32, 64]}
DEEP = {"embedding_size": 8, "depths": [1, 1, 2, 1], "hidden_sizes": [32, 64, 128, 256]}
HF_PREPROCESSOR = {
    "crop_pct": 0.875,
    "do_normalize": True,
    "do_resize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "resample": 3,
    "size": {"shortest_edge": 224},
}


class Arrays(dict):
    """Arrays with the texts of the configurations beside them."""

    def __init__(self, model, **texts):
        super().__init__(model.state_dict())
        self.metadata = {name.replace("__", "."): json.dumps(config) for name, config in texts.items()}


@pytest.fixture(scope="module")
def resnet18():
    return build("resnet18", 3)


def huggingface(**fields):
    return {"model_type": "resnet", **BASIC, "id2label": {"0": "cat", "1": "dog", "2": "fox"}, **fields}


def timm(**fields):
    return {"architecture": "resnet18", "num_classes": 3, "pretrained_cfg": {}, **fields}


# --- Hugging Face -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, expected",
    [
        (BASIC, {}),
        (NARROW, {"width": 8}),
        ({**NARROW, "hidden_act": "gelu"}, {"width": 8, "activation": "gelu", "branch_activation": "relu"}),
        ({**NARROW, "hidden_act": "swish"}, {"width": 8, "activation": "silu", "branch_activation": "relu"}),
        ({**DEEP, "downsample_in_bottleneck": True}, {"width": 8, "depths": (1, 1, 2, 1), "stride_on": "1x1"}),
        ({**DEEP, "hidden_act": "leaky_relu"}, None),
        ({**NARROW, "downsample_in_first_stage": True}, None),
        ({**DEEP, "downsample_in_first_stage": True}, None),
        ({**DEEP, "downsample_in_first_stage": True, "downsample_in_bottleneck": True}, None),
    ],
)
def test_transformers_networks(torch, library, tmp_path, options, expected):
    transformers = library("transformers")
    names = {number: f"kind {number}" for number in range(3)}
    theirs = transformers.ResNetForImageClassification(transformers.ResNetConfig(**options, id2label=names))
    randomise_torch(theirs).save_pretrained(tmp_path, max_shard_size="100KB")
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(HF_PREPROCESSOR))
    ours, x = load_model(tmp_path), images(1)
    with torch.no_grad():
        assert_close(ours(x), theirs(torch.from_numpy(x)).logits.numpy(), 1e-4)
    assert ours.classes == ("kind 0", "kind 1", "kind 2")
    assert ours.preprocessing == Preprocessing(256, 224, interpolation="bicubic")
    assert not [note for note in ours.notes if "also fit" in note]
    assert expected is None or ours.spec.options == expected
    by_name = create_model(ours.spec.name, weights=tmp_path)
    assert by_name.spec == ours.spec and by_name.classes == ours.classes


@pytest.mark.parametrize(
    "fields, message",
    [
        (
            {"depths": [3, 4, 6, 3]},
            r"says depths \(3, 4, 6, 3\), the arrays have \(2, 2, 2, 2\); it is of other weights",
        ),
        ({"hidden_sizes": [8, 16, 32, 64]}, "says hidden_sizes"),
        ({"embedding_size": 32}, "says embedding_size 32, the arrays have 64"),
        ({"num_channels": 1}, "says num_channels 1, the arrays have 3"),
        ({"layer_type": "bottleneck"}, "says layer_type 'bottleneck', the arrays have 'basic'"),
        ({"id2label": {"0": "cat"}}, "says the number of labels 1, the arrays have 3"),
        ({"depths": "many"}, "\"depths\" is a list, not 'many'"),
        ({"depths": [2, 2, None, 2]}, '"depths" is a list of whole numbers'),
        ({"id2label": ["cat", "dog", "fox"]}, '"id2label" is an object'),
        ({"downsample_in_first_stage": 1}, '"downsample_in_first_stage" is true or false, not 1'),
    ],
)
def test_a_huggingface_configuration_of_other_arrays(resnet18, fields, message):
    with pytest.raises(WeightsError, match=message) as caught:
        recognise(Arrays(resnet18, config__json=huggingface(**fields)))
    assert str(caught.value).startswith("config.json: ") and len(str(caught.value).splitlines()) == 1


def test_default_labels_are_no_names(resnet18):
    labels = {str(number): f"LABEL_{number}" for number in range(3)}
    assert recognise(Arrays(resnet18, config__json=huggingface(id2label=labels))).classes is None
    assert recognise(Arrays(resnet18, config__json=huggingface())).classes == ("cat", "dog", "fox")


@pytest.mark.parametrize(
    "fields, expected",
    [
        ({}, Preprocessing(256, 224, interpolation="bicubic")),
        ({"size": 224, "resample": 2}, Preprocessing(256, 224)),
        ({"size": {"height": 96, "width": 96}}, Preprocessing(109, 96, interpolation="bicubic")),
        (
            {"crop_pct": None, "do_center_crop": True, "crop_size": {"height": 64, "width": 64}, "size": 70},
            Preprocessing(70, 64, interpolation="bicubic"),
        ),
        ({"do_resize": False}, Preprocessing(None, None, interpolation="bicubic")),
        ({"do_normalize": False}, Preprocessing(256, 224, (0, 0, 0), (1, 1, 1), interpolation="bicubic")),
        ({"do_rescale": False}, Preprocessing(256, 224, scale="caffe", interpolation="bicubic")),
    ],
)
def test_a_huggingface_preprocessor(resnet18, fields, expected):
    found = recognise(Arrays(resnet18, config__json=huggingface(), preprocessor_config__json=HF_PREPROCESSOR | fields))
    assert found.preprocessing == expected and not found.notes


def test_images_that_are_stretched(resnet18):
    fields = HF_PREPROCESSOR | {"size": 384}
    found = recognise(Arrays(resnet18, config__json=huggingface(), preprocessor_config__json=fields))
    assert found.preprocessing == Preprocessing(384, 384, interpolation="bicubic") and "stretched" in found.notes[0]


@pytest.mark.parametrize(
    "fields", [{"resample": 1}, {"size": "big"}, {"crop_pct": "x"}, {"image_std": [0]}, {"rescale_factor": 1}]
)
def test_a_huggingface_preprocessor_that_cannot_be_followed(resnet18, fields):
    found = recognise(Arrays(resnet18, config__json=huggingface(), preprocessor_config__json=HF_PREPROCESSOR | fields))
    assert found.preprocessing is None and "cannot be followed" in found.notes[0]


# --- timm -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, options",
    [
        ("resnet18", {}),
        ("resnet18d", {"output_stride": 16}),
        ("seresnet18", {"act_layer": "silu"}),
        ("resnet50_gn", {"layers": (1, 1, 1, 1)}),
        ("resnetblur18", {}),
        ("resnetblur50d", {"layers": (1, 1, 1, 1)}),
        ("seresnetaa50d", {"layers": (1, 1, 1, 1), "output_stride": 16}),
        ("ecaresnet26t", {"layers": (1, 1, 1, 1)}),
        ("resnetrs50", {"layers": (1, 1, 1, 1)}),
    ],
)
def test_timm_networks(torch, library, tmp_path, name, options):
    theirs = library("timm").create_model(name, num_classes=3, **options)
    library("timm.models").save_for_hf(
        randomise_torch(theirs), tmp_path, {"label_names": ["n1", "n2", "n3"], "label_descriptions": {"n2": "dog"}}
    )
    ours, x = load_model(tmp_path), images(1)
    with torch.no_grad():
        assert_close(ours(x), theirs(torch.from_numpy(x)).numpy(), 1e-4)
    assert ours.classes == ("n1", "dog", "n3") and ours.spec.dialect == "timm"
    data = library("timm.data").resolve_model_data_config(theirs)
    side = data["input_size"][1]
    assert ours.preprocessing == Preprocessing(
        int(side / data["crop_pct"]), side, data["mean"], data["std"], interpolation=data["interpolation"]
    )


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"num_classes": 7}, "says num_classes 7, the arrays have 3"),
        ({"architecture": "resnet34"}, r"says resnet34, of the blocks \(3, 4, 6, 3\), the arrays have \(2, 2, 2, 2\)"),
        ({"architecture": "resnet18d"}, "says a stem of 3, the arrays have 1"),
        ({"pretrained_cfg": 3}, '"pretrained_cfg" is an object, not 3'),
        ({"model_args": {"act_layer": "mish"}}, "builds the network with act_layer='mish'"),
        ({"model_args": {"norm_layer": "evonorm"}}, "builds the network with norm_layer='evonorm'"),
        ({"global_pool": "max"}, "with global_pool='max', which is not built"),
    ],
)
def test_a_timm_configuration_of_other_arrays(resnet18, fields, message):
    with pytest.raises(WeightsError, match=message) as caught:
        recognise(Arrays(resnet18, config__json=timm(**fields)))
    assert str(caught.value).startswith("config.json: ") and len(str(caught.value).splitlines()) == 1


def test_an_older_timm_configuration_and_imagenets_names(resnet18):
    flat = {"architecture": "resnet18", "num_classes": 3, "input_size": [3, 96, 96], "crop_pct": 1.0, "mean": [0, 0, 0]}
    found = recognise(Arrays(resnet18, config__json={**flat, "labels": ["a", "b", "c"]}))
    assert found.classes == ("a", "b", "c") and found.preprocessing == Preprocessing(96, 96, mean=(0, 0, 0))
    thousand = {**timm(num_classes=1000), "pretrained_cfg": {"tag": "a1_in1k"}}
    assert recognise(Arrays(build("resnet18"), config__json=thousand)).dataset == "imagenet"


@pytest.mark.parametrize(
    "cfg", [{"input_size": [3, 224, 160]}, {"mean": 0.5}, {"mean": [0, 0, 0], "crop_mode": "border"}]
)
def test_a_timm_preprocessing_that_cannot_be_followed(resnet18, cfg):
    found = recognise(Arrays(resnet18, config__json=timm(pretrained_cfg=cfg)))
    assert found.preprocessing is None and "cannot be followed" in found.notes[0]


def test_an_architecture_that_is_unknown_here_is_recognised_by_its_arrays(resnet18):
    found = recognise(Arrays(resnet18, config__json=timm(architecture="resnet18_of_a_friend")))
    assert found.name == "resnet18" and "names the architecture 'resnet18_of_a_friend'" in found.notes[-1]


# --- others -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [{}, [], 3, {"lr": 0.1}, {"model_type": "vit"}])
def test_another_programs_configuration_is_passed_over(resnet18, config):
    assert recognise(Arrays(resnet18, config__json=config)) == recognise(Arrays(resnet18))


def test_a_configuration_that_is_no_json(resnet18):
    arrays = Arrays(resnet18)
    arrays.metadata["config.json"] = "{" * 10
    assert recognise(arrays).name == "resnet18"


def test_our_own_metadata_come_first(resnet18, tmp_path):
    resnet18.classes = ("x", "y", "z")
    save_weights(resnet18, tmp_path / "model.safetensors")
    resnet18.classes = None
    (tmp_path / "config.json").write_text(json.dumps(huggingface(depths=[1])))
    assert load_model(tmp_path).classes == ("x", "y", "z")


def test_a_configuration_counts_where_a_network_is_asked_for_by_name(resnet18, tmp_path):
    save_weights(resnet18.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(timm(architecture="resnetblur18")))
    assert create_model("resnet18", weights=tmp_path).spec.options == {"antialias": "blur"}
    (tmp_path / "config.json").write_text(json.dumps(timm(architecture="resnet34")))
    with pytest.raises(WeightsError, match=r"resnet34, of the blocks"):
        create_model("resnet18", weights=tmp_path)
    assert isinstance(create_model("resnet18", weights=dict(resnet18.state_dict())).fc.weight.value, np.ndarray)
