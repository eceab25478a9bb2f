import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from nemo_rl.script import main

if __name__ == "__main__":
    main("rm", Path(__file__).with_name("configs") / "rm.yaml")
