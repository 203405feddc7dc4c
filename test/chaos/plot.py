"""soak.csv as a picture: memory, descriptors, and what waits, over time; a tick for each fault. Plain SVG."""
import csv

WIDE, HIGH, LEFT, GAP = 1000, 180, 70, 60
COLOURS = ("#1b6ca8", "#c0392b", "#27864a", "#8e44ad", "#d68910", "#117a65", "#7f8c8d", "#2c3e50")


def columns(path):
    with open(path, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


def panel(title, top, times, lines, marks):
    """One diagram: {name: values} over times, from 0 up."""
    span, most = max(times[-1], 1), max([1, *(v for values in lines.values() for v in values)]) * 1.05

    def point(t, v):
        return f"{LEFT + t / span * WIDE:.1f},{top + HIGH - v / most * HIGH:.1f}"
    yield f'<text x="{LEFT}" y="{top - 8}" font-weight="bold">{title}</text>'
    for part in range(5):
        y, value = top + HIGH - part / 4 * HIGH, most * part / 4
        yield f'<line x1="{LEFT}" x2="{LEFT + WIDE}" y1="{y}" y2="{y}" stroke="#ddd"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{value:.0f}</text>'
        yield (f'<text x="{LEFT + part / 4 * WIDE}" y="{top + HIGH + 26}" text-anchor="middle">'
               f'{span * part / 240:.1f} min</text>')
    for seconds, what in marks:
        x = LEFT + seconds / span * WIDE
        yield (f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top + HIGH}" y2="{top + HIGH + 8}" stroke="#c0392b">'
               f'<title>{what}</title></line>')
    for (name, values), colour in zip(lines.items(), COLOURS):
        path = " ".join(map(point, times, values))
        yield f'<polyline fill="none" stroke="{colour}" points="{path}"><title>{name}</title></polyline>'
    for i, (name, colour) in enumerate(zip(lines, COLOURS)):
        yield f'<text x="{LEFT + WIDE + 12}" y="{top + 12 + i * 18}" fill="{colour}">{name}</text>'


def draw(table, marks, path):
    """marks: [(seconds, text)] of the faults."""
    data = columns(table)
    times = data["seconds"]
    waits = {"not yet stored": [a - b for a, b in zip(data["due"], data["stored"])],
             "dead letters": data["dead_letters"]}
    panels = [(f"{title}, of each worker", {n.removesuffix(f" {what}"): v for n, v in data.items() if n.endswith(what)})
              for title, what in (("resident MiB", "MiB"), ("open file descriptors", "descriptors"))]
    panels.append(("events: published, written, indexed", {n: data[n] for n in ("stored", "written", "indexed")}))
    panels.append(("events that wait for the broker, and dead letters", waits))
    body = [line for i, (title, lines) in enumerate(panels)
            for line in panel(title, 40 + i * (HIGH + GAP), times, lines, marks)]
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDE + 210}" '
                    f'height="{40 + len(panels) * (HIGH + GAP)}" font-family="sans-serif" font-size="12">'
                    '<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(body) + "\n</svg>\n")
