// The inspector in a report, without Jupyter and without a kernel. When it runs, it folds the written-out episodes below
// it.

class OfflineView extends InspectorView {
  load() {
    this.lines = [];
    for (const episode of this.model.get("_episodes")) this.episodes.set(episode.id, episode);
    this.open(this.at.episode, this.at.step);
  }
}

function startOffline() {
  const traits = JSON.parse(document.querySelector("script[data-inspector]").textContent);
  const nothing = () => undefined;
  const model = { get: (name) => traits[name], set: nothing, save_changes: nothing, on: nothing, off: nothing, send: nothing };
  const host = document.querySelector(".inspector-host");
  // a shadow tree keeps the page's style sheet and the inspector's apart
  const tree = host.attachShadow({ mode: "open" });
  tree.append(h("style", {}, traits._style));
  const view = new OfflineView(model, tree);
  const written = document.querySelector("details.written");
  written.open = false;
  addEventListener("beforeprint", () => { written.open = true; });
  // a link into the folded part opens it
  const unfold = () => { if (location.hash && written.querySelector(`[id="${CSS.escape(location.hash.slice(1))}"]`)) written.open = true; };
  addEventListener("hashchange", unfold);
  unfold();
  for (const link of document.querySelectorAll("a[data-show]")) {
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      const [first, other] = link.dataset.show.split(" ").map(Number);
      view.at.other = other ?? null;
      view.open(first, Number(link.dataset.step));
      view.root.focus({ preventScroll: true });
      host.scrollIntoView({ block: "start" });
      event.preventDefault();
    });
  }
}

startOffline();
