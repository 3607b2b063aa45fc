"""A volume as xarray sees it: slices are decoded when they are used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray
from xarray.backends import BackendArray
from xarray.core import indexing

if TYPE_CHECKING:
    from .volume import Volume


class _Slices(BackendArray):
    def __init__(self, volume: Volume) -> None:
        self.volume, self.shape, self.dtype = volume, volume.shape, volume.dtype

    def __getitem__(self, key: Any) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self.volume.__getitem__
        )


def data_array(volume: Volume) -> Any:
    """A DataArray (z, y, x) in the unit of the frames; coordinates in mm from the origin."""
    dims = ("z", "y", "x")
    data = indexing.LazilyIndexedArray(_Slices(volume))
    across = (np.arange(volume.shape[at]) * volume.spacing[at] for at in (1, 2))
    places = zip(dims, (volume.depths, *across), strict=True)
    coords = {dim: (dim, values, {"units": "mm"}) for dim, values in places}
    attrs = {
        "units": volume.frames[0].unit,
        "origin": list(volume.origin),
        "axes": volume.axes.ravel().tolist(),
    }
    return xarray.DataArray(xarray.Variable(dims, data, attrs), coords, name="values")
