"""A run as a picture: per case one bar for each contestant, its median, and a line from its least to its most. Plain
SVG."""
from html import escape

from . import report, stats

WIDE, LEFT, BAR, GAP, TOP = 620, 190, 22, 46, 34
COLOURS = {"ours": "#1b6ca8", "peer": "#7f8c8d", "reference": "#d68910"}


def panel(job, case, top):
    """Lines of SVG of one case, and its height."""
    first = job["figures"][0]
    found = [(c, stats.summary(report.values(case, c["name"], first["name"]))) for c in case["contestants"]]
    most = max([s["max"] for _, s in found if s], default=0) or 1
    lines = [f'<text x="8" y="{top + 14}" font-weight="bold">{escape(job["job"])}: {escape(case["case"])}; '
             f'{escape(first["text"])}, {escape(first["unit"])}</text>']
    y = top + TOP - 10
    for contestant, summary in found:
        lines.append(f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(contestant["name"])}</text>')
        if summary is None:
            lines.append(f'<text x="{LEFT}" y="{y + 15}">no figure</text>')
        else:
            low, middle, high = (LEFT + summary[k] / most * WIDE for k in ("min", "median", "max"))
            lines.append(f'<rect x="{LEFT}" y="{y}" width="{middle - LEFT:.1f}" height="{BAR - 6}" '
                         f'fill="{COLOURS[contestant["kind"]]}"/>')
            lines.append(f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y + 8}" y2="{y + 8}" stroke="#000"/>')
            lines.append(f'<text x="{high + 6:.1f}" y="{y + 14}">{report.number(summary["median"])}</text>')
        y += BAR
    return lines, y - top + GAP - TOP


def draw(document):
    """The SVG text of all cases of a JSON document."""
    body, top = [], 8
    for job in document["jobs"]:
        for case in job["cases"]:
            lines, height = panel(job, case, top)
            body += lines
            top += height
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDE + 110}" height="{top}" '
            'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>\n'
            + "\n".join(body) + "\n</svg>\n")
