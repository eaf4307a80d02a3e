"""`speed.json` in words: the table of lengths and rates, and from which length compressing pays."""

from __future__ import annotations

from collections.abc import Sequence

from rlcompress.measuring.payoff import Row

_MEASURES = {"first_token": "first token", "total": "total"}
_MIB = 2**20


def speed_table(document: Row) -> str:
    """What the command prints: settings, a row for each length and rate, break-even points, what the figures mean."""
    settings, reader = document["settings"], document["reader"]
    told = "random weights, right for timing alone" if reader["weights"].startswith("random") else reader["weights"]
    head = (
        f"reader {reader['name']} ({told}; {reader['parameters'] / 1e6:.1f} M parameters, {reader['precision']}) on "
        f"{document['device']}, {document['threads']} threads; {settings['new_tokens']} new tokens; one prompt at a "
        f"time; medians of {settings['repeats']} rounds"
    )
    notes = [
        "first token: original prefill / (compress + prefill). total ×: the same to the last new token. Above 1 "
        "compressing pays; brackets: 95 % bootstrap intervals over rounds. Seconds.",
        f"Memory: {document['memory']}; weights of reader {_mib(reader['weight_bytes'])} MiB and compressor "
        f"{_mib(document['compressor']['weight_bytes'])} MiB come on top.",
        "Break-even points are interpolated between measured lengths, never beyond them.",
    ]
    if settings["price_per_million"] is not None:
        notes.append(
            f"Saved: input tokens alone, at {settings['price_per_million']:g} a million, for a thousand prompts."
        )
    return "\n\n".join([head, _aligned(_figures(document)), _aligned(_break_even(document)), "\n".join(notes)])


def _figures(document: Row) -> list[list[str]]:
    priced = document["settings"]["price_per_million"] is not None
    lines = [["length", "rate", "tokens", "compress", "prefill", "total", "first token ×", "total ×", "memory MiB"]]
    lines[0] += ["saved"] if priced else []
    for row in document["results"]:
        memory = "cache_bytes" if row["peak_bytes"] is None else "peak_bytes"
        line = [
            f"{row['length']}",
            f"{row['rate']:g}",
            f"{row['tokens_original']:.0f} → {row['tokens']:.0f}",
            f"{row['compress_s']:.3f}",
            *(f"{row[f'{key}_original']:.3f} → {row[key]:.3f}" for key in ("prefill_s", "total_s")),
            *(_interval(row[measure], "ratio", ".2f") for measure in _MEASURES),
            f"{_mib(row[f'{memory}_original'])} → {_mib(row[memory])}",
        ]
        lines.append([*line, f"{row['saved_per_thousand_prompts']:.4g}"] if priced else line)
    return lines


def _break_even(document: Row) -> list[list[str]]:
    lengths = [row["length"] for row in document["results"]]
    lines = [["rate", "time to", "compressing pays from"]]
    for row in document["break_even"]:
        lines.append([f"{row['rate']:g}", _MEASURES[row["measure"]], pays_from(row, min(lengths), max(lengths))])
    return lines


def pays_from(row: Row, shortest: int, longest: int) -> str:
    """A break-even point in words that claim nothing beyond the measured lengths."""
    if row["pays"] == "nowhere":
        return f"not within the measured lengths (up to {longest} tokens)"
    if row["pays"] == "everywhere":
        return f"every measured length ({shortest} tokens and more)"
    low, high = row["between"]
    return f"about {_interval(row, 'tokens', '.0f')} tokens (measured at {low} and {high})"


def _interval(row: Row, key: str, pattern: str) -> str:
    middle = format(row[key], pattern)
    if row["ci_low"] is None:  # a single round, or nothing that pays
        return middle
    high = "beyond" if row["ci_high"] is None else format(row["ci_high"], pattern)
    return f"{middle} [{row['ci_low']:{pattern}}, {high}]"


def _mib(size: float) -> str:
    return f"{size / _MIB:.3g}"


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[c]) for line in lines) for c in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)
