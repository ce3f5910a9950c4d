"""Small scans as NIfTI (nibabel) and DICOM (pydicom, compressed by GDCM), and what these libraries read from them.

Debian 12: python3-nibabel 5.0.0, python3-pydicom 2.3.1, python3-gdcm 3.0.21. The pictures are made up.
Expected voxels are in fovea's order: D inferior to superior, H anterior to posterior, W right to left.
"""
import gzip
import json
import shutil

import gdcm
import nibabel as nib
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from reference_files import HERE, write_safetensors

OUT = HERE / "volumes"
shutil.rmtree(OUT, ignore_errors=True)
OUT.mkdir()
rng = np.random.default_rng(7)
cases, arrays = [], {}


def canonical(image):
    """(D, H, W) and its affine by nibabel: nearest axes, left, posterior, superior."""
    to = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(image.affine), nib.orientations.axcodes2ornt("LPS")
    )
    turned = image.as_reoriented(to)
    return np.asarray(turned.get_fdata()).transpose(2, 1, 0), turned.affine


def nifti(name, data, affine, gz=False, big=False, version=1, sform=2, qform=0, slope=None, inter=0.0, units="mm"):
    cls = nib.Nifti2Image if version == 2 else nib.Nifti1Image
    image = cls(data, affine, dtype=data.dtype)
    header = image.header.as_byteswapped(">") if big else image.header
    image = cls(data, affine, header, dtype=data.dtype)
    image.set_sform(affine if sform else None, code=sform)
    image.set_qform(affine if qform else None, code=qform, strip_shears=True)
    image.header.set_xyzt_units(units)
    path = OUT / f"{name}.nii"
    if slope is not None:
        image.header.set_slope_inter(slope, inter)
    nib.save(image, path)
    if slope is not None:  # nibabel divides by the slope when it writes: put the stored values back
        raw = bytearray(path.read_bytes())
        offset = int(image.header["vox_offset"]) or 352
        order = data.astype(data.dtype.newbyteorder(">" if big else "<"))
        raw[offset : offset + data.nbytes] = order.tobytes(order="F")
        path.write_bytes(raw)
    expected, turned = canonical(nib.load(path))
    if units == "meter":
        turned = np.vstack([turned[:3] * 1000, turned[3:]])
    if gz:
        path.with_suffix(".nii.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
        path.unlink()
    keep(name + (".nii.gz" if gz else ".nii"), "volume", expected, turned)


def keep(file, kind, expected, affine=None):
    case = {"file": file, "kind": kind, "shape": list(expected.shape)}
    if affine is not None:
        case["affine"] = [[float(v) for v in row] for row in affine]
    cases.append(case)
    arrays[file] = np.ascontiguousarray(expected).astype(np.float32)


plain = np.diag([0.8, 1.5, 3.0, 1.0])
plain[:3, 3] = [-10, 20, -30]
las = plain @ np.diag([-1, 1, 1, 1])
angle = 0.3
turn = np.eye(4)
turn[:3, :3] = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
sagittal = np.array([[0, 0, 2.0, 5], [1.0, 0, 0, 6], [0, -1.5, 0, 7], [0, 0, 0, 1]])
shape = (6, 5, 4)
for dtype in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"):
    kind = np.dtype(dtype)
    values = rng.integers(0 if kind.kind == "u" else -100, 100, shape) if kind.kind != "f" else rng.normal(0, 9, shape)
    nifti(dtype, values.astype(dtype), las, gz=dtype in ("int16", "float32"), version=2 if dtype == "uint16" else 1)
ints = rng.integers(-500, 500, shape).astype(np.int16)
nifti("big-endian", ints, plain, big=True)
nifti("big-endian-2", ints, plain, big=True, version=2)
nifti("scaled", ints, plain, slope=0.25, inter=-1024.0)
nifti("oblique", ints, turn @ plain)
nifti("sagittal", ints, sagittal)
nifti("qform", ints, turn @ las, sform=0, qform=1)
nifti("sform-and-qform", ints, plain, sform=1, qform=3)
nifti("metres", ints, np.diag([0.001, 0.002, 0.003, 1.0]), units="meter")
nifti("one-slice", ints[:, :, :1], plain)

UID = "1.2.826.0.1.3680043.8.498."


def dataset(pixels, signed=False, stored=None, syntax=ExplicitVRLittleEndian, **tags):
    """A secondary capture of (rows, columns), (frames, rows, columns) or, with Photometric RGB, (…, 3)."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID + str(len(cases) + 1)
    ds.SeriesInstanceUID, ds.StudyInstanceUID, ds.Modality = UID + "77", UID + "78", "OT"
    colour = tags.get("PhotometricInterpretation") in ("RGB", "YBR_FULL")
    size = pixels.shape[:-1] if colour else pixels.shape
    ds.Rows, ds.Columns = size[-2:]
    if len(size) == 3:
        ds.NumberOfFrames = size[0]
    ds.SamplesPerPixel = 3 if colour else 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated = pixels.dtype.itemsize * 8
    ds.BitsStored = stored or ds.BitsAllocated
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(signed)
    if colour:
        ds.PlanarConfiguration = 0
    ds.is_little_endian = syntax != ExplicitVRBigEndian
    ds.is_implicit_VR = syntax == ImplicitVRLittleEndian
    if not ds.is_little_endian:
        pixels = pixels.astype(pixels.dtype.newbyteorder(">"))
    ds.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    ds["PixelData"].VR = "OW" if ds.BitsAllocated > 8 else "OB"
    for key, value in tags.items():
        setattr(ds, key, value)
    return ds


def save(name, ds):
    ds.save_as(OUT / f"{name}.dcm", write_like_original=False)
    return OUT / f"{name}.dcm"


def recode(source, name, syntax):
    reader = gdcm.ImageReader()
    reader.SetFileName(str(source))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change(), name
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(OUT / f"{name}.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


y, x = np.mgrid[0:24, 0:20]
wavy = ((x - 10) * 90 + (y - 12) * 60 + rng.integers(-40, 40, (24, 20))).astype(np.int16)
pictures = {
    "s16": (wavy, True, 16),
    "s12": (np.clip(wavy, -2048, 2047).astype(np.int16), True, 12),
    "u12": ((wavy % 4096).astype(np.uint16), False, 12),
    "u8": ((wavy % 256).astype(np.uint8), False, 8),
    "s8": ((wavy // 16).astype(np.int8), True, 8),
}
T = gdcm.TransferSyntax
compressed = {
    "rle": T.RLELossless,
    "jpeg-lossless": T.JPEGLosslessProcess14_1,
    "jpeg-ls": T.JPEGLSLossless,
    "jpeg2000": T.JPEG2000Lossless,
}
for name, (pixels, signed, stored) in pictures.items():
    source = save(f"{name}-explicit", dataset(pixels, signed, stored))
    keep(f"{name}-explicit.dcm", "image", pixels[None].astype(float))
    for kind, syntax in compressed.items():
        if name == "s8" and kind == "jpeg2000":
            continue  # refused: the decoder gets it wrong
        recode(source, f"{name}-{kind}", syntax)
        keep(f"{name}-{kind}.dcm", "image", pixels[None].astype(float))
for name, syntax in {
    "implicit": ImplicitVRLittleEndian,
    "big-endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
}.items():
    save(f"s16-{name}", dataset(wavy, True, syntax=syntax))
    keep(f"s16-{name}.dcm", "image", wavy[None].astype(float))
wide = wavy.astype(np.int32) * 1000
save("s32-explicit", dataset(wide, True))
keep("s32-explicit.dcm", "image", wide[None].astype(float))
save("u16-rescaled", dataset(wavy.astype(np.uint16) & 4095, RescaleSlope="0.5", RescaleIntercept="-1024", Modality="CT"))
keep("u16-rescaled.dcm", "image", (wavy.astype(np.uint16) & 4095)[None] * 0.5 - 1024)
rgb = np.stack([(x * 12) % 256, (y * 10) % 256, (x * y) % 256], -1).astype(np.uint8)
source = save("rgb-explicit", dataset(rgb, PhotometricInterpretation="RGB"))
keep("rgb-explicit.dcm", "image", rgb.transpose(2, 0, 1).astype(float))
for kind, syntax in compressed.items():
    recode(source, f"rgb-{kind}", syntax)
    keep(f"rgb-{kind}.dcm", "image", rgb.transpose(2, 0, 1).astype(float))
planar = dataset(rgb, PhotometricInterpretation="RGB")
planar.PlanarConfiguration = 1
planar.PixelData = rgb.transpose(2, 0, 1).tobytes()
save("rgb-planar", planar)
keep("rgb-planar.dcm", "image", rgb.transpose(2, 0, 1).astype(float))

# Five axial slices with names out of order, from both ends of the table, and one file with the same as frames.
scan = rng.integers(-1000, 1000, (5, 24, 20)).astype(np.int16)
geometry = dict(ImageOrientationPatient=[1, 0, 0, 0, 1, 0], PixelSpacing=[0.7, 0.6], SliceThickness=5)
(OUT / "series").mkdir()
for z in range(5):
    ds = dataset(scan[z], True, RescaleSlope="1", RescaleIntercept="-24", InstanceNumber=(z * 3) % 5 + 1, **geometry)
    ds.ImagePositionPatient = [-7.0, -8.0, 2.5 * z + 40]
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID + f"9{z}"
    ds.save_as(OUT / "series" / f"IM{(z * 2) % 5}", write_like_original=False)
affine = np.array([[-0.6, 0, 0, 7.0], [0, -0.7, 0, 8.0], [0, 0, 2.5, 40.0], [0, 0, 0, 1]])
keep("series", "volume", scan.astype(float) - 24, affine)

frames = dataset(scan[::-1].copy(), True, RescaleSlope="1", RescaleIntercept="-24")


def item(**tags):
    ds = Dataset()
    for key, value in tags.items():
        setattr(ds, key, value)
    return ds


frames.SharedFunctionalGroupsSequence = Sequence([
    item(
        PixelMeasuresSequence=Sequence([item(PixelSpacing=[0.7, 0.6], SliceThickness=5)]),
        PlaneOrientationSequence=Sequence([item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])]),
    )
])
frames.PerFrameFunctionalGroupsSequence = Sequence([
    item(PlanePositionSequence=Sequence([item(ImagePositionPatient=[-7.0, -8.0, 2.5 * z + 40])]))
    for z in reversed(range(5))
])
save("frames", frames)
keep("frames.dcm", "volume", scan.astype(float) - 24, affine)

lines = ",\n".join(json.dumps(case) for case in cases)
(HERE / "volumes.json").write_text(f"[\n{lines}\n]\n")
write_safetensors(HERE / "volumes.safetensors", arrays)
print(len(cases), "cases", sum(p.stat().st_size for p in OUT.rglob("*") if p.is_file()), "bytes")
