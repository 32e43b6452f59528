"""What a UE measures of its own steps, and with which errors."""

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from pydantic import Field

from raymark.config import Strict


class Odometry(Strict):
    """Every UE measures its steps: their length and direction, as a phone or a robot does."""

    noise_std_m: float = Field(
        default=0.1, ge=0, description="Deviation of each step along both axes, each by itself [m]"
    )
    heading_std_deg: float = Field(
        default=5.0,
        ge=0,
        le=180,
        description="Deviation of a compass, which is wrong by the same angle all along a track "
        "[deg]",
    )

    def measured(
        self,
        position_m: Float[np.ndarray, "link 2"],
        track: Int[np.ndarray, "link"],
        tracks: pd.DataFrame,
        rng: np.random.Generator,
    ) -> Float[np.ndarray, "link 2"]:
        """Return the measured step to each link from the one before it in its window [m].

        Args:
            position_m: True positions in the frame of each link's site [m].
            track: Number of each link's track, from 0.
            tracks: `window` and `window_step` of each link, as a split has them; a link that is the
                first of its window, or in none, has no step.
            rng: Of this scene alone; draws hang on neither the split nor the band.
        """
        noise_m = rng.normal(0, self.noise_std_m, position_m.shape)
        turn_rad = np.radians(self.heading_std_deg) * rng.standard_normal(track.max(initial=-1) + 1)
        window, step = tracks["window"].to_numpy(), tracks["window_step"].to_numpy()
        order = np.lexsort((step, window))
        moved_m = np.zeros_like(position_m)
        moved_m[order[1:]] = np.diff(position_m[order], axis=0)
        goes_on = np.zeros(len(order), dtype=bool)
        goes_on[order[1:]] = (np.diff(window[order]) == 0) & (window[order[1:]] >= 0)
        cosine, sine = np.cos(turn_rad[track]), np.sin(turn_rad[track])
        x_m, y_m = moved_m.T
        turned_m = np.stack([cosine * x_m - sine * y_m, sine * x_m + cosine * y_m], axis=1)
        return np.where(goes_on[:, None], turned_m + noise_m, 0.0)
