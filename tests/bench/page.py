"""The page that tests/bench/run makes of its results: a text, and a drawing by gnuplot. Both have ratios to the best
of a row. Must never show more than was measured: a cell without a measurement is "-"."""

import subprocess
import textwrap

import benchlib

WIDTH = 80
LABEL = 24  # columns of a row's title in the table
CELL = 7


class Result:
    """What a row has measured: figures is {column: [figure of each round]}."""

    def __init__(self, name, row, figures):
        self.name, self.row, self.figures = name, row, figures
        # In no pair with another program does the best one lose by much; where one beats all others, it is that.
        self.best = min(figures, key=lambda column: max(self.against(column, other) for other in figures))

    def ratios(self, column, other):
        """How many times as long as the other this one takes, in each round."""
        pairs = zip(self.figures[column], self.figures[other])
        return [a / b if self.row.less else b / a for a, b in pairs]

    def against(self, column, other):
        return benchlib.median(self.ratios(column, other))

    def ratio(self, column):
        """To the best of the row: the median, and the quartiles."""
        return benchlib.spread(self.ratios(column, self.best))

    def figure(self, column):
        return benchlib.median(self.figures[column])

    def verdicts(self):
        """A line for each bar of the row whose columns were measured."""
        lines = []
        for bar in self.row.bars:
            if bar.column in self.figures and bar.other in self.figures:
                ratio = self.against(bar.column, bar.other)
                what = f"{self.name}: {bar.column} takes at most {bar.most} times as long as {bar.other}"
                lines.append(benchlib.verdict_line(what, f"{ratio:.3f}", ratio <= bar.most))
        return lines


def three_digits(number):
    """As many decimals as make three digits: 1.23, 12.3, 123, 12,345."""
    return f"{number:,.{2 if number < 9.995 else 1 if number < 99.95 else 0}f}"


def paragraph(text, indent=""):
    return textwrap.fill(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False) + "\n"


# ---- the text ----


def shown(results, columns):
    """The columns that a row has a figure of."""
    return [column for column in columns if any(column in result.figures for result in results)]


def table(results, columns):
    """Ratios: a line for each row."""
    lines = ["".join(f"{columns[c].heading[line]:>{CELL}}" for c in shown(results, columns)) for line in (0, 1)]
    lines = [" " * LABEL + line for line in lines]
    for result in results:
        cells = (three_digits(result.ratio(c)[0]) if c in result.figures else "-" for c in shown(results, columns))
        lines.append(f"{result.row.title:{LABEL}}" + "".join(f"{cell:>{CELL}}" for cell in cells))
    return "\n".join(lines) + "\n"


def legend(results, columns):
    return "".join(f"    {column:20}{columns[column].what}\n" for column in shown(results, columns))


def details(result, columns):
    """All figures of a row: the median, its ratio, and the quartiles of that."""
    rounds = len(next(iter(result.figures.values())))
    text = f"{result.row.title}: {result.row.unit}, {rounds} rounds ({result.name})\n"
    text += paragraph(result.row.what, "  ")
    for column in shown([result], columns):
        middle, low, high = map(three_digits, result.ratio(column))
        figure = three_digits(result.figure(column))
        text += f"    {column:24}{figure:>12}{middle:>10}   {low} to {high}\n"
    return text


def text_page(results, columns, facts, about_starts, scale):
    """The whole page, as it is printed and written."""
    parts = [
        "Benchmarks\n==========\n",
        paragraph(
            "mb-handle beside other programs, all from Debian's packages. Each row of the table compares programs that"
            " do the same on the same machine: 1.00 is the best of the row, and 2.00 takes twice as long as that, or"
            " does half as much in the same time. \"-\" is a program that cannot do this, or that has another column"
            " for it. Figures of different rows cannot be compared. benchmarks.svg is a drawing of the table."
        ),
        table(results, columns),
        legend(results, columns),
        "On what it ran\n--------------\n",
        "".join(f"    {what:20}{value}\n" for what, value in facts),
        *([paragraph(about_starts)] if about_starts else []),
        "How to read it\n--------------\n",
        paragraph(
            f"Clients and servers share the processors. In each of {scale.rounds} rounds all programs of a row come by"
            " turns, in the opposite order in each second round: what makes the machine slow for a while makes all of"
            " them slow. A ratio is the median of the ratios of all rounds, so it may differ a little from the ratio"
            " of the figures, which are medians too. The last two numbers of a line are the quartiles of its ratio:"
            " half of the rounds were between them. When these of two programs overlap, the row does not tell"
            " which of the two is faster."
        ),
        "How to repeat it\n----------------\n",
        "    MB_HANDLE=PROGRAM tests/bench/run\n",
        paragraph(
            "in the source tree, as root, on a machine that does nothing else, after the build. With --quick it takes"
            " less than three minutes, and its figures are rough. With names of rows (they stand in brackets below) it"
            " measures these only. It says which packages are missing."
        ),
        "All figures\n-----------\n",
        *(details(result, columns) for result in results),
    ]
    verdicts = [line for result in results for line in result.verdicts()]
    if verdicts:
        parts += ["What is required\n----------------\n", "".join(f"    {line}\n" for line in verdicts)]
    return "\n".join(parts)


