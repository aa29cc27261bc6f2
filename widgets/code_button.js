// A button that copies code; the code also appears below it, selected, where the page may not write to the clipboard.

async function write(text, area) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    area.focus();
    area.select();
    return document.execCommand("copy");
  }
}

function render({ model, el }) {
  el.classList.add("rlbook-code");
  const button = document.createElement("button");
  button.className = "jupyter-button widget-button";
  button.type = "button";
  button.title = "Python that computes and draws what you see, and the command line that runs it";
  const said = document.createElement("span");
  said.setAttribute("role", "status");
  const area = document.createElement("textarea");
  area.readOnly = true;
  area.hidden = true;
  area.spellcheck = false;
  area.setAttribute("aria-label", "Code that computes and draws what you see");
  // JupyterLab takes single letters for commands unless told that somebody reads text here.
  area.dataset.lmSuppressShortcuts = "true";
  el.append(button, said, area);

  function refresh() {
    area.value = model.get("code");
    area.rows = Math.min(area.value.split("\n").length, 16);
  }

  function label() {
    button.textContent = area.hidden ? "Copy as code" : "Hide code";
    button.setAttribute("aria-expanded", String(!area.hidden));
  }

  async function toggle() {
    area.hidden = !area.hidden;
    label();
    said.textContent = "";
    if (area.hidden) return;
    const copied = await write(area.value, area);
    said.textContent = copied ? "Copied" : "Select the code and copy it";
  }

  button.addEventListener("click", toggle);
  model.on("change:code", refresh);
  refresh();
  label();
  return () => model.off("change:code", refresh);
}

export default { render };
