// The panels that need a live policy: what-if, and branches from a state. Each has its own elements and its own channel
// to the kernel.

// ---- what if the thought, or the history, had been another --------------------------------------------------------------
class WhatIf {
  constructor(view) {
    this.view = view;
    this.root = h("div", { class: "whatif" });
    this.key = null;
  }

  // A step's form is made once, so that typed text stays when other parts are redrawn.
  show(episode, number, recorded) {
    this.recorded = recorded;
    const key = `${episode.id}:${number}`;
    if (key === this.key) return this.root;
    this.key = key;
    this.view.kernel.forget("whatif");
    const step = episode.steps[number];
    const id = unique("thought");
    this.result = h("div", { class: "result", "aria-live": "polite" });
    this.thought = h("textarea", { id, rows: 3, value: step.thought ?? "", spellcheck: "false" });
    this.none = false;
    this.edits = episode.steps.slice(0, number).map((past, i) => this.past(past, i));
    const all = (change) => () => this.edits.forEach((edit) => edit.set(change));
    const history = this.edits.length
      ? h(
          "details",
          { class: "history" },
          h("summary", {}, `The history: ${plural(this.edits.length, "earlier step")}`),
          h("p", { class: "row" }, button("without thoughts", all({ thought: "" })), button("without history", all({ keep: false })), button("as it was", all({ keep: true, thought: null }))),
          h("ol", {}, this.edits.map((edit) => edit.row)),
        )
      : h("p", { class: "soft small" }, "This is the first step: there is no history to edit.");
    const ask = () => this.ask(episode, number, this.thought.value);
    put(
      this.root,
      h("label", { for: id }, "What if it had thought this, before acting?"),
      this.thought,
      h("p", { class: "row" }, button("Score again", ask, { class: "main" }), button("Delete the thought", () => this.ask(episode, number, (this.thought.value = ""))), button("As it was", () => (this.thought.value = step.thought ?? ""))),
      history,
      this.result,
    );
    return this.root;
  }

  past(step, i) {
    const keep = h("input", { type: "checkbox", checked: true, id: unique("keep") });
    const thought = h("textarea", { rows: 2, value: step.thought ?? "", "aria-label": `thought of step ${i + 1}`, spellcheck: "false" });
    const row = h("li", {}, h("p", {}, keep, h("label", { for: keep.id }, ` step ${i + 1}: `, h("code", {}, step.action ?? "(no action)"))), thought);
    const set = (change) => {
      if (known(change.keep)) keep.checked = change.keep;
      if ("thought" in change) thought.value = change.thought ?? step.thought ?? "";
    };
    const edited = () => ({ step: i, keep: keep.checked, thought: thought.value === (step.thought ?? "") ? null : thought.value });
    return { row, set, edited };
  }

  ask(episode, number, thought) {
    const edits = this.edits.map((edit) => edit.edited()).filter((edit) => !edit.keep || known(edit.thought));
    const names = episode.steps[number].admissible.map((i) => episode.actions[i]);
    put(this.result, working("Scoring…"));
    this.view.kernel.ask(
      "whatif",
      { kind: "whatif", episode: episode.id, step: number, checkpoint: this.view.checkpoint, thought, edits },
      {
        ok: ({ scores, unknown }) => put(this.result, this.answer(names, scores, unknown, thought, edits, episode.steps[number].action)),
        failed: (words) => put(this.result, trouble(words)),
        slow: () => put(this.result, working(WAITING)),
      },
    );
  }

  answer(names, scores, unknown, thought, edits, taken) {
    const changed = [thought ? null : "with an empty thought", edits.length ? `with ${plural(edits.length, "edited step")} of history` : null].filter(Boolean);
    return [
      h("h4", {}, `Scored again${changed.length ? `, ${changed.join(" and ")}` : ""}`),
      unknown.length ? h("p", { class: "caution" }, `The policy has no word for: ${unknown.join(", ")}. It reads them as unknown.`) : null,
      this.recorded ? h("p", { class: "soft small" }, "The line on each bar, and the signed number, compare with the step as it was.") : null,
      distribution(names, scores, { taken, before: this.recorded }),
    ].filter(Boolean);
  }
}

