import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from nemo_rl.script import main

if __name__ == "__main__":
    main("grpo", Path(__file__).with_name("configs") / "grpo_math_1B.yaml")
