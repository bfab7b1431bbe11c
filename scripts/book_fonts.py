#!/usr/bin/env python3
"""Puts KaTeX's style and the fonts that the book uses into docs/.

    npm pack katex@0.16.4 && tar xzf katex-0.16.4.tgz
    python scripts/book_fonts.py package

The version is the one that mdbook-katex 0.10.0 renders with.
"""

import re
import shutil
import sys
from pathlib import Path

FONTS = [
    "AMS-Regular", "Caligraphic-Regular", "Main-Bold", "Main-Italic", "Main-Regular", "Math-Italic",
    "Size1-Regular", "Size2-Regular", "Size3-Regular", "Size4-Regular",
]


def main() -> None:
    package, docs = Path(sys.argv[1]), Path(__file__).parent.parent / "docs"
    fonts = docs / "katex"
    fonts.mkdir(exist_ok=True)
    for font in FONTS:
        shutil.copy(package / "dist/fonts" / f"KaTeX_{font}.woff2", fonts)
    shutil.copy(package / "LICENSE", fonts / "LICENSE.txt")

    css = (package / "dist/katex.min.css").read_text()
    faces = re.findall(r"@font-face\{[^}]*\}", css)
    css = re.sub(r"@font-face\{[^}]*\}", "", css)
    # Only woff2, and only what was copied: the book asks for no file that it has not.
    for face in faces:
        url = re.search(r"url\(fonts/(KaTeX_[A-Za-z0-9-]+)\.woff2\)", face)[1]
        if url.removeprefix("KaTeX_") in FONTS:
            source = f'src:url("katex/{url}.woff2") format("woff2")'
            css = re.sub(r"src:[^}]*", source, face) + "\n" + css
    (docs / "katex.css").write_text("/* KaTeX 0.16.4, MIT, see katex/LICENSE.txt; made by scripts/book_fonts.py */\n" + css)


if __name__ == "__main__":
    main()
