"""The one exception type of images and folders of images."""


class ImageError(ValueError):
    """An image, or a folder of images, that cannot be used; the message names it and says why."""
