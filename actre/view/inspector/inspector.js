// The inspector's page: the list of episodes, and one episode or two side by side, step by step. It reads the records of
// data.py; panels.js draws a step, live.js holds the panels that need a policy.

class InspectorView {
  constructor(model, el) {
    this.model = model;
    this.kernel = new Kernel(model);
    this.about = model.get("_about");
    this.rows = [...model.get("_index")];
    this.episodes = new Map();
    this.scores = new Map(); // "checkpoint|episode|step" -> record of a live policy
    this.tokens = new Map();
    const place = model.get("_place") ?? {};
    this.at = { episode: 0, step: 0, tab: "here", other: null, coloured: false, checkpoint: this.about.checkpoints.length - 1, ...place };
    this.list = new EpisodeList(this, place.filter);
    if (!this.rows[this.at.episode]) Object.assign(this.at, { episode: 0, step: 0 }); // a branch of an earlier kernel
    if (!this.rows[this.at.other]) this.at.other = null;
    this.whatIf = new WhatIf(this);
    this.branches = new Branches(this);
    this.build(el);
    this.unthemed = followTheme(this.root);
    this.list.draw();
    this.opened = this.load();
  }

  get checkpoint() {
    return this.about.checkpoints[this.at.checkpoint] ?? null;
  }

  get live() {
    return this.about.checkpoints.length > 0;
  }

  close() {
    clearTimeout(this.saving);
    clearTimeout(this.asking);
    this.kernel.close();
    this.unthemed();
  }

  build(el) {
    this.head = h("div", { class: "head" });
    this.strip = h("div", { class: "strip" });
    this.nav = h("div", { class: "nav" });
    this.scripts = h("div", { class: "scripts" });
    this.tabs = h("div", { class: "panel" });
    const main = h("section", { class: "main-part", "aria-label": "episode" }, this.head, this.strip, this.nav, h("div", { class: "columns" }, this.scripts, this.tabs));
    this.root = h("div", { class: "actre actre-inspector", tabindex: -1 }, h("div", { class: "layout" }, this.list.root, main));
    keepKeys(this.root, (key) => this.key(key));
    el.append(this.root);
    this.list.drawFilters();
  }

  key(key) {
    const moves = { ArrowRight: 1, ArrowLeft: -1, Home: -1e9, End: 1e9 };
    if (key in moves) this.go(this.at.step + moves[key]);
    else if (key === "n" || key === "p") this.neighbour(key === "n" ? 1 : -1);
    else return false;
    return true;
  }

  // ---- data
  async load() {
    put(this.head, working("Opening…"));
    try {
      this.lines = await unpack(this.model.get("_packed"));
    } catch (error) {
      this.lines = []; // an old browser without DecompressionStream: the kernel sends each episode
    }
    this.open(this.at.episode, this.at.step);
  }

  // Calls back with the episode: at once if it is loaded, or after the kernel's answer.
  fetch(id, then) {
    if (!this.episodes.has(id) && this.lines[id]) this.episodes.set(id, JSON.parse(this.lines[id]));
    if (this.episodes.has(id)) return then(this.episodes.get(id));
    const place = id === this.at.other ? this.scripts : this.head;
    this.kernel.ask(`episode${id === this.at.other ? "-other" : ""}`, { kind: "episode", episode: id }, {
      ok: (episode) => {
        this.episodes.set(id, episode);
        then(episode);
      },
      failed: (words) => put(place, trouble(words)),
      slow: () => put(place, working(WAITING)),
    });
    return undefined;
  }

  scoreKey(id, step, checkpoint = this.checkpoint) {
    return `${checkpoint}|${id}|${step}`;
  }

  // A step's scores: the live policy's, or else the recorded ones.
  scoresOf(episode, step) {
    return this.scores.get(this.scoreKey(episode.id, step)) ?? episode.steps[step]?.scores ?? null;
  }

