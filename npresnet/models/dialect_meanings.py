"""What each detail of a dialect means, in one or two sentences for `npresnet diff`."""

MEANING = {
    "stride_on": "which convolution of a bottleneck halves the image: the 3×3 reads every pixel before half of "
    "the rows and columns go; a strided 1×1 never reads three of four.  The same weights fit, and give "
    "other numbers.  With the 3×3 the first convolution works on four times as many pixels: more MACs.",
    "shortcut": "how a shortcut changes shape: A adds zero channels, B projects with a 1×1 convolution where it must, "
    "B-leading also at the start of the first stage, C in every block.",
    "conv_bias": "whether a convolution before a batch norm adds a bias.  Batch norm subtracts the mean, so that in "
    "training it cancels; running means include it, so that dropping it afterwards shifts everything.",
    "norm": "what follows a convolution: batch norms use running statistics of the training images, group norms the "
    "mean and variance of each group of channels of the image itself, also in training, whatever else is in the batch.",
    "norm_groups": "into how many groups a group norm divides the channels.  The same weights fit any number.",
    "activation": "the function between the layers.  The same weights fit all of them, and give other numbers.",
    "branch_activation": "the function inside a residual branch, where it is not that of stem and sums: Hugging Face's "
    "hidden_act leaves a ReLU there.",
    "negative_slope": "the slope of a leaky ReLU below 0.",
    "eps": "what is added to every variance before its root.  Small, but it enters every one of the batch norms.",
    "momentum": "the weight of a new batch in the running statistics (Keras calls 1 − this momentum).  Only training "
    "sees it.",
    "unbiased": "whether the running variance is corrected by m/(m−1).  Only training sees it.",
    "padding": "how borders are filled: explicit padding is the same on all sides, 'same' puts the odd pixel at the "
    "bottom and right, so that a strided window starts one pixel later.",
    "stem": "what comes first: one convolution (7×7, 5×5 or 3×3), three 3×3 (deep, or tiered with a "
    "narrower first), pooling before the batch norm, or no batch norm.",
    "stem_stride": "whether the first convolution halves the image.  Without that every stage works on four times as "
    "many pixels: CIFAR networks need it, and the same weights see another scale.",
    "stem_norm": "whether batch norm and ReLU follow the first convolution of a pre-activation network, or the first "
    "block begins with its own.",
    "stem_width": "the channels of a deep stem's first convolutions.",
    "stem_bias": "whether the very first convolution adds a bias.",
    "pool": "how the stem's max-pooling meets the border: padded with −∞ on all sides, with zeros (which win over "
    "negative values), unpadded with a last window that hangs over (ceil), or TensorFlow's 'same'; a strided 3×3 "
    "convolution in its place (conv); or that there is none, and the stages work on four times as many pixels.",
    "avg_down": "whether a strided shortcut averages 2×2 pixels or leaves three of four out.",
    "antialias": "what leaves pixels out: a strided 3×3 convolution and max-pooling drop three of four, average "
    "pooling or a blur behind an unstrided one lets all of them count.  The same weights fit, and give other numbers.",
    "attention": "what scales the channels of each branch by what it sees in their means: nothing, squeeze and "
    "excitation (se, which squeeze=True also means), or a convolution along the channels (eca).",
    "squeeze_ratio": "to which part of the channels a squeeze-and-excitation gate squeezes them.",
    "squeeze": "whether each branch ends in a gate that scales its channels by what it sees in their means.",
    "relu_before_sum": "whether a bottleneck's branch passes a ReLU before the addition, so that it can only add.",
    "bare_bias": "whether convolutions that feed no batch norm add a bias.",
    "stride_in": "which block of a stage halves the image in a pre-activation network: its first, or its last.",
    "output_stride": "by how much the last stage divides the image, behind a stem that divides by 4.  Below 32 the "
    "last stages keep its size and dilate their 3×3 convolutions; the same weights fit, and give other numbers.",
    "first_block": "in a pre-activation network, whether the first block's shortcut reads what its branch reads, after "
    "batch norm and ReLU, or x itself as the other blocks' do, behind a stem of its own batch norm or none.",
    "projection_of": "in a pre-activation network, whether a projection on the shortcut reads x, or what the branch "
    "reads, after batch norm and ReLU.  The same weights fit, and give other numbers.",
    "final_norm": "whether batch norm and ReLU follow the last block of a pre-activation network.",
    "softmax": "whether the network ends in probabilities.  model.logits(x) gives the scores of both.",
    "preprocessing": "how an image becomes numbers.  The wrong preprocessing costs accuracy without any error.",
}

TRAINING_ONLY = ("momentum", "unbiased")
