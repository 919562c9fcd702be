"""The errors that a user can cause: each says what was got, what was expected and the remedy."""


class MoroError(Exception):
    """Base of all errors of this package that a user can cause."""


class ConfigError(MoroError):
    """A configuration file, option or parameter does not make sense."""


class CheckpointError(MoroError):
    """A weights file is missing, damaged or belongs to another network."""


class BodyModelError(MoroError):
    """A body model file is missing, damaged or of another topology."""


class CalibrationError(MoroError):
    """The camera calibration is absent or contradicts the image."""


class ImageError(MoroError):
    """An image cannot be used: unknown encoding, no pixels, wrong size."""


class VideoError(MoroError):
    """A video does not open or holds no frames."""


class AssetError(MoroError):
    """A model file or sample could not be fetched or fails its checksum."""


class DataError(MoroError):
    """A data set is missing, damaged or not in its published layout."""
