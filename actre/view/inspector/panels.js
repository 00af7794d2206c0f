// Draws one state's distributions, one episode's entropy and one step's words.

const ORDERS = { act_first: "acts first", think_first: "thinks first", after: "after this thought" };
const MARKS = { act_first: "act", think_first: "think", after: "after" };

// ---- the distribution over the admissible actions --------------------------------------------------------------------
// before: another record of the same state (recorded, to compare with), drawn as a tick on each bar.
function distribution(names, scores, { taken = null, before = null, act = null } = {}) {
  const columns = Object.keys(ORDERS).filter((key) => scores[key]);
  const most = names.map((_, i) => Math.max(...columns.map((key) => scores[key].p[i])));
  const places = names.map((_, i) => i).sort((a, b) => most[b] - most[a] || a - b);
  const likely = places.filter((i) => most[i] >= 0.0005 || names[i] === taken);
  const rare = places.filter((i) => !likely.includes(i));
  const row = (i) =>
    h(
      "tr",
      { class: names[i] === taken ? "taken" : null },
      h("th", { scope: "row" }, act ? button(names[i], () => act(names[i]), { class: "plain" }) : names[i], names[i] === taken && h("span", { class: "tag" }, "taken")),
      columns.map((key) => h("td", {}, bar(scores[key].p[i], MARKS[key], before?.[key]?.p[i]))),
    );
  const head = h(
    "thead",
    {},
    h("tr", {}, h("th", { scope: "col" }, "action"), columns.map((key) => h("th", { scope: "col", class: MARKS[key] }, ORDERS[key]))),
  );
  const other = h(
    "tr",
    { class: "other" },
    h("th", { scope: "row" }, "anything else", h("span", { class: "soft" }, " (leftover)")),
    columns.map((key) => h("td", {}, bar(scores[key].other, "left", before?.[key]?.other))),
  );
  const more = rare.length
    ? h("p", { class: "soft small" }, `${plural(rare.length, "more admissible action")} below 0.05%: ${rare.map((i) => names[i]).join(", ")}`)
    : null;
  return h("div", { class: "dist" }, facts(scores, columns, before), h("table", {}, head, h("tbody", {}, likely.map(row), other)), more, thoughts(names, scores));
}

function bar(p, kind, before) {
  const tick = known(before) ? s("line", { x1: before * 100, x2: before * 100, y1: 0, y2: 10, class: "before" }) : null;
  return h(
    "span",
    { class: "bar" },
    s("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" }, s("rect", { class: "track", width: 100, height: 10 }), s("rect", { class: kind, width: Math.max(p * 100, p > 0 ? 0.6 : 0), height: 10 }), tick),
    h("span", { class: "number" }, percent(p)),
  );
}

// Think-first's entropy from K thoughts: both ends, or the lower one alone.
function bracket(one) {
  return known(one.upper) ? `${nats(one.lower)} – ${nats(one.upper)}` : `≥ ${nats(one.lower)}`;
}

function facts(scores, columns, before) {
  const items = columns.map((key) => {
    const one = scores[key];
    const bracketed = known(one.lower);
    const moved = before?.[key] ? signed(one.entropy - before[key].entropy) : null;
    const change = moved ? h("span", { class: "change" }, bracketed ? `lower end ${moved}` : moved) : null;
    const note = { after: "given one thought: not to be compared", think_first: known(one.upper) ? "a bracket: the value lies in it" : "at least: too few thoughts for an upper end" }[key];
    const value = h("p", { class: "value" }, h("b", {}, bracketed ? bracket(one) : nats(one.entropy)), " nats", change, h("span", { class: "soft" }, note ?? ` like ${Math.exp(one.entropy).toFixed(1)} actions`));
    return h("div", { class: MARKS[key] }, h("p", { class: "what" }, ORDERS[key], h("span", { class: "soft" }, key === "think_first" ? ` K = ${one.thoughts.length} thoughts` : " exact")), value);
  });
  if (known(scores.js)) {
    items.push(h("div", {}, h("p", { class: "what" }, "the two orders apart"), h("p", { class: "value" }, h("b", {}, nats(scores.js, 3)), " nats", h("span", { class: "soft" }, "Jensen-Shannon, at most 0.69"))));
  } else if (known(scores.js_after)) {
    items.push(h("div", {}, h("p", { class: "what" }, "apart, given the thought"), h("p", { class: "value" }, h("b", {}, nats(scores.js_after, 3)), " nats", h("span", { class: "soft" }, "Jensen-Shannon, at most 0.69"))));
  }
  return h("div", { class: "facts" }, items);
}

function thoughts(names, scores) {
  const drawn = scores.think_first?.thoughts ?? [];
  if (!drawn.length) return null;
  const rows = drawn.map((one) => h("li", {}, h("q", {}, one.text || "(empty)"), " → ", h("code", {}, known(one.best) ? names[one.best] : "anything else"), h("span", { class: "soft" }, ` ${percent(one.p)}`)));
  return h("details", {}, h("summary", {}, `The ${drawn.length} thoughts it drew here, and what each leads to`), h("ul", { class: "drawn" }, rows));
}