// ---- branches: n continuations from this state --------------------------------------------------------------------------
class Branches {
  constructor(view) {
    this.view = view;
    this.root = h("div", { class: "branch" });
    this.key = null;
    this.made = new Map();
  }

  show(episode, number) {
    const key = `${episode.id}:${number}`;
    if (key === this.key) return this.root;
    this.key = key;
    this.view.kernel.forget("branch");
    this.n = 6;
    this.order = episode.order;
    this.result = h("div", { "aria-live": "polite" }, this.made.get(key) ?? null);
    const orders = [["think_first", "thinks first"], ["act_first", "acts first"]];
    put(
      this.root,
      h("p", {}, `Play on from step ${number + 1}, several times: the same state, the policy's own dice.`),
      h(
        "p",
        { class: "row" },
        chooser("continuations", [4, 6, 8, 16].map((n) => [n, n]), this.n, (n) => (this.n = Number(n))),
        chooser("order", orders, this.order, (order) => (this.order = order)),
        button("Branch from here", () => this.ask(episode, number, key), { class: "main" }),
      ),
      this.result,
    );
    return this.root;
  }

  ask(episode, number, key) {
    const before = this.made.get(key);
    const place = this.result;
    put(place, working(`Playing ${this.n} continuations…`));
    this.times = (this.times ?? 0) + 1;
    this.view.kernel.ask(
      "branch",
      { kind: "branch", episode: episode.id, step: number, checkpoint: this.view.checkpoint, order: this.order, n: this.n, again: this.times },
      {
        ok: (answer) => {
          this.view.add(answer.episodes);
          const shown = this.drawn(answer, number);
          this.made.set(key, shown);
          put(place, shown);
        },
        failed: (words) => put(place, trouble(words), before ?? null),
        slow: () => put(place, working("Playing… a continuation may take as many steps as an episode.")),
      },
    );
  }

  drawn({ tree, episodes }, depth) {
    const won = tree.won;
    return h(
      "div",
      { class: "tree" },
      h("h4", {}, `${plural(tree.n, "continuation")}: ${won} won, ${tree.n - won} lost`),
      tree.actions.length ? this.stretch(tree, depth) : null,
      h("ul", {}, tree.children.map((child) => this.node(child, depth + tree.actions.length, tree.n))),
      this.ends(tree, episodes),
      h("p", { class: "soft small" }, "Each end opens as an episode; all of them are in the list now."),
    );
  }

  node(node, depth, of) {
    return h("li", {}, this.share(node, of), this.stretch(node, depth), this.ends(node), node.children.length ? h("ul", {}, node.children.map((child) => this.node(child, depth + node.actions.length, of))) : null);
  }

  share(node, of) {
    const [won, lost] = [node.won / of, (node.n - node.won) / of];
    const said = `${node.n} of ${of}, ${node.won} won`;
    return h("span", { class: "share", title: said }, s("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" }, s("rect", { class: "track", width: 100, height: 10 }), s("rect", { class: "won", width: won * 100, height: 10 }), s("rect", { class: "lost", x: won * 100, width: lost * 100, height: 10 })), h("span", { class: "small" }, said));
  }

  stretch(node, depth) {
    const shown = node.actions.length > 7 ? [...node.actions.slice(0, 3), `… ${node.actions.length - 5} more …`, ...node.actions.slice(-2)] : node.actions;
    const range = node.actions.length > 1 ? `steps ${depth + 1}-${depth + node.actions.length}` : `step ${depth + 1}`;
    return h("span", { class: "stretch" }, h("span", { class: "soft small" }, `${range} `), shown.map((action, i) => [i ? " › " : "", h("code", {}, action)]));
  }

  ends(node) {
    return node.ends.map((end) => button(`${end.won ? "✓ won" : "✗ lost"}`, () => this.view.open(end.id), { class: end.won ? "end won" : "end lost", "aria-label": `open the continuation that ${end.won ? "won" : "lost"}` }));
  }
}
