"""The ways in which people leave their ResNets: a table of kinds, each made from scratch, small."""
