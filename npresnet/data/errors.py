"""The one exception type of pictures and folders of pictures."""


class ImageError(ValueError):
    """A picture, or a folder of pictures, that cannot be used; the message names it and says why."""
