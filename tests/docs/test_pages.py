"""Every block on the pages runs as it stands, in the order of its page.

A block whose first line is `# name.py` or `# name.yaml` is that file. Other Python is a script. Every YAML block but
`# config.yaml` is a study, or keys that replace those of the study before it on the page, and is checked. In a
`console` block each `$ rltune ...` is run, and the lines below it are among what it prints. `exit=2` beside the
language says how that ends, where it is not well.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from ruamel.yaml import YAML

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [
    DOCS / "index.md",
    DOCS / "study_file.md",
    DOCS / "cli.md",
    DOCS / "trackers.md",
    DOCS / "notebook.md",
    *sorted((DOCS / "guide").glob("*.md")),
]
SECONDS = 120  # for one command


class Block(NamedTuple):
    language: str
    info: str
    text: str

    @property
    def file(self):
        """The file that it is, where its first line says so."""
        named = re.match(r"# (\S+\.(?:py|yaml))\n", self.text)
        return named and named[1]

    @property
    def status(self):
        return int(self.info.removeprefix("exit=") or 0)


def blocks(page):
    found = re.findall(r"^```(\w*) ?(.*?)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [Block(*each) for each in found]


class Reader:
    """Does what a page says, in a folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.study = {}
        train = next(b for b in blocks(DOCS / "guide" / "index.md") if b.file == "train.py")
        (folder / "train.py").write_text(train.text)

    def follow(self, block):
        if block.language != "text":
            getattr(self, block.language)(block)

    def python(self, block):
        file = self.folder / (block.file or "script.py")
        file.write_text(block.text)
        if block.file is None:
            self.run([sys.executable, file.name], block)

    def yaml(self, block):
        file = self.folder / (block.file or "study.yaml")
        given = YAML(typ="safe", pure=True).load(block.text)
        if block.file is None:
            self.study |= given
            with file.open("w") as stream:
                YAML().dump(self.study, stream)
            self.check(file, block)
        else:
            file.write_text(block.text)
            if file.name != "config.yaml":
                self.study = given
                self.check(file, block)

    def check(self, file, block):
        trainer = [] if "trainer" in self.study else ["--trainer", "train:train"]
        self.run([sys.executable, "-m", "rltune", "check", file.name, *trainer], block)

    def console(self, block):
        for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block.text, re.MULTILINE):
            program, *words = shlex.split(command, comments=True)
            assert program == "rltune", f"only rltune is run here: {command}"
            printed = self.run([sys.executable, "-m", "rltune", *words], block).splitlines()
            for line in shown.splitlines():
                assert line == "..." or line in printed, f"{command} does not print {line!r} but\n" + "\n".join(printed)

    def run(self, words, block):
        done = subprocess.run(words, cwd=self.folder, capture_output=True, text=True, timeout=SECONDS, check=False)
        assert done.returncode == block.status, (
            f"{block.text}\n{shlex.join(map(str, words))}\n{done.stdout}{done.stderr}"
        )
        return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).with_suffix("").as_posix())
def test_every_block_on_the_page_works(page, tmp_path):
    reader = Reader(tmp_path)
    for block in blocks(page):
        reader.follow(block)


def test_every_block_can_be_followed():
    given = {(block.language, block.info) for page in PAGES for block in blocks(page)}
    assert given <= {(language, "") for language in ("python", "yaml", "console", "text")} | {("yaml", "exit=2")}
