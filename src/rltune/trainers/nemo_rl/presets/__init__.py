"""Search spaces to begin with: what is worth tuning in a recipe of NeMo RL, and in which range.

Which knobs there are, and their ranges, follow the algorithm. Where a range lies follows the recipe: it is drawn around
the recipe's own value, which is its default too. How many knobs there are follows the budget: those that matter most
always, more from 30 trials on, and those of small or uncertain effect from 100 on. What is left out is listed, with
the reason.

Most ranges stand on a census of NeMo RL's own recipes (286 of them, August 2026) and on papers, named at each.
"""

from rltune.trainers.nemo_rl.presets.knobs import TIERS
from rltune.trainers.nemo_rl.presets.learning_rate import model_size
from rltune.trainers.nemo_rl.presets.parts import Frozen, Preset, Setting, Tuned
from rltune.trainers.nemo_rl.presets.study import preset, tuned_from

__all__ = ["TIERS", "Frozen", "Preset", "Setting", "Tuned", "model_size", "preset", "tuned_from"]
