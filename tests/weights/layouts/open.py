"""Kinds that do not pass yet, each with the reason.  A row that passes must leave (the tests are strict)."""

OPEN: dict[str, str] = {
    'whole module: pre-activation': "SILENTLY other logits, off by 9.5e-02 of the largest: Spec(name='prere",
    'whole module: maximum for the mean before the head': 'SILENTLY other logits, off by 5.2e-01 of the largest: S',
    'whole module: a pooling inside a stage': "refused in other words than '(?i)pool': net.pth: no network of the ",
    'whole module: averaging shortcuts, last stage dilated': 'SILENTLY other logits, off by 2.0e-01 of the largest',
    'whole module: averaging shortcuts, last stage without stride': 'loaded, and cannot answer: the two paths of a',
    'names: convolutions in a branch, norms beside it': "refused: net.pth: the norm 'layer1.0.bn1' belongs to no c",
    'names: norms in a branch, w1 beside it': "refused: net.pth: the norm 'layer1.0.branch.1.norm' belongs to no c",
    'order: convs, norms and projections in lists of their own': "refused: net.pth: the norm 'projection_norms.0' ",
    'folder: DeepSpeed': "refused in other words than '(?i)mp_rank_00_model_states|deepspeed|giv",
    'HDF5 written by h5py, a dataset for each name': 'refused: net.h5: holds no arrays; its keys are none; save mo',
}
