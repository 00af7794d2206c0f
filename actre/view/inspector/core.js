// The common parts of both widgets: elements, numbers, requests to the kernel, light and dark.
// Text is never parsed as HTML, here or in the other files.

function h(name, props = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "value") made.value = value;
    else made.setAttribute(key, value === true ? "" : String(value));
  }
  made.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

function s(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  made.append(...children.flat(9).filter((child) => child !== null));
  return made;
}

const button = (words, act, props = {}) => h("button", { type: "button", onclick: act, ...props }, words);
const put = (place, ...children) => place.replaceChildren(...children.flat(9).filter((c) => c !== null && c !== false));

let counted = 0;
const unique = (name) => `actre-${name}-${(counted += 1)}`;

function chooser(words, options, value, act, props = {}) {
  const id = unique("choose");
  const list = h("select", { id, onchange: (event) => act(event.target.value), ...props });
  for (const [key, shown] of options) list.append(h("option", { value: key, selected: String(key) === String(value) }, shown));
  return h("span", { class: "field" }, h("label", { for: id }, words), list);
}

// ---- numbers -------------------------------------------------------------------------------------------------------
const known = (value) => value !== null && value !== undefined;
const nats = (value, digits = 2) => (known(value) ? value.toFixed(digits) : "–");
const signed = (value) => (value > 0 ? "+" : value < 0 ? "−" : "±") + Math.abs(value).toFixed(2);
function percent(p) {
  if (p === 0) return "0";
  if (p < 0.001) return "<0.1%";
  return p < 0.0995 ? `${(p * 100).toFixed(1)}%` : `${Math.round(p * 100)}%`;
}
const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;

// ---- requests ------------------------------------------------------------------------------------------------------
// Each channel has one request in flight; a newer one replaces those that wait. A slow kernel is therefore never
// flooded, and an answer is delivered only if nothing newer was asked, so an old one cannot overwrite it.
class Kernel {
  constructor(model) {
    this.model = model;
    this.channels = new Map();
    this.name = Math.random().toString(36).slice(2);
    this.count = 0;
    this.receive = (message) => this.answered(message);
    model.on("msg:custom", this.receive);
  }

  ask(name, request, { ok, failed, slow }) {
    const channel = this.channels.get(name) ?? { travelling: null, waiting: null };
    this.channels.set(name, channel);
    if (channel.travelling) channel.travelling.stale = true;
    channel.waiting = { request, ok, failed, slow, stale: false };
    if (!channel.travelling) this.sendNext(channel);
  }

  // Drops the channel's pending request.
  forget(name) {
    const channel = this.channels.get(name);
    if (!channel) return;
    channel.waiting = null;
    if (channel.travelling) channel.travelling.stale = true;
  }

  sendNext(channel) {
    const next = channel.waiting;
    channel.waiting = null;
    channel.travelling = next;
    if (!next) return;
    this.count += 1;
    next.id = `${this.name}:${this.count}`;
    next.timer = setTimeout(() => {
      if (!next.stale && next.slow) next.slow();
    }, 1500);
    this.model.send({ ...next.request, id: next.id });
  }

  answered(message) {
    for (const channel of this.channels.values()) {
      const asked = channel.travelling;
      if (!asked || asked.id !== message?.re) continue;
      clearTimeout(asked.timer);
      this.sendNext(channel);
      if (asked.stale) return;
      if ("error" in message) asked.failed(message.error);
      else asked.ok(message.ok);
      return;
    }
  }

  close() {
    this.model.off("msg:custom", this.receive);
    for (const channel of this.channels.values()) {
      clearTimeout(channel.travelling?.timer);
      channel.travelling = channel.waiting = null;
    }
  }
}

const WAITING = "No answer from the kernel yet: it is busy with another cell, or gone. What is recorded still shows.";
const trouble = (words) => h("p", { class: "trouble", role: "alert" }, words);
const working = (words) => h("p", { class: "soft working", role: "status" }, words);

// ---- light and dark ------------------------------------------------------------------------------------------------
// The background of the surrounding page decides (JupyterLab, Notebook, Colab, VS Code).
function followTheme(root) {
  const look = () => {
    let at = root.parentElement;
    let ground = null;
    while (at && !ground) {
      const [r, g, b, alpha = 1] = (getComputedStyle(at).backgroundColor.match(/[\d.]+/g) ?? []).map(Number);
      if (alpha > 0.5 && known(b)) ground = 0.2126 * r + 0.7152 * g + 0.0722 * b;
      at = at.parentElement;
    }
    const dark = known(ground) ? ground < 128 : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "dark" : "light";
  };
  const later = () => setTimeout(look, 60);
  const watch = new MutationObserver(later);
  const options = { attributes: true, attributeFilter: ["class", "style", "theme", "data-jp-theme-light", "data-jp-theme-name"] };
  watch.observe(document.documentElement, options);
  watch.observe(document.body, options);
  const media = matchMedia("(prefers-color-scheme: dark)");
  media.addEventListener("change", later);
  requestAnimationFrame(look);
  const once = setTimeout(look, 400); // a theme's style sheet may load after the widget
  return () => {
    clearTimeout(once);
    watch.disconnect();
    media.removeEventListener("change", later);
  };
}

// Keys typed in a widget must not reach the notebook's shortcuts ("dd" deletes a cell).
function keepKeys(root, act) {
  root.dataset.lmSuppressShortcuts = "true";
  root.addEventListener("keydown", (event) => {
    const writing = event.target.closest("input:not([type=checkbox]), textarea, select, [role=tablist]");
    if (!writing && !event.ctrlKey && !event.metaKey && !event.altKey && act(event.key)) event.preventDefault();
    event.stopPropagation();
  });
}

async function unpack(bytes) {
  const view = new Uint8Array(bytes.buffer ?? bytes, bytes.byteOffset ?? 0, bytes.byteLength);
  const stream = new Blob([view]).stream().pipeThrough(new DecompressionStream("gzip"));
  return (await new Response(stream).text()).split("\n").filter(Boolean);
}
