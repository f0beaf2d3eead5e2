"""How other libraries name the arrays of a ResNet."""
