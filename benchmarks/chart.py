"""The chart of the cold path: what runs before the first answer, ours and boto3's, in CPU."""

from __future__ import annotations

from typing import Any

ROWS = (
    ("first_next", "the sidecar until /next, TLS warm (beside the runtime's start)"),
    ("import", "import in the function's process"),
    ("first_read", "first session read (wall)"),
)
WIDTH, LEFT, BAR, GAP = 760, 20, 14, 58
SCALE_WIDTH = WIDTH - 2 * LEFT - 120


def cold_path(said: dict[str, Any]) -> str:
    """Draw it as SVG from the contents of results.json."""
    rows = {row["row"]: row for row in said["rows"]}
    drawn = [(rows[name], title) for name, title in ROWS if rows.get(name, {}).get("theirs")]
    longest = max((row["theirs"]["median"] for row, _ in drawn), default=1.0)
    height = 40 + GAP * len(drawn)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    for number, (row, title) in enumerate(drawn):
        top = 20 + GAP * number
        parts.append(f'<text x="{LEFT}" y="{top}" fill="#333">{title}</text>')
        for line, (side, name, colour) in enumerate(
            (("ours", "lambdallm", "#2563eb"), ("theirs", "boto3", "#9ca3af"))
        ):
            value = row[side]["median"]
            y = top + 6 + line * (BAR + 3)
            width = max(1.0, value / longest * SCALE_WIDTH)
            parts += [
                f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>',
                f'<text x="{LEFT + width + 6:.1f}" y="{y + 12}" fill="#333">'
                f"{name} {value:.3g} ms</text>",
            ]
    parts.append(
        f'<text x="{LEFT}" y="{height - 6}" fill="#666" font-size="11">CPython {said["python"]}, '
        f"{said['machine']}, {said['date']}; ./build.sh bench</text></svg>\n"
    )
    return "\n".join(parts)
