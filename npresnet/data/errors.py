"""The exception that all readers of images, datasets and their archives raise."""


class ImageError(ValueError):
    """An image, or a folder or archive of images, that cannot be used; the message names it and says why."""