// ---- the entropy ribbon ------------------------------------------------------------------------------------------------
// Height is entropy in nats; the band is think-first's bracket, the dots are act-first's exact values.
function ribbon(steps, at, scoresOf, go) {
  const all = steps.map((_, i) => scoresOf(i));
  const values = all.flatMap((one) => (one ? [one.act_first.entropy, one.think_first?.lower ?? 0, Math.min(one.think_first?.upper ?? 0, 5)] : []));
  const top = Math.max(1, ...values);
  const height = 64;
  const y = (value) => height - 4 - (Math.min(value, top) / top) * (height - 12);
  const n = steps.length;
  const x = (i) => ((i + 0.5) / n) * 1000;
  const wide = Math.min(1000 / n / 3, 9);
  const marks = all.map((one, i) => {
    if (!one) return s("circle", { cx: x(i), cy: height - 4, r: 1.5, class: "unknown" });
    const think = one.think_first;
    const low = think ? y(think.lower) : 0;
    return s(
      "g",
      {},
      think ? s("rect", { x: x(i) - wide, width: 2 * wide, y: y(think.upper ?? top), height: Math.max(low - y(think.upper ?? top), 2), class: "think band" }) : null,
      think ? s("line", { x1: x(i) - wide, x2: x(i) + wide, y1: low, y2: low, class: "think edge" }) : null,
    );
  });
  const line = all.map((one, i) => (one ? `${x(i).toFixed(1)},${y(one.act_first.entropy).toFixed(1)}` : null)).filter(Boolean);
  const dots = all.map((one, i) => (one ? s("circle", { cx: x(i), cy: y(one.act_first.entropy), r: 4, class: "act dot" }) : null));
  const picture = s(
    "svg",
    { viewBox: `0 0 1000 ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    s("line", { x1: 0, x2: 1000, y1: height - 4, y2: height - 4, class: "axis" }),
    marks,
    line.length > 1 ? s("polyline", { points: line.join(" "), class: "act line" }) : null,
    dots.map((dot) => dot && stretched(dot)),
  );
  const buttons = steps.map((step, i) => {
    const think = all[i]?.think_first;
    const said = all[i] ? `, ${nats(all[i].act_first.entropy)} nats acting first${think ? `, ${bracket(think)} thinking first` : ""}` : "";
    const name = `step ${i + 1}${said}${step.flags.length ? `, ${step.flags.join(", ")}` : ""}`;
    return button("", () => go(i), { class: step.flags.length ? "flagged" : null, "aria-label": name, title: name, "aria-current": i === at ? "step" : null, tabindex: i === at ? 0 : -1 });
  });
  const legend = line.length
    ? h("p", { class: "legend small" }, h("span", { class: "act" }, "● acts first, exact"), h("span", { class: "think" }, "▮ thinks first, bracket"), h("span", { class: "soft" }, `0 to ${top.toFixed(1)} nats`))
    : null;
  return h("div", { class: "ribbon" }, h("div", { class: "plot" }, picture, h("div", { class: "steps", role: "group", "aria-label": "steps" }, buttons)), legend);
}

// A dot as a short thick line with round ends, which stays round when the picture is stretched sideways.
function stretched(dot) {
  const [cx, cy] = [Number(dot.getAttribute("cx")), Number(dot.getAttribute("cy"))];
  return s("line", { x1: cx, x2: cx + 0.01, y1: cy, y2: cy, class: dot.getAttribute("class") });
}

// A number of the step as a chip, with its sign; null for 0 and for one that was not recorded.
function amount(name, value) {
  return value ? h("span", { class: `chip ${value > 0 ? "reward" : "lost"}` }, `${name} ${value > 0 ? "+" : "−"}${Math.abs(value)}`) : null;
}

// ---- one step's words -----------------------------------------------------------------------------------------------
function words(step, order, tokens, coloured) {
  const flags = [...step.flags.map((flag) => h("span", { class: "chip flag" }, flag)), amount("reward", step.reward), amount("advantage", step.advantage)];
  const after = flags.some(Boolean) ? h("p", { class: "chips" }, flags.filter(Boolean)) : null;
  const seen = h("p", { class: "seen" }, step.seen);
  if (coloured && tokens && tokens.length === step.logps.length) return [seen, h("p", { class: "reply" }, tokens.map((text, i) => token(text, step.logps[i]))), after];
  const thought = step.thought ? h("p", { class: "thought" }, step.thought) : null;
  const action = known(step.action) ? h("p", { class: "action" }, step.action) : null;
  const raw = thought || action ? null : h("p", { class: "reply" }, h("span", { class: "soft" }, "wrote: "), step.reply || "(nothing)");
  return [seen, order === "act_first" ? [action, thought] : [thought, action], raw, coloured && !tokens ? surprises(step) : null, after];
}

const shade = (logp) => Math.min(4, Math.floor(-logp / 0.75 + 0.34));

function token(text, logp) {
  return h("span", { class: `tok t${shade(logp)}`, title: `${nats(-logp, 3)} nats` }, text);
}

// Without the tokens' texts: the surprises of the reply's tokens in sequence.
function surprises(step) {
  if (!step.logps.length) return null;
  const total = -step.logps.reduce((a, b) => a + b, 0);
  return h("p", { class: "small soft" }, step.logps.map((logp) => h("span", { class: `tok t${shade(logp)}`, title: `${nats(-logp, 3)} nats` }, "\u00a0\u00a0")), ` ${plural(step.logps.length, "token")}, ${nats(total)} nats in all`);
}

function surpriseLegend() {
  const steps = ["under 0.5", "0.5-1.2", "1.2-2", "2-2.7", "over 2.7"];
  return h("p", { class: "legend small" }, h("span", { class: "soft" }, "surprise in nats:"), steps.map((text, i) => h("span", { class: `tok t${i}` }, text)));
}
