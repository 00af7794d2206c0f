"""A widget in a plain page of a real browser, without Jupyter: its script and style as they are, this process answers.

Stands for the notebook in what a widget sees of it: a model with traits, custom messages, and an element to draw in.
"""

import base64
import json
from typing import Any

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>widget</title></head>
<body style="background:BACKGROUND;margin:0;padding:16px"><main><h1 hidden>widget</h1><h2 hidden>cell</h2>
<div id="host"></div></main></body></html>"""

START = """async ({ script, style, traits, until }) => {
  const sheet = document.createElement("style");
  sheet.textContent = style;
  document.head.append(sheet);
  for (const [key, value] of Object.entries(traits)) {
    if (!value || !value.bytes) continue;
    traits[key] = new DataView(Uint8Array.from(atob(value.bytes), (c) => c.charCodeAt(0)).buffer);
  }
  const listeners = new Map();
  const model = {
    traits, sent: [], saved: 0, held: [], hold: false,
    get: (name) => traits[name],
    set: (name, value) => { traits[name] = value; },
    save_changes: () => { model.saved += 1; },
    on: (name, act) => listeners.set(act, name),
    off: (name, act) => listeners.delete(act),
    send: (message) => {
      model.sent.push(message);
      const answer = async () => {
        const said = await window.kernel(JSON.stringify(message));
        if (said) model.receive(JSON.parse(said));
      };
      if (model.hold) model.held.push(answer); else answer();
    },
    receive: (message) => { for (const [act, name] of listeners) if (name === "msg:custom") act(message, []); },
  };
  window.model = model;
  const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  const start = performance.now();
  const module = await import(address);
  window.close_widget = module.default.render({ model, el: document.getElementById("host") });
  while (until && !document.querySelector(until)) await new Promise((done) => requestAnimationFrame(done));
  return performance.now() - start;
}"""


def show(page: Any, widget: Any, *, dark: bool = False, until: str | None = None) -> float:
    """Draw the widget in the page; returns the milliseconds until its script has run, or until a selector is there."""
    if not getattr(page, "has_kernel", False):
        page.expose_function("kernel", lambda message: json.dumps(page.widget.answer(json.loads(message))))
        page.has_kernel = True
    page.widget = widget
    page.set_content(PAGE.replace("BACKGROUND", "#111111" if dark else "#ffffff"))
    traits = {name: _sent(getattr(widget, name)) for name in widget.keys if name.startswith("_") and name not in _OWN}
    return page.evaluate(
        START, {"script": str(widget._esm), "style": str(widget._css), "traits": traits, "until": until}
    )


_OWN = {"_esm", "_css", "_dom_classes", "_anywidget_id"}


def _sent(value: Any) -> Any:
    return {"bytes": base64.b64encode(value).decode()} if isinstance(value, bytes) else value
