"""An SVG of recall against queries a second, a line an engine; queries a second by their logarithm."""
import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 900, 480, 64, 40, 610, 430
COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf", "#444444")
OURS = ("#d62728", "#8b0000", "#ff6b6b", "#b22222")


def plot(path, title, lines, first=0.7):
    """Draws `lines`, a dictionary from a name to pairs of recall and queries a second; those of the engine stand out."""
    shown = {name: sorted(p for p in points if p[0] >= first) for name, points in lines.items()}
    shown = {name: points for name, points in shown.items() if points}
    speeds = [speed for points in shown.values() for _, speed in points]
    low, high = math.floor(math.log10(min(speeds))), math.log10(max(speeds)) + 0.05
    x = lambda recall: LEFT + (recall - first) / (1 - first) * (RIGHT - LEFT)
    y = lambda speed: BOTTOM - (math.log10(speed) - low) / (high - low) * (BOTTOM - TOP)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="14">{escape(title)}</text>',
    ]
    for step in range(round((1 - first) / 0.05) + 1):
        recall = first + 0.05 * step
        out.append(f'<path d="M{x(recall):.1f} {TOP}V{BOTTOM}" stroke="#e4e4e4"/>')
        out.append(f'<text x="{x(recall):.1f}" y="{BOTTOM + 18}" text-anchor="middle">{recall:.2f}</text>')
    for power in range(low, math.ceil(high)):
        for digit in (1, 2, 5):
            speed = digit * 10**power
            if math.log10(speed) > high:
                continue
            out.append(f'<path d="M{LEFT} {y(speed):.1f}H{RIGHT}" stroke="#e4e4e4"/>')
            out.append(f'<text x="{LEFT - 6}" y="{y(speed) + 4:.1f}" text-anchor="end">{speed:,}</text>')
    others, ours = iter(COLOURS * 2), iter(OURS * 2)
    for at, (name, points) in enumerate(shown.items()):
        mine = name.startswith("Latewood")
        colour, width = (next(ours), 2.5) if mine else (next(others), 1.2)
        place = " ".join(f"{x(recall):.1f},{y(speed):.1f}" for recall, speed in points)
        out.append(f'<polyline points="{place}" fill="none" stroke="{colour}" stroke-width="{width}"/>')
        out += [f'<circle cx="{x(r):.1f}" cy="{y(s):.1f}" r="2.5" fill="{colour}"/>' for r, s in points]
        row = TOP + 8 + 18 * at
        out.append(f'<path d="M{RIGHT + 14} {row}H{RIGHT + 34}" stroke="{colour}" stroke-width="{width}"/>')
        out.append(f'<text x="{RIGHT + 40}" y="{row + 4}">{escape(name)}</text>')
    middle = (LEFT + RIGHT) / 2
    out.append(f'<text x="{middle}" y="{HEIGHT - 12}" text-anchor="middle">recall; upwards: queries a second, one thread</text>')
    out.append("</svg>")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(out) + "\n")
