"""Make the contact sheet of the sandbox's studies: ``python -m tests.sandbox.contact_sheet``.

Each study shows the middle picture of its first series (a volume with a lesion: that slice), as the
client renders it. The sheet is a page's picture: see ``notebooks/how-to/sandbox.md``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image, ImageDraw

import s4s_notebook as s4s
from s4s_notebook.sandbox.data.archive import ArchivedStudy, SampleArchive
from s4s_notebook.sandbox.data.people import PEOPLE

SHEET = Path(__file__).parents[2] / "notebooks" / "images" / "sandbox.png"
TILE, LABEL, ACROSS = 150, 30, 8
# Study: the part of its frames, from 0 to 1, and which series.
CHOICES = {
    "CT chest, nodule": (0.63, 0),
    "CT chest, follow-up": (0.63, 0),
    "PET/CT chest, glucose": (0.63, 1),
    "MR head, three weightings": (0.61, 2),
    "CT perfusion, head": (0.42, 0),
}


def picture(study: ArchivedStudy, folder: Path) -> Image.Image | None:
    """Return a picture of a study, or None if it has none."""
    paths = [instance.path for _, instance in study.instances() if instance.path]
    read = s4s.read(paths)
    part, which = CHOICES.get(study.description, (0.5, 0))
    series = [series for series in read.series if series.frames]
    if not series:
        return None
    frames = series[min(which, len(series) - 1)].frames
    return Image.open(frames[int(part * (len(frames) - 1))].save_png(folder / "frame.png"))


def tile(study: ArchivedStudy, image: Image.Image | None) -> Image.Image:
    """Return a labelled tile."""
    result = Image.new("RGB", (TILE, TILE + LABEL), "black")
    if image is not None:
        small = image.convert("RGB")
        small.thumbnail((TILE - 4, TILE - 4))
        result.paste(small, ((TILE - small.width) // 2, (TILE - small.height) // 2))
    draw = ImageDraw.Draw(result)
    words = study.description if len(study.description) < 26 else study.description[:24] + "…"
    draw.text((3, TILE), f"{study.started[:10]} {'/'.join(study.modalities)}\n{words}", "white")
    return result


def main() -> None:
    archive = SampleArchive(person.id for person in PEOPLE)
    tiles = []
    with tempfile.TemporaryDirectory() as folder:
        for person in PEOPLE:
            for study in archive.studies():
                if study.patient_id == person.id and study.available:
                    prepared = archive.prepare(study.uid)
                    tiles.append(tile(study, picture(prepared, Path(folder))))
    archive.close()
    rows = -(-len(tiles) // ACROSS)
    sheet = Image.new("RGB", (ACROSS * TILE, rows * (TILE + LABEL)), "black")
    for number, part in enumerate(tiles):
        sheet.paste(part, (number % ACROSS * TILE, number // ACROSS * (TILE + LABEL)))
    sheet.quantize(96, dither=Image.Dither.NONE).save(SHEET, optimize=True)
    print(f"{SHEET}: {len(tiles)} studies, {SHEET.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main()
