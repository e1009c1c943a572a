"""A language model of the codes of a residual codec, told what to play.

Shapes: codes are (batch, stage, frame) from 0 to ``n_codes`` - 1; conditions (batch, condition),
whole numbers from 0, which stands for "not said". A grid (:mod:`dl101.nn.code_patterns`) has
``n_codes`` where no code is told; a column of nothing else is where every sequence starts, so that
the start is none of the codec's codes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dl101.nn import sampling
from dl101.nn.code_patterns import from_grid, n_steps_of, steps_of, to_grid
from dl101.nn.decoder_transformer import Decoder, DecoderConfig, KeyValueCache
from dl101.nn.sampling import SamplingConfig


class CodeModel(nn.Module):
    """Predict each code from those of earlier steps and from the conditions.

    What a step tells enters as the sum of its codes' vectors, one table a stage; the same tables
    turned round give the logits (Press and Wolf, "Using the output embedding to improve language
    models", 2017). The vectors of the conditions are added at every step.

    Parameters
    ----------
    decoder
        Sizes of the Transformer.
    n_stages, n_codes
        Of the codec.
    pattern
        In which order codes are told, see :mod:`dl101.nn.code_patterns`.
    conditions
        How many values each condition has, without "not said".
    """

    def __init__(
        self,
        decoder: DecoderConfig,
        n_stages: int,
        n_codes: int,
        pattern: str,
        conditions: Sequence[int] = (),
    ) -> None:
        super().__init__()
        steps_of(pattern, n_stages, 1)  # an unknown pattern is refused here
        self.n_stages, self.n_codes, self.pattern = n_stages, n_codes, pattern
        tables = torch.randn(n_stages, n_codes + 1, decoder.width) * 0.05
        self.tables = nn.Parameter(tables)  # the last row of each: no code
        self.conditions = nn.ModuleList(nn.Embedding(n + 1, decoder.width) for n in conditions)
        for table in self.conditions:
            nn.init.normal_(table.weight, std=0.05)
        self.decoder = Decoder(decoder)

    def embed(self, grid: Tensor, conditions: Tensor) -> Tensor:
        """Return what enters the decoder, (batch, step, width), of a grid (batch, stage, step)."""
        x = sum(table[codes] for table, codes in zip(self.tables, grid.unbind(1), strict=True))
        for number, table in enumerate(self.conditions):
            x = x + table(conditions[:, number])[:, None]
        return x

    def forward(self, codes: Tensor, conditions: Tensor) -> Tensor:
        """Return the logits of every code, (batch, stage, frame, n_codes)."""
        grid = to_grid(codes, self.pattern, self.n_codes)
        start = torch.full_like(grid[:, :, :1], self.n_codes)
        shifted = torch.cat([start, grid[:, :, :-1]], dim=2)  # a step sees the ones before it only
        hidden = self.decoder(self.embed(shifted, conditions))
        steps = steps_of(self.pattern, *codes.shape[1:]).to(codes.device)
        at_codes = hidden[:, steps]  # (batch, stage, frame, width)
        return torch.einsum("bktw,knw->bktn", at_codes, self.tables[:, : self.n_codes])

    @torch.inference_mode()
    def generate(
        self,
        conditions: Tensor,
        n_frames: int,
        uniform: Tensor,
        config: SamplingConfig | None = None,
        *,
        guidance: float = 1.0,
        cached: bool = True,
    ) -> Tensor:
        """Return codes (batch, stage, frame), drawn step after step.

        Parameters
        ----------
        conditions
            (batch, condition).
        n_frames
            How many frames.
        uniform
            (batch, stage, frame) numbers in [0, 1), of which each draws its code.
        config
            Temperature, top-k, nucleus.
        guidance
            1 follows the conditions as learned. Above, logits are moved on from those of the model
            that is told nothing (J. Ho, T. Salimans, "Classifier-free diffusion guidance", 2022);
            this needs two passes.
        cached
            Keep keys and values. False computes the whole sequence anew at every step, as one
            would without thinking: the same codes, much later.
        """
        config = config or SamplingConfig()
        batch, device = len(conditions), conditions.device
        if guidance != 1.0:
            conditions = torch.cat([conditions, torch.zeros_like(conditions)])
        rows = len(conditions)
        steps = steps_of(self.pattern, self.n_stages, n_frames).to(device)
        n_steps = n_steps_of(self.pattern, self.n_stages, n_frames)
        grid = torch.full((rows, self.n_stages, n_steps + 1), self.n_codes, device=device)
        cache = KeyValueCache.empty(self.decoder.config, rows, n_steps, self.tables)
        for step in range(n_steps):
            begin = step if cached else 0
            x = self.embed(grid[:, :, begin : step + 1], conditions)
            hidden = self.decoder(x, cache if cached else None)[:, -1]
            for stage, frame in (steps == step).nonzero().tolist():
                logits = hidden @ self.tables[stage, : self.n_codes].T
                if guidance != 1.0:
                    told, untold = logits.split(batch)
                    logits = untold + guidance * (told - untold)
                code = sampling.draw(logits, config, uniform[:, stage, frame])
                grid[:, stage, step + 1] = code.repeat(rows // batch)
        return from_grid(grid[:batch, :, 1:], self.pattern, n_frames)