# ---- the drawing ----

ROW_PIXELS = 46
AXIS_PIXELS = 60
TICKS = (1, 1.5, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
PAPER, GRID = "#ffffff", "#dddddd"
GNUPLOT = """
set terminal svg size 480,{height} dynamic font "sans-serif,13" background "{paper}"
set output
set encoding utf8
set lmargin at screen 0.36
set rmargin at screen 0.96
set tmargin at screen {top}
set bmargin at screen {bottom}
set key at screen 0.06,0.985 left top maxrows {key_rows} reverse Left samplen 1 spacing 1.1
set logscale x
set xrange [0.93:{most}]
set yrange [{last}-0.5:0.5]
set xlabel "times as long as the best of the row (logarithmic)"
set xtics ({xtics}) scale 0
set ytics ({ytics}) scale 0
set grid xtics linetype 1 linecolor rgb "{grid}"
set border 0
{lines}
plot {plots}
"""


def points(results, present, column):
    """A line for each row that has this column: the ratio, the height, and the quartiles."""
    lines = ""
    for number, result in enumerate(results):
        if column in result.figures:
            middle, low, high = (max(value, 1.0) for value in result.ratio(column))
            # The marks of a row stand below each other, so that none hides another.
            order = [c for c in present if c in result.figures]
            y = -number + 0.4 - 0.8 * (order.index(column) + 0.5) / len(order)
            lines += f"{middle:.4f} {y:.4f} {low:.4f} {high:.4f}\n"
    return lines


def gnuplot_script(results, columns):
    present = shown(results, columns)
    key_rows = (len(present) + 1) // 2
    key_pixels = 20 * key_rows + 24
    height = key_pixels + ROW_PIXELS * len(results) + AXIS_PIXELS
    most = max(result.ratio(column)[2] for result in results for column in result.figures)
    plots = [
        f"$P{number} using 1:2:3:4 with xerrorbars pointtype {columns[column].symbol} pointsize 0.6 linewidth 1.2"
        f' linecolor rgb "{columns[column].colour}" title "{column}"'
        for number, column in enumerate(present)
    ]
    blocks = (f"$P{number} << END\n{points(results, present, c)}END\n" for number, c in enumerate(present))
    return "".join(blocks) + GNUPLOT.format(
        height=height,
        paper=PAPER,
        grid=GRID,
        top=1 - key_pixels / height,
        bottom=AXIS_PIXELS / height,
        key_rows=key_rows,
        most=max(most * 1.15, 1.6),
        last=1 - len(results),
        xtics=", ".join(f'"{tick:g}" {tick}' for tick in TICKS if tick <= most * 1.1 and (tick != 1.5 or most < 20)),
        ytics=", ".join(f'"{result.row.title}" {-number}' for number, result in enumerate(results)),
        lines="\n".join(
            f"set arrow from graph 0, first {-number - 0.5} to graph 1, first {-number - 0.5} nohead"
            f' linecolor rgb "{GRID}"' for number in range(len(results))
        ),
        plots=", ".join(plots),
    )


def in_the_dark(svg):
    """Adds other colours for those who like it dark; gnuplot knows one set."""
    light = "rgb(221, 221, 221)"  # GRID, as gnuplot writes it
    style = (
        "<style>@media (prefers-color-scheme: dark) {"
        f' rect[fill="{PAPER}"] {{ fill: #111111 }} path[stroke="{light}"] {{ stroke: #444444 }}'
        ' g[color="black"] { color: #eeeeee } g[fill="black"] { fill: #eeeeee } }</style>'
    )
    for part in ("<title>Gnuplot</title>", f'fill="{PAPER}"', f"stroke='{light}'", 'color="black"', 'fill="black"'):
        if part not in svg:
            raise RuntimeError(f"gnuplot has not written {part}")
    return svg.replace("<title>Gnuplot</title>", f"<title>Benchmarks of mb-handle</title>\n{style}")


def drawing(results, columns):
    """The text of the SVG file."""
    done = subprocess.run(
        [benchlib.find("gnuplot")], input=gnuplot_script(results, columns).encode(), capture_output=True, check=False
    )
    if done.returncode or not done.stdout.rstrip().endswith(b"</svg>"):
        raise RuntimeError(f"gnuplot cannot draw: {done.stderr.decode().strip()}")
    return in_the_dark(done.stdout.decode())
