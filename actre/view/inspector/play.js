// The play widget's page: the observation, the admissible actions, the steps so far, and on demand a policy's
// distribution. The kernel keeps the game; a click names its step.

class PlayView {
  constructor(model, el) {
    this.model = model;
    this.kernel = new Kernel(model);
    this.about = model.get("_about");
    const place = model.get("_place") ?? {};
    this.asked = place.asked ?? false;
    this.checkpoint = this.about.checkpoints[place.checkpoint ?? this.about.checkpoints.length - 1] ?? null;
    this.build(el);
    this.unthemed = followTheme(this.root);
    this.request({ kind: "state" });
  }

  close() {
    this.kernel.close();
    this.unthemed();
  }

  build(el) {
    this.head = h("div", { class: "head" });
    this.story = h("div", { class: "story scroll", tabindex: 0, role: "region", "aria-label": "the episode so far" });
    this.moves = h("div", { class: "moves" });
    this.message = h("div", { "aria-live": "polite" });
    this.policy = h("div", { class: "policy" });
    const columns = h("div", { class: "columns" }, h("section", { "aria-label": "game" }, this.story, this.message, this.moves), this.about.checkpoints.length ? h("section", { class: "panel", "aria-label": "policy" }, this.policy) : null);
    this.root = h("div", { class: `actre actre-play${this.about.checkpoints.length ? " asking" : ""}`, tabindex: -1 }, this.head, columns);
    keepKeys(this.root, () => false);
    el.append(this.root);
  }

  request(request) {
    this.kernel.ask("game", request, {
      ok: (state) => this.draw(state),
      failed: (words) => put(this.message, trouble(words)),
      slow: () => put(this.message, working("No answer from the kernel yet: it is busy with another cell, or gone.")),
    });
  }

  draw(state) {
    const moved = this.state && state.episode.steps.length !== this.state.episode.steps.length;
    this.state = state;
    put(this.message);
    const games = this.about.games.map((name, i) => [i, `${i + 1}: ${name}`]);
    put(
      this.head,
      h("h3", {}, state.episode.task || "A game"),
      h("p", { class: "row" }, chooser("game", games, state.game, (i) => this.request({ kind: "start", game: Number(i) })), button("Next game", () => this.request({ kind: "start", game: (state.game + 1) % games.length })), button("Start again", () => this.request({ kind: "start", game: state.game })), button("Take back", () => state.episode.steps.length && this.request({ kind: "back" }), { "aria-disabled": state.episode.steps.length === 0 ? "true" : "false" }), h("span", { class: "soft small", role: "status" }, `${plural(state.episode.steps.length, "step")} taken, ${plural(state.finished, "episode")} recorded`)),
    );
    const past = state.episode.steps.map((step, i) => h("li", {}, h("p", { class: "n" }, `step ${i + 1}`), words(step, "no_think", null, false)));
    const ended = state.over ? h("p", {}, h("span", { class: state.won ? "chip won" : "chip lost" }, state.won ? "won" : "lost")) : null;
    put(this.story, h("ol", {}, past, h("li", { class: "here" }, h("p", { class: "n" }, state.over ? "end" : "now"), h("p", { class: "seen" }, state.seen), ended)));
    this.story.scrollTop = this.story.scrollHeight;
    this.drawMoves();
    this.drawPolicy();
    if (moved && !state.over) this.moves.querySelector("button")?.focus({ preventScroll: true });
  }

  act(action) {
    this.request({ kind: "act", action, step: this.state.episode.steps.length });
  }

  drawMoves() {
    const { admissible, open, over } = this.state;
    if (over) {
      put(this.moves, h("p", {}, "The game is over. It is recorded: ", h("code", {}, ".trajectories"), " of this widget holds it."));
      return;
    }
    const filled = admissible.filter((_, i) => known(open[i])).map((action, i) => this.filling(open.filter(known)[i], action));
    const plain = admissible.filter((_, i) => !known(open[i])).map((action) => button(action, () => this.act(action), { class: "move" }));
    put(this.moves, filled, h("div", { class: "choices", role: "group", "aria-label": "what is possible here" }, plain));
  }

  // An action with a placeholder, such as search[<query>].
  filling(verb, action) {
    const id = unique("fill");
    const input = h("input", { id, type: "text", autocomplete: "off" });
    const send = () => input.value.trim() && this.act(`${verb}[${input.value.trim()}]`);
    input.addEventListener("keydown", (event) => event.key === "Enter" && send());
    return h("p", { class: "row" }, h("label", { for: id }, action), input, button(verb, send, { class: "main" }));
  }

  drawPolicy() {
    const names = this.about.checkpoints;
    if (!names.length) return;
    this.kernel.forget("scores");
    const pick = names.length > 1 ? chooser("policy", names.map((name) => [name, name]), this.checkpoint, (name) => { this.checkpoint = name; this.drawPolicy(); this.save(); }) : null;
    const ask = button(this.asked ? "Hide what it would do" : "What would it do here?", () => { this.asked = !this.asked; this.drawPolicy(); this.save(); }, { class: this.asked ? null : "main", "aria-expanded": String(this.asked) });
    const body = h("div", {}, this.asked && !this.state.over ? working("Scoring…") : null);
    put(this.policy, h("p", { class: "row" }, ask, pick), this.asked ? null : h("p", { class: "soft small" }, "Decide first, then look: what is shown sways."), body);
    if (!this.asked || this.state.over) return;
    this.kernel.ask("scores", { kind: "scores", checkpoint: this.checkpoint }, {
      ok: (scores) => put(body, distribution(this.state.admissible, scores)),
      failed: (said) => put(body, trouble(said)),
      slow: () => put(body, working("Scoring: the kernel is busy…")),
    });
  }

  save() {
    this.model.set("_place", { asked: this.asked, checkpoint: this.about.checkpoints.indexOf(this.checkpoint) });
    this.model.save_changes();
  }
}

export default {
  render({ model, el }) {
    const view = new PlayView(model, el);
    return () => view.close();
  },
};
