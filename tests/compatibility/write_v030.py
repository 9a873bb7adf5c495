"""Write golden files with version 0.3.0: SONATA, Neuronvisio, PyMoDAQ, Zarr.

Run as ``python -m tests.compatibility.write_v030`` with that release, once: a golden file is never
rewritten. Those of a simulator come from the scripts named after it.
"""

import os
import tempfile
from pathlib import Path

import numpy as np

from ndx_simulation_output import convert, export_sonata
from ndx_simulation_output.neuronvisio import BaseRef, Manager, SynVecRef, VecRef
from ndx_simulation_output.pymodaq import (
    Axis,
    BkgSaver,
    DataEnlargeableSaver,
    DataExtendedSaver,
    DataRaw,
    DataSaverLoader,
    DataToExport,
    DataToExportEnlargeableSaver,
    DataToExportExtendedSaver,
    DataToExportSaver,
    DataToExportTimedSaver,
    H5SaverLowLevel,
)
from tests.compatibility.inputs import (
    ALLEN,
    BBP,
    METADATA,
    NEURONVISIO,
    RANKS,
    grating,
    write_sonata,
)
from tests.compatibility.packing import pack


def sonata() -> None:
    """Convert both dialects, stored in each way, and export them again."""
    allen = write_sonata(ALLEN, Path("allen")) / "simulation_config.json"
    bbp = write_sonata(BBP, Path("bbp"))
    convert(allen, "sonata_allen.nwb", metadata=METADATA)
    convert(bbp, "sonata_bbp.nwb", metadata=METADATA)
    convert(allen, "sonata_gzip.nwb", metadata=METADATA, compression="gzip", chunks=(5, 4))
    convert(bbp, "sonata_contiguous.nwb", metadata=METADATA, chunks="contiguous")
    convert(allen, "sonata_quantized.nwb", metadata=METADATA, quantize={"v": "0.01mV"})
    convert(bbp, "sonata_linked.nwb", metadata=METADATA, link=True)
    convert(allen, "sonata.nwb.zarr", metadata=METADATA, compression="zstd")
    ranks = []
    for rank, files in enumerate(RANKS):
        source = write_sonata(files, Path(f"rank{rank}"))
        ranks.append(convert(source, f"rank{rank}.nwb", metadata=METADATA).path)
    convert(ranks, "sonata_merged.nwb", compression="gzip")
    export_sonata("sonata_allen.nwb", "exported_allen")
    export_sonata("sonata_bbp.nwb", "exported_bbp")
    # In the other dialect.
    export_sonata("sonata_allen.nwb", "exported_allen_as_bbp", dialect="bbp", dtype="float32")
    stored = ("allen", "bbp", "gzip", "contiguous", "quantized", "linked", "merged")
    exported = ("exported_allen", "exported_bbp", "exported_allen_as_bbp")
    pack("sonata", [*(f"sonata_{name}.nwb" for name in stored), "sonata.nwb.zarr", *exported])


def neuronvisio() -> None:
    """Save the references of a manager in both formats, and convert a storage."""
    manager = Manager()
    for group, section, detail, vecs in NEURONVISIO["refs"]:
        ref: BaseRef
        if group == "VecRef":
            ref = VecRef(section)
        elif group == "SynVecRef":
            ref = SynVecRef(detail, section)
        else:
            ref = BaseRef()
            ref.sec_name, ref.detail, ref.group_id = section, detail, group
        ref.vecs = vecs
        manager.add_ref(ref, NEURONVISIO["x"][group])
    manager.save_to_hdf("storage.h5")
    manager.save("neuronvisio_saved.nwb", metadata=METADATA)
    convert("storage.h5", "neuronvisio_converted.nwb", metadata=METADATA)
    pack("neuronvisio", ["storage.h5", "neuronvisio_saved.nwb", "neuronvisio_converted.nwb"])


def element(number: int) -> DataToExport:
    """Return one element of growing data."""
    arrays, time = grating(number), 1.7e9 + number / 4
    spectrum = DataRaw(
        "spectrum",
        data=[arrays["spectrum"]],
        errors=[arrays["error"]],
        units="V",
        labels=["intensity"],
        axes=[Axis("wavelength", "nm", np.array([400.0, 500.0, 700.0]))],
        timestamp=time,
        gain=2,
    )
    power = DataRaw("power", data=[arrays["power"]], units="W", timestamp=time)
    return DataToExport("all", [spectrum, power], timestamp=time)


def pymodaq() -> None:
    """Save data of known shape with backgrounds, and data that grow in each way."""
    with H5SaverLowLevel() as saver:
        saver.init_file("pymodaq_saved.nwb")
        at = saver.add_det_group("/RawData", "Camera", settings_as_xml="<gain>2</gain>")
        image = DataRaw(
            "image",
            data=[np.array([[1, 2, 3], [4, 5, 6]]), np.array([[7, 8, 9], [1, 0, 1]])],
            axes=[
                Axis("y", "um", np.array([-1.0, 1.0]), index=0),
                Axis("x", "um", np.array([10.0, 11.0, 15.0]), index=1),
            ],
            origin="camera",
            timestamp=1.7e9,
            exposure=0.25,
        )
        background = DataRaw(
            "image", data=[np.full((2, 3), 1), np.full((2, 3), 2)], timestamp=1.7e9
        )
        DataSaverLoader(saver).add_data(at, image)
        BkgSaver(saver).add_data(at, background, save_axes=False)
        at = saver.add_det_group("/RawData", "Spectrometer")
        sets = DataToExportSaver(saver)
        sets.add_data(at, element(3), metadata={"operator": "µ"})
        sets.add_bkg(at, element(1))
    with H5SaverLowLevel() as saver:
        saver.init_file("pymodaq_growing.nwb")
        saver.define_compression("gzip", 4)
        timed, enlarged, scanned, single, filled = (
            saver.add_det_group("/RawData", title)
            for title in ("Timed", "Enlargeable", "Extended", "Enlargeable data", "Extended data")
        )
        timing = DataToExportTimedSaver(saver)
        enlarging = DataToExportEnlargeableSaver(saver, ("position",), ("mm",))
        one = DataEnlargeableSaver(saver, ("x", "y"), ("mm", "um"))
        for number in range(5):
            timing.add_data(timed, element(number))
            enlarging.add_data(enlarged, element(number), (number * 1.5,))
            one.add_data(single, element(number)[0], (number, number * 2.5))
        axes = [Axis("p", "mm", np.array([0.0, 1.5])), Axis("q", "mm", np.arange(3.0), index=1)]
        scanning = DataToExportExtendedSaver(saver, (2, 3))
        scanning.add_nav_axes(scanned, axes)
        point = DataExtendedSaver(saver, (2, 3))
        for indexes in ((0, 0), (0, 2), (1, 1)):
            scanning.add_data(scanned, element(sum(indexes)), indexes)
            point.add_data(filled, element(sum(indexes))[0], indexes)
    pack("pymodaq", ["pymodaq_saved.nwb", "pymodaq_growing.nwb"])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        sonata()
        neuronvisio()
        pymodaq()
