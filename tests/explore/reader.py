"""Reads a page as its own script does: the values, and arrays out of the one run of float32."""

import base64
import json
import re

import numpy as np


class Page:
    """What a page holds."""

    def __init__(self, html):
        self.html = html
        self.values = json.loads(re.search(r'id="values">(.*?)</script>', html, re.S)[1])
        self.floats = np.frombuffer(base64.b64decode(re.search(r'id="floats">(.*?)</script>', html)[1]), "<f4")
        self.steps = self.values["steps"]

    def array(self, place):
        size = int(np.prod(place["shape"]))
        return self.floats[place["at"] : place["at"] + size].reshape(place["shape"])

    def channels(self, step):
        return self.array(step["channels"]).astype(int)
