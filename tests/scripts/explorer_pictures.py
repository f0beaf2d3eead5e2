"""The pictures of the explorer's page in docs/images: the strip, the lens and the numbers, without the row of maps.

python -m tests.scripts.explorer_pictures docs/images
"""

import io
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

import npresnet
from npresnet.data import example_image
from npresnet.explore import write_page

VIEWS = {  # the theme, and what is chosen
    "explore-light": ("light", "chooseStep(steps.findIndex((step) => step.name === 'layer1.1.conv1'))"),
    "explore-dark": (
        "dark",
        "update({ back: true }); chooseStep(steps.findIndex((step) => step.name === 'layer2.0.bn1'))",
    ),
}
SIZE, WIDTH = (1160, 900), 840
HIDDEN = "#maps { display: none } section { border: 0; padding: 12px 0 }"


def main(folder: str) -> None:
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        path = write_page(Path(scratch) / "page.html", npresnet.load_model(), example_image())
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, (theme, choose) in VIEWS.items():
            page = browser.new_page(viewport=dict(zip(("width", "height"), SIZE)), color_scheme=theme)
            page.goto(path.as_uri())
            page.add_style_tag(content=HIDDEN)
            page.evaluate(choose)
            top, bottom = (page.locator(place).bounding_box()["y"] for place in ("#network-title", "#depth-title"))
            clip = {"x": 0, "y": top - 16, "width": SIZE[0], "height": bottom - top + 8}
            image = Image.open(io.BytesIO(page.screenshot(full_page=True, clip=clip))).convert("RGB")
            image.thumbnail((WIDTH, 10 * WIDTH))
            image.save(Path(folder) / f"{name}.webp", quality=76, method=6)
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
