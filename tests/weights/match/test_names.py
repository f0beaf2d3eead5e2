"""What names say: roles, order, and which layers have one name but for the word of their kind."""

import random
import time

import pytest

from npresnet.weights.match.names import components, in_order, masked, split_role, without_collection, without_end


@pytest.mark.parametrize(
    "key, path, role",
    [
        ("layer1.0.conv1.weight", "layer1.0.conv1", "weight"),
        ("bn1_running_mean", "bn1", "mean"),
        ("conv0/bn/variance/EMA:0", "conv0/bn", "var"),
        ("res_net50/~/initial_batchnorm/~/mean_ema/average", "res_net50/~/initial_batchnorm", "mean"),
        ("fc.num_batches_tracked", "fc", "count"),
        ("weight", "", "weight"),
        ("lightweight", "lightweight", ""),
        ("w1", "w1", ""),
        ("", "", ""),
    ],
)
def test_the_end_of_a_name_says_the_role(key, path, role):
    assert split_role(key) == (path, role)


@pytest.mark.parametrize(
    "path, parts",
    [
        ("layer1.0.conv1", ("layer1", "0", "conv1")),
        ("block::3/unit_1", ("block", "3", "unit_1")),
        ("stage2_0_branch_1_norm", ("stage2", "0", "branch", "1", "norm")),
        ("net.stage2_0", ("net", "stage2_0")),
        ("", ()),
    ],
)
def test_components_stand_between_separators_or_else_underscores(path, parts):
    assert components(path) == parts


@pytest.mark.parametrize(
    "one, other",
    [
        ("layer1.0.conv1", "layer1.0.bn1"),
        ("body.conv1.conv", "body.conv1.bn"),
        ("res2a_branch2a", "scale2a_branch2a"),
        ("stage1_conv0", "stage1_batchnorm0"),
        ("unit/conv1", "unit/conv1/BatchNorm"),
        ("layer.0.convolution", "layer.0.normalization"),
    ],
)
def test_a_convolution_and_its_norm_have_one_name_without_the_words_for_their_kind(one, other):
    assert masked(one) == masked(other)


def test_different_layers_keep_different_names():
    names = ["layer1.0.conv1", "layer1.0.conv2", "layer1.1.conv1", "layer2.0.conv1", "conv1"]
    assert len(set(map(masked, names))) == len(names)


def test_numbers_count_and_the_first_block_s_order_holds_for_all():
    paths = [f"layer{s}.{b}.{part}" for s in (1, 2) for b in range(12) for part in ("right", "left.0", "left.3")]
    shuffled = sorted(paths[1:])  # 10 before 2
    random.Random(0).shuffle(shuffled)
    given = paths[:3] + [path for path in shuffled if path not in paths[:3]]
    assert [given[i] for i in in_order(given)] == paths


def test_a_collection_is_taken_off_once():
    assert without_collection("params/conv_init/kernel") == "conv_init/kernel"
    assert without_collection("net.batch_stats.bn.mean") == "net.bn.mean"
    assert without_collection("hyperparams.x") == "hyperparams.x" and without_collection("params/") == "params/"


def test_the_end_of_a_path_is_its_last_word_and_number():
    assert without_end("layer1_0_conv12") == "layer1_0" and without_end("a.b") == "a" and without_end("") == ""


@pytest.mark.parametrize("unit", ["a", "_", ".", "conv", "bn_", "0", "a.", "#", "~/", "params/"])
def test_names_of_any_length_take_time_that_grows_with_them(unit):
    key = unit * (1_000_000 // len(unit)) + "!"
    start = time.process_time()
    path, _ = split_role(without_collection(key))
    masked(path), without_end(path), in_order([path])
    assert time.process_time() - start < 2
