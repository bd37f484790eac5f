#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Draw loss_curve.tsv as an SVG file, training and validation loss over tokens.

    plot_loss.py loss_curve.tsv loss_curve.svg
"""
import csv
import sys

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 360, 52, 16, 16, 44
SERIES = (("train", "#d98c3f", "training (running mean)"), ("val", "#2b6cb0", "validation"))
HIGHEST = 5.0                                        # what lies above is cut off


def main():
    source, target = sys.argv[1:]
    with open(source, encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    tokens = [int(row["tokens"]) / 1e6 for row in rows]
    values = [float(row[name]) for row in rows for name, *_ in SERIES]
    lowest, right = int(min(values) * 2) / 2, max(tokens)

    def x(millions):
        return LEFT + (WIDTH - LEFT - RIGHT) * millions / right

    def y(loss):
        return TOP + (HEIGHT - TOP - BOTTOM) * (HIGHEST - loss) / (HIGHEST - lowest)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
           'font-family="sans-serif" font-size="12" fill="#333">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
    loss = HIGHEST
    while loss >= lowest:
        out.append(f'<path d="M{LEFT} {y(loss):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
                   f'<text x="{LEFT - 8}" y="{y(loss) + 4:.1f}" text-anchor="end">'
                   f'{loss:.1f}</text>')
        loss -= 0.5
    for millions in range(0, int(right) + 1, max(1, round(right / 8))):
        out.append(f'<text x="{x(millions):.1f}" y="{HEIGHT - BOTTOM + 18}" '
                   f'text-anchor="middle">{millions} M</text>')
    out.append(f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 8}" text-anchor="middle">'
               'training tokens; loss in nats per token</text>')
    for i, (name, colour, label) in enumerate(SERIES):
        points = " ".join(f"{x(t):.1f},{y(float(row[name])):.1f}" for t, row in zip(tokens, rows)
                          if float(row[name]) <= HIGHEST)
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
                   f'<text x="{WIDTH - RIGHT - 8}" y="{TOP + 20 + 18 * i}" text-anchor="end" '
                   f'fill="{colour}">{label}</text>')
    with open(target, "w", encoding="utf-8") as file:
        file.write("\n".join(out) + "\n</svg>\n")


if __name__ == "__main__":
    main()
