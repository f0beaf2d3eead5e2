"""Kinds that do not pass yet, each with the reason.  A row that passes must leave (the tests are strict)."""

OPEN: dict[str, str] = {
    'head = cosine classifier': 'loaded, and cannot answer: this network has no classifier and gives fe',
    'whole module: pre-activation': "SILENTLY other logits, off by 9.5e-02 of the largest: Spec(name='prere",
    'whole module: maximum for the mean before the head': 'SILENTLY other logits, off by 5.2e-01 of the largest: S',
    'whole module: a pooling inside a stage': "refused in other words than '(?i)pool': net.pth: no network of the ",
    'whole module: averaging shortcuts, last stage dilated': 'SILENTLY other logits, off by 2.0e-01 of the largest',
    'whole module: averaging shortcuts, last stage without stride': 'loaded, and cannot answer: the two paths of a',
    'timm: anti-aliased by averaging, as config.json says': 'SILENTLY other logits, off by 7.0e-01 of the largest:',
    'pruned: weight_orig and weight_mask': 'refused: net.pth: the arrays are not those of a ResNet: their 24 convo',
    'weight norm in every convolution: weight_g and weight_v': 'refused: net.pth: the arrays are not those of a Re',
    'weight norm as a parametrisation: original0 and original1': 'refused: net.pth: the arrays are not those of a ',
    'order: convs, norms and projections in lists of their own': "refused: net.pth: the norm 'projection_norms.0' ",
    'parts: NumPy strings for names': 'refused: net.pth: an array is named by a Record, not by a string',
    'folder: DeepSpeed': "refused in other words than '(?i)mp_rank_00_model_states|deepspeed|giv",
    "MXNet's .params": "refused in other words than '(?i)mxnet': net.params: the names are not",
    'HDF5 written by h5py, a dataset for each name': 'refused: net.h5: holds no arrays; its keys are none; save mo',
}
