"""How many images a network gets right before and after it is quantized, with and without bias correction.

python -m tests.scripts.quantized_accuracy weights/resnet20-cifar10.safetensors cifar10-train.zip cifar10-test.zip

256 images of the first data set calibrate, evenly spaced; all of the second are classified.
"""

import sys

import numpy as np

import npresnet
from npresnet.data.folder import in_batches
from npresnet.data.open_dataset import open_for_evaluation

CALIBRATE, BATCH = 256, 250
ROWS = [(bits, correct) for bits in (8, 6, 5, 4, 3) for correct in (False, True)]


def right(networks, data, model):
    """name → how many images of the data set each network gets right."""
    found = dict.fromkeys(networks, 0)
    for x, labels in data.batches(model, BATCH):
        for name, network in networks.items():
            found[name] += int((network(x).argmax(1) == labels).sum())
    return found


def main(weights, train, test):
    model = npresnet.load_model(weights)
    train, test = open_for_evaluation(train), open_for_evaluation(test)
    (chosen,) = in_batches(len(train), len(train), CALIBRATE)
    images = np.concatenate([x for x, _ in train.subset(chosen).batches(model, BATCH)])
    networks = {"float32": npresnet.optimize(model)}
    for bits, correct in ROWS:
        network = npresnet.quantize(model, images, weight_bits=bits, correct_bias=correct)
        networks[f"weights of {bits} bits{', bias corrected' * correct}"] = npresnet.optimize(network)
    for name, count in right(networks, test, model).items():
        print(f"{count:6,} of {len(test):,}  {100 * count / len(test):6.2f} %  {name}")


if __name__ == "__main__":
    main(*sys.argv[1:])