  // ---- moving
  open(id, step = 0) {
    this.at.episode = id;
    this.at.step = step;
    if (this.at.other === id) this.at.other = null;
    this.list.mark();
    this.fetch(id, (episode) => {
      if (this.at.episode !== id) return;
      this.episode = episode;
      this.at.step = Math.max(0, Math.min(this.at.step, episode.steps.length - 1));
      this.drawEpisode();
      this.drawStep();
    });
  }

  go(step) {
    if (!this.episode) return;
    const last = Math.max(this.episode.steps.length, this.other?.steps.length ?? 0) - 1;
    const wanted = Math.max(0, Math.min(step, last));
    if (wanted === this.at.step) return;
    this.at.step = wanted;
    this.drawStep();
  }

  neighbour(by) {
    const next = this.list.beside(by);
    if (known(next)) this.open(next);
  }

  add(rows) {
    this.rows.push(...rows);
    this.list.drawFilters();
    this.list.draw();
  }

  save() {
    clearTimeout(this.saving);
    this.saving = setTimeout(() => {
      this.model.set("_place", { ...this.at, filter: this.list.filter });
      this.model.save_changes();
    }, 400);
  }

  // ---- an episode
  drawEpisode() {
    const e = this.episode;
    const facts = [e.order_name, e.type, plural(e.count, "step"), `return ${e.return}`, e.of_group || (known(e.group) ? `group ${e.group}` : null), e.run || null, e.game].filter(Boolean);
    const partners = this.partners();
    const compare = partners.length ? chooser("compare with", [["", "nothing"], ...partners], this.at.other ?? "", (id) => this.compare(id === "" ? null : Number(id))) : null;
    put(
      this.head,
      h("h3", {}, h("span", { class: e.won ? "chip won" : "chip lost" }, e.won ? "won" : "lost"), ` ${e.task || e.game}`),
      h("p", { class: "soft small facts-line" }, facts.join(" · ")),
      e.error ? trouble(`The environment failed: ${e.error}`) : null,
      e.cut ? trouble(`The episode was cut: ${e.cut}`) : null,
      compare,
    );
    if (!e.steps.length) {
      put(this.strip);
      put(this.nav, h("p", { class: "soft" }, "This episode has no step."));
      put(this.scripts);
      put(this.tabs);
      return;
    }
    this.drawNav();
    this.drawScripts(null);
    if (known(this.at.other)) {
      this.fetch(this.at.other, (other) => {
        this.drawScripts(other);
        this.drawStep();
      });
    }
  }

  // Partners for a comparison: the same game in other runs and the group's other members first, then the rest.
  partners() {
    const e = this.episode;
    const name = (row) => `${row.won ? "✓" : "✗"} ${row.run ? `${row.run}: ` : ""}${row.task || row.game} (${row.order_name}, ${plural(row.count, "step")})`.slice(0, 110);
    const others = this.rows.filter((row) => row.id !== e.id);
    const near = others.filter((row) => row.game === e.game);
    const far = others.filter((row) => row.game !== e.game && row.type === e.type).slice(0, 30);
    return [...near.map((row) => [row.id, `same game · ${name(row)}`]), ...far.map((row) => [row.id, name(row)])];
  }

  compare(id) {
    this.at.other = id;
    this.drawEpisode();
    this.drawStep();
  }

  drawScripts(other) {
    this.other = other;
    const both = [this.episode, other].filter(Boolean);
    this.root.classList.toggle("two", both.length === 2);
    this.parted = other ? this.episode.steps.findIndex((step, i) => step.action !== other.steps[i]?.action) : -1;
    put(this.scripts, this.at.coloured ? surpriseLegend() : null, h("div", { class: "pair-of" }, both.map((episode, i) => this.script(episode, i))));
    this.drawRibbon();
    if (this.at.coloured && this.live) this.askTokens();
  }

