"""The report's style sheet: light and dark, wide and narrow, print. Knows only class names.

Colours: arms (blue, orange) and orders (teal, magenta) are from two pairs that stay apart in the common forms of
colour blindness; nothing is told by colour alone (direct labels, open and filled dots). Text has at least 4.5:1
contrast on its ground, lines 3:1.
"""

STYLE = """
:root {
  color-scheme: light dark;
  --ground: #fcfcfa; --card: #ffffff; --ink: #1d1f23; --soft: #5a5f69; --rule: #dedfdc; --grid: #e8e9e6;
  --arm-0: #1c5fae; --arm-1: #b3520a; --arm-2: #4f7a1f; --arm-3: #6b4aa8;
  --act: #00786a; --think: #b0306f; --neutral: #5f656f;
  --good: #1d6f42; --good-ground: #e6f2ea; --bad: #a02828; --bad-ground: #f8e9e7; --note-ground: #f3f3ef;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #15171a; --card: #1b1e22; --ink: #e6e6e3; --soft: #a3a8b1; --rule: #34383f; --grid: #292d33;
    --arm-0: #74aaf0; --arm-1: #ee9a4d; --arm-2: #9cc46a; --arm-3: #b79cf0;
    --act: #3fc0ac; --think: #f07fb4; --neutral: #a3a8b1;
    --good: #7fcf9f; --good-ground: #1b3226; --bad: #f09a92; --bad-ground: #3a2220; --note-ground: #202329;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif;
}
main, header.top, footer { max-width: 48rem; margin: 0 auto; padding: 0 1rem; }
header.top { padding-top: 3rem; }
.kicker { color: var(--soft); font-size: .85rem; letter-spacing: .02em; margin: 0; }
h1 { font-size: clamp(1.6rem, 5vw, 2.15rem); line-height: 1.2; letter-spacing: -.015em; margin: .3rem 0 .8rem; text-wrap: balance; }
h2 { font-size: 1.3rem; line-height: 1.3; letter-spacing: -.01em; margin: 3.2rem 0 .6rem; padding-top: 1.4rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 2rem 0 .3rem; }
p { margin: .6rem 0; }
.lead li { margin: .5rem 0; }
.lead ul, ul.plain { padding-left: 1.1rem; margin: .5rem 0; }
.soft, figcaption, .hint { color: var(--soft); font-size: .9rem; }
a { color: inherit; text-underline-offset: .15em; }
nav { margin: 1.2rem 0 0; font-size: .9rem; color: var(--soft); }
nav a { margin-right: 1.1rem; white-space: nowrap; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: .8rem; margin: 1.6rem 0; }
.tile { background: var(--card); border: 1px solid var(--rule); border-radius: .6rem; padding: .85rem 1rem; }
.tile dt { color: var(--soft); font-size: .85rem; line-height: 1.35; }
.tile dd { margin: .35rem 0 0; }
.tile .big { font-size: 1.45rem; font-weight: 600; letter-spacing: -.01em; font-variant-numeric: tabular-nums; white-space: nowrap; }
.tile .sub { color: var(--soft); font-size: .85rem; line-height: 1.4; }
.caution { background: var(--note-ground); border-radius: .6rem; padding: .8rem 1rem; margin: 1.4rem 0; font-size: .95rem; }
.caution p { margin: .25rem 0; }
figure { margin: 1.4rem 0 .4rem; }
figcaption { margin-top: .4rem; max-width: 44rem; }
.chart svg { display: block; max-width: 100%; height: auto; overflow: visible; }
.chart .narrow { display: none; }
@media (max-width: 800px) { .chart .wide { display: none; } .chart .narrow { display: block; } }
.pair { display: grid; grid-template-columns: 1fr; gap: 1.2rem; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; list-style: none; padding: 0; margin: .2rem 0 .5rem; font-size: .85rem; color: var(--soft); }
.legend svg { vertical-align: -2px; margin-right: .4rem; }
svg text { font: 12px system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif; fill: var(--ink); }
svg .tick, svg .axis-name, svg .mark-label { fill: var(--soft); }
svg .tick, svg .value { font-variant-numeric: tabular-nums; }
svg .end { text-anchor: end; } svg .middle { text-anchor: middle; }
svg .grid { stroke: var(--grid); stroke-width: 1; } svg .axis { stroke: var(--rule); stroke-width: 1; }
svg .zero { stroke: var(--soft); stroke-width: 1.2; }
svg .mark { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 2 3; }
svg .row-heading { font-weight: 600; } svg .value { fill: var(--soft); }
svg .line { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
svg .edge { fill: none; stroke: currentColor; stroke-width: 1.2; stroke-linejoin: round; }
svg .faint .line { stroke-width: 1; opacity: .38; }
svg .band { fill: currentColor; opacity: .14; } svg .bracket { fill: currentColor; opacity: .2; }
svg .bar { fill: currentColor; opacity: .32; }
svg .dot { fill: currentColor; } svg .dot.open { fill: var(--ground); stroke: currentColor; stroke-width: 1.8; }
svg .whisker { stroke: currentColor; stroke-width: 1.6; stroke-linecap: round; }
svg .label { font-weight: 600; fill: currentColor; }
.arm-0 { color: var(--arm-0); } .arm-1 { color: var(--arm-1); } .arm-2 { color: var(--arm-2); } .arm-3 { color: var(--arm-3); }
.act { color: var(--act); } .think { color: var(--think); } .neutral { color: var(--neutral); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .87rem; line-height: 1.4; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding: .3rem 0; }
th, td { text-align: left; padding: .32rem .9rem .32rem 0; border-bottom: 1px solid var(--grid); vertical-align: top; }
th { font-weight: 600; } thead th { color: var(--soft); font-weight: 500; border-bottom-color: var(--rule); }
td.num, th.num { text-align: right; white-space: nowrap; }
td.num:last-child, th.num:last-child { padding-right: 0; }
details { margin: .5rem 0; } summary { cursor: pointer; color: var(--soft); font-size: .9rem; width: fit-content; }
summary:hover { color: var(--ink); }
:focus-visible { outline: 2px solid var(--arm-0); outline-offset: 3px; border-radius: 3px; }
code, pre, .action, .mono { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .86em; }
pre { background: var(--note-ground); border-radius: .5rem; padding: .7rem .9rem; overflow-x: auto; line-height: 1.5; }
.settings td { overflow-wrap: anywhere; }
.episodes { display: grid; gap: 1.2rem; }
@media (min-width: 64rem) {
  .episodes.two { grid-template-columns: 1fr 1fr; width: min(76rem, calc(100vw - 3rem)); margin-left: 50%; transform: translateX(-50%); }
}
.episode { border: 1px solid var(--rule); border-radius: .6rem; background: var(--card); overflow: hidden; align-self: start; }
.episode > header { padding: .8rem 1rem; border-bottom: 1px solid var(--rule); }
.episode > header p { margin: .15rem 0; }
.task { font-weight: 600; }
.steps { list-style: none; margin: 0; padding: 0; }
.step { padding: .65rem 1rem .65rem 3.1rem; border-bottom: 1px solid var(--grid); position: relative; }
.steps > :last-child { border-bottom: 0; }
.step .n { position: absolute; left: 1rem; top: .72rem; color: var(--soft); font-size: .8rem; font-variant-numeric: tabular-nums; }
.step p { margin: .1rem 0; overflow-wrap: anywhere; white-space: pre-line; }
.seen { color: var(--soft); font-size: .88rem; line-height: 1.45; }
.thought { font-style: italic; }
.action { font-weight: 600; font-size: .9rem; }
.action::before { content: "\\203A\\00a0"; color: var(--soft); font-weight: 400; }
.chip { display: inline-block; font-size: .76rem; line-height: 1.3; padding: .1rem .5rem; border-radius: 1rem; background: var(--note-ground); color: var(--soft); margin-right: .3rem; }
.chip.won { background: var(--good-ground); color: var(--good); } .chip.lost, .chip.flag { background: var(--bad-ground); color: var(--bad); }
footer { color: var(--soft); font-size: .85rem; padding-top: 2.5rem; padding-bottom: 3rem; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@media print { body { background: #fff; } .episode, figure { break-inside: avoid-page; } nav { display: none; } }
"""
