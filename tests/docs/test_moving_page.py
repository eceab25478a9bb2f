"""The page about other tools: each of its blocks is done as it stands, and its imports print what it shows."""

import sys

import pytest
from test_pages import DOCS, Reader, blocks

pytest.importorskip("hydra")

PAGE = DOCS / "moving.md"


class Mover(Reader):
    """Files of other tools are written, and are no studies."""

    def yaml(self, block):
        (self.folder / block.file).write_text(block.text)

    def python(self, block):
        (self.folder / "script.py").write_text(block.text)
        self.run([sys.executable, "script.py"], block)


@pytest.mark.slow
def test_every_block_on_the_page_works(tmp_path):
    mover = Mover(tmp_path)
    for block in blocks(PAGE):
        mover.follow(block)


def test_the_page_names_every_distribution_of_a_sweep():
    from rltune.importing import wandb_space

    text = PAGE.read_text(encoding="utf-8")
    named = [*wandb_space._RANGES, "normal", "log_normal", "beta", "categorical", "constant"]
    assert [name for name in named if f"`{name}`" not in text] == []