  script(episode, place) {
    const items = episode.steps.map((step, i) => {
      const parts = this.parted === i && place === 0 ? h("span", { class: "tag" }, "from here on they differ") : null;
      const number = button(`step ${i + 1}`, () => this.go(i), { class: "plain" });
      return h("li", {}, h("p", { class: "n" }, number, parts), words(step, episode.order, this.tokensOf(episode, i), this.at.coloured));
    });
    const end = h("li", { class: "end" }, h("p", { class: "n" }, "end"), h("p", { class: "seen" }, episode.final), h("p", {}, h("span", { class: episode.won ? "chip won" : "chip lost" }, episode.won ? "won" : "lost")));
    const title = this.other ? h("h4", {}, h("span", { class: episode.won ? "chip won" : "chip lost" }, episode.won ? "won" : "lost"), ` ${episode.run || episode.order_name}`) : null;
    return h("div", { class: "script" }, title, h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `transcript${this.other ? ` ${place + 1}` : ""}` }, h("ol", {}, items, end)));
  }

  tokensOf(episode, i) {
    return this.tokens.get(episode.id)?.[i] ?? episode.steps[i].tokens;
  }

  colour(on) {
    this.at.coloured = on;
    this.save();
    this.drawScripts(this.other);
    this.markStep();
  }

  // The tokens' texts, which may need a policy's tokenizer.
  askTokens() {
    const wanting = [this.episode, this.other].filter((one) => one && !this.tokens.has(one.id) && one.steps.some((step) => step.logps.length && !step.tokens));
    wanting.forEach((episode, i) =>
      this.kernel.ask(`tokens${i}`, { kind: "tokens", episode: episode.id, checkpoint: this.checkpoint }, {
        ok: (texts) => {
          this.tokens.set(episode.id, texts);
          if (![this.episode, this.other].includes(episode)) return;
          this.drawScripts(this.other);
          this.markStep();
        },
        failed: (words) => this.scripts.prepend(trouble(words)),
      }),
    );
  }

  drawRibbon() {
    const one = (episode) => h("div", {}, ribbon(episode.steps, this.at.step, (i) => this.scoresOf(episode, i), (i) => this.go(i)));
    put(this.strip, [this.episode, this.other].filter(Boolean).map(one), this.measureAll());
  }

  // A button that scores every step, in batches, so that the kernel can answer other requests in between.
  measureAll() {
    if (!this.live) return null;
    const episode = this.episode;
    const missing = episode.steps.map((_, i) => i).filter((i) => !this.scores.has(this.scoreKey(episode.id, i)));
    if (!missing.length) return null;
    const words = this.measuring ? `Measuring… ${plural(missing.length, "step")} left (stop)` : "Measure every step";
    return button(words, () => {
      this.measuring = !this.measuring;
      if (this.measuring) this.measureNext(episode, this.checkpoint);
      else this.kernel.forget("ribbon");
      this.drawRibbon();
    }, { class: "measure" });
  }

  measureNext(episode, checkpoint) {
    const missing = episode.steps.map((_, i) => i).filter((i) => !this.scores.has(this.scoreKey(episode.id, i, checkpoint)));
    if (!this.measuring || episode !== this.episode || checkpoint !== this.checkpoint || !missing.length) {
      this.measuring = false;
      this.drawRibbon();
      return;
    }
    const steps = missing.slice(0, 4);
    this.kernel.ask("ribbon", { kind: "scores", episode: episode.id, steps, checkpoint }, {
      ok: (records) => {
        records.forEach((record, i) => this.scores.set(this.scoreKey(episode.id, steps[i], checkpoint), record));
        this.measureNext(episode, checkpoint);
        if (this.measuring) this.drawRibbon();
        if (steps.includes(this.at.step)) this.drawTab();
      },
      failed: (words) => {
        this.measuring = false;
        this.drawRibbon();
        this.strip.append(trouble(words));
      },
    });
  }

  drawNav() {
    const to = (words, hint, act) => button(words, act, { "aria-label": hint, title: hint });
    this.where = h("span", { class: "where", role: "status" });
    this.moves = [
      to("|◀", "first step (Home)", () => this.go(0)),
      to("◀", "step back (left arrow)", () => this.go(this.at.step - 1)),
      to("▶", "next step (right arrow)", () => this.go(this.at.step + 1)),
      to("▶|", "last step (End)", () => this.go(1e9)),
    ];
    const id = unique("colour");
    const box = h("input", { id, type: "checkbox", checked: this.at.coloured, onchange: (event) => this.colour(event.target.checked) });
    put(this.nav, this.moves.slice(0, 2), this.where, this.moves.slice(2), h("span", { class: "field check" }, box, h("label", { for: id }, "colour tokens by surprise")), h("span", { class: "soft small keys" }, "arrow keys: steps · n, p: episodes"));
  }

  // ---- a step
  drawStep() {
    if (!this.episode?.steps.length) return;
    this.markStep();
    this.drawTab();
    this.save();
  }

  markStep() {
    const n = Math.max(this.episode.steps.length, this.other?.steps.length ?? 0);
    put(this.where, `step ${this.at.step + 1} of ${n}`);
    // aria-disabled, not disabled: the keyboard's focus must stay on the button at either end
    this.moves.forEach((move, i) => move.setAttribute("aria-disabled", String(i < 2 ? this.at.step === 0 : this.at.step === n - 1)));
    for (const scroll of this.scripts.querySelectorAll(".scroll")) {
      [...scroll.querySelectorAll("ol > li")].forEach((item, i) => {
        const here = i === this.at.step && !item.classList.contains("end");
        item.classList.toggle("here", here);
        if (here) scroll.scrollTop = item.offsetTop - Math.min(scroll.clientHeight / 4, 90);
      });
    }
    for (const steps of this.strip.querySelectorAll(".steps")) {
      [...steps.children].forEach((one, i) => {
        one.tabIndex = i === this.at.step ? 0 : -1;
        if (i === this.at.step) one.setAttribute("aria-current", "step");
        else one.removeAttribute("aria-current");
      });
    }
  }

  drawTab() {
    const tabs = [["here", "What it would do here"], ...(this.live ? [["whatif", "What if"], ["branch", "Branch"]] : [])];
    if (!tabs.some(([key]) => key === this.at.tab)) this.at.tab = "here";
    const choose = (key) => {
      this.at.tab = key;
      this.drawStep();
      this.tabs.querySelector("[role=tab][aria-selected=true]")?.focus();
    };
    const id = unique("tab");
    const arrows = (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!by) return;
      const now = tabs.findIndex(([key]) => key === this.at.tab);
      choose(tabs[(now + by + tabs.length) % tabs.length][0]);
      event.preventDefault();
    };
    const chosen = (key) => key === this.at.tab;
    const bars = tabs.map(([key, words]) => button(words, () => choose(key), { role: "tab", id: `${id}-${key}`, "aria-selected": chosen(key) ? "true" : "false", "aria-controls": chosen(key) ? id : null, tabindex: chosen(key) ? 0 : -1 }));
    const body = h("div", { role: "tabpanel", id, "aria-labelledby": `${id}-${this.at.tab}`, class: "tab-body" });
    put(this.tabs, tabs.length > 1 ? h("div", { role: "tablist", "aria-label": "the policy in this state", onkeydown: arrows }, bars) : h("h4", { id: `${id}-here` }, tabs[0][1]), this.slider(), body);
    if (this.at.step < this.episode.steps.length) this.fill(body);
    else put(body, h("p", { class: "soft" }, "The first of the two episodes is over by now."));
  }

  fill(body) {
    const [e, step] = [this.episode, this.at.step];
    const live = this.scores.get(this.scoreKey(e.id, step));
    if (this.live && !live && this.at.tab !== "branch") this.askScores(e, step);
    if (this.at.tab === "whatif") put(body, this.whatIf.show(e, step, live ?? null));
    else if (this.at.tab === "branch") put(body, this.branches.show(e, step));
    else {
      const both = [e, this.other].filter((one) => one && step < one.steps.length);
      const over = this.other && step >= this.other.steps.length ? h("p", { class: "soft" }, "The second of the two episodes is over by now.") : null;
      put(body, both.map((one) => this.here(one, step, both.length > 1)), over);
      if (this.live && this.other && step < this.other.steps.length && !this.scores.get(this.scoreKey(this.other.id, step))) this.askScores(this.other, step, "scores-other");
    }
  }

  here(episode, number, titled) {
    const scores = this.scoresOf(episode, number);
    const step = episode.steps[number];
    const names = step.admissible.map((i) => episode.actions[i]);
    const title = titled ? h("h4", {}, `${episode.won ? "✓" : "✗"} ${episode.run || episode.order_name}`) : null;
    if (scores) return h("div", {}, title, distribution(names, scores, { taken: step.action }));
    const said = this.live ? working("Scoring…") : h("p", { class: "soft" }, this.about.unscored ?? "No distribution was recorded at this step. With a policy it is measured here; annotate(trajectories, policy) records it.");
    const listed = h("ul", { class: "admissible" }, names.map((name) => h("li", { class: name === step.action ? "taken" : null }, name, name === step.action ? h("span", { class: "tag" }, "taken") : null)));
    return h("div", {}, title, h("div", { class: "message" }, said), h("p", { class: "soft small" }, plural(names.length, "admissible action")), listed);
  }

  // Asks shortly after the last key press, so that fast stepping asks once.
  askScores(episode, step, channel = "scores") {
    const checkpoint = this.checkpoint;
    const still = () => this.at.step === step && [this.episode, this.other].includes(episode) && this.checkpoint === checkpoint;
    const say = (words) => still() && this.at.tab === "here" && put(this.tabs.querySelector(".message") ?? this.tabs.querySelector(".tab-body"), words);
    const ask = () =>
      still() &&
      this.kernel.ask(channel, { kind: "scores", episode: episode.id, steps: [step], checkpoint }, {
        ok: ([record]) => {
          this.scores.set(this.scoreKey(episode.id, step, checkpoint), record);
          this.drawRibbon();
          this.markStep();
          if (still()) this.scored(record);
        },
        failed: (words) => say(trouble(words)),
        slow: () => say(working(WAITING)),
      });
    clearTimeout(this[`asking-${channel}`]);
    this[`asking-${channel}`] = setTimeout(ask, 120);
  }

  scored(record) {
    if (this.at.tab === "here") this.fill(this.tabs.querySelector(".tab-body"));
    else if (this.at.tab === "whatif") this.whatIf.recorded = record;
  }

  slider() {
    const names = this.about.checkpoints;
    if (names.length < 2) return null;
    const id = unique("checkpoint");
    const move = (event) => {
      this.at.checkpoint = Number(event.target.value);
      this.measuring = false;
      this.whatIf.key = null;
      this.drawRibbon();
      this.markStep();
      event.target.setAttribute("aria-valuetext", this.checkpoint);
      put(shown, this.checkpoint);
      this.fill(this.tabs.querySelector(".tab-body"));
      this.save();
    };
    const shown = h("output", { for: id }, this.checkpoint);
    const range = h("input", { type: "range", id, min: 0, max: names.length - 1, step: 1, value: this.at.checkpoint, oninput: move, "aria-valuetext": this.checkpoint });
    range.value = this.at.checkpoint;
    return h("div", { class: "checkpoints" }, h("label", { for: id }, "Checkpoint"), range, shown, h("span", { class: "soft small ticks" }, names.join(" → ")));
  }
}

export default {
  render({ model, el }) {
    const view = new InspectorView(model, el);
    return () => view.close();
  },
};
