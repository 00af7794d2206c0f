// The list of episodes: filter, order, and the open one. It reads the index of data.py.

const SORTS = [["given", "as given"], ["won", "won first"], ["lost", "lost first"], ["short", "shortest first"], ["long", "longest first"], ["high", "highest entropy"], ["low", "lowest entropy"]];
const MEASURES = [["surprise", "surprise per token"], ["act_entropy", "entropy, acting first"], ["think_entropy", "entropy, thinking first (lower end)"]];
const everything = { type: "", run: "", outcome: "", sort: "given", measure: "surprise", least: "", most: "" };

class EpisodeList {
  constructor(view, filter) {
    this.view = view;
    this.filter = { ...everything, ...filter };
    this.list = h("div", { class: "episodes", role: "group", "aria-label": "episodes" });
    this.filters = h("div", { class: "filters" });
    this.count = h("p", { class: "soft small", role: "status" });
    this.root = h("section", { class: "side", "aria-label": "choose an episode" }, this.filters, this.count, this.list);
  }

  // The episode at this offset in the shown list, if there is one.
  beside(by) {
    const ids = this.shown.map((row) => row.id);
    return ids[ids.indexOf(this.view.at.episode) + by];
  }

  drawFilters() {
    const choices = (name) => [...new Set(this.view.rows.map((row) => row[name]))].sort().map((one) => [one, one]);
    const set = (name) => (value) => {
      this.filter[name] = value;
      this.draw();
      this.view.save();
    };
    const runs = choices("run");
    const outcomes = [["", "any"], ["won", "won"], ["lost", "lost"], ["flagged", "with flags"]];
    const bound = (name, words) => {
      const id = unique("bound");
      return h("span", { class: "field" }, h("label", { for: id }, words), h("input", { id, type: "number", step: "0.1", min: 0, value: this.filter[name], oninput: (event) => set(name)(event.target.value) }));
    };
    put(
      this.filters,
      chooser("task", [["", "any"], ...choices("type")], this.filter.type, set("type")),
      chooser("outcome", outcomes, this.filter.outcome, set("outcome")),
      runs.length > 1 && chooser("run", [["", "any"], ...runs], this.filter.run, set("run")),
      chooser("sort", SORTS, this.filter.sort, set("sort")),
      chooser("entropy is", MEASURES, this.filter.measure, set("measure")),
      h("span", { class: "pair" }, bound("least", "at least"), bound("most", "at most")),
    );
  }

  filtered() {
    const { type, run, outcome, sort, measure, least, most } = this.filter;
    const value = (row) => row[measure];
    const within = (row) => (least === "" || (known(value(row)) && value(row) >= Number(least))) && (most === "" || (known(value(row)) && value(row) <= Number(most)));
    const ended = { "": () => true, won: (row) => row.won, lost: (row) => !row.won, flagged: (row) => row.flagged > 0 }[outcome];
    const fitting = this.view.rows.filter((row) => (!type || row.type === type) && (!run || row.run === run) && ended(row) && within(row));
    const by = { won: (row) => !row.won, lost: (row) => row.won, short: (row) => row.count, long: (row) => -row.count, high: (row) => -(value(row) ?? -1e9), low: (row) => value(row) ?? 1e9 }[sort];
    return by ? fitting.sort((a, b) => by(a) - by(b) || a.id - b.id) : fitting;
  }

  draw() {
    this.shown = this.filtered();
    const rows = this.shown.map((row) => {
      const value = row[this.filter.measure];
      const facts = [row.type, plural(row.count, "step"), known(value) ? `${this.filter.measure === "think_entropy" ? "≥ " : ""}${nats(value)} nats` : null, row.run || null].filter(Boolean);
      return button([h("span", { class: row.won ? "dot won" : "dot lost" }, row.won ? "✓" : "✗"), h("span", { class: "task" }, row.task || row.game), h("span", { class: "soft small" }, facts.join(" · "))], () => this.view.open(row.id), { "data-id": row.id, "aria-label": `${row.won ? "won" : "lost"}: ${row.task || row.game}, ${facts.join(", ")}` });
    });
    put(this.list, rows);
    const won = this.shown.filter((row) => row.won).length;
    put(this.count, `${this.shown.length} of ${plural(this.view.rows.length, "episode")}, ${won} won`);
    this.mark();
  }

  mark() {
    for (const row of this.list.children) {
      const here = Number(row.dataset.id) === this.view.at.episode;
      if (here) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
      if (here && this.list.clientHeight) this.list.scrollTop = Math.max(0, row.offsetTop - this.list.clientHeight / 2);
    }
  }
}
