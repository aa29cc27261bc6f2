// Draws the figures of PlotlyView. plotly.js itself comes from the PlotlyLibrary model and is loaded once per page.

// Sending a figure to a cloud is nothing that a reader would expect of a button above it.
const CONFIG = { displaylogo: false, responsive: false, showSendToCloud: false };
const CLEAR = "rgba(0,0,0,0)";
// plotly's own margins take a third of a figure that is not tall; its axes still make room for their labels.
const SPACING = { margin: { t: 56, r: 24, b: 48, l: 56 } };

// Views of several notebooks, each with its own copy of this module, meet on the window.
const page = (window.rlbookPlotly ??= { loads: 0, libraries: new Map() });

async function loadScript(gzipped) {
  const inflated = new Blob([gzipped]).stream().pipeThrough(new DecompressionStream("gzip"));
  const source = new Blob([await new Response(inflated).arrayBuffer()], { type: "text/javascript" });
  const url = URL.createObjectURL(source);
  const before = window.Plotly;
  const script = document.createElement("script");
  try {
    await new Promise((resolve, reject) => {
      script.onload = resolve;
      script.onerror = () => reject(new Error("the browser refused to run plotly.js"));
      script.src = url;
      document.head.append(script);
    });
    page.loads += 1;
    return window.Plotly;
  } finally {
    // Another extension may have put its own plotly.js there.
    window.Plotly = before;
    script.remove();
    URL.revokeObjectURL(url);
  }
}

async function loadPlotly(model) {
  const id = model.get("library").replace("IPY_MODEL_", "");
  const library = await model.widget_manager.get_model(id);
  const version = library.get("version");
  if (!page.libraries.has(version)) {
    const loading = loadScript(library.get("source"));
    page.libraries.set(version, loading);
    // A failure must not stay for the life of the page: the next view tries again.
    loading.catch(() => page.libraries.delete(version));
  }
  return page.libraries.get(version);
}

function isDark() {
  const { jpThemeLight, vscodeThemeKind } = document.body.dataset;
  if (jpThemeLight !== undefined) return jpThemeLight === "false";
  if (vscodeThemeKind !== undefined) return !vscodeThemeKind.includes("light");
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

function themeLayout() {
  const css = getComputedStyle(document.body);
  const colour = (variable, otherwise) => {
    const found = css.getPropertyValue(variable).trim();
    // plotly reads these notations only.
    return /^(#|rgb|hsl)/.test(found) ? found : otherwise;
  };
  const dark = isDark();
  const ink = colour("--jp-ui-font-color1", dark ? "#e6e6e6" : "#212121");
  const paper = colour("--jp-layout-color0", dark ? "#111111" : "#ffffff");
  const faint = dark ? "rgba(255,255,255,0.16)" : "rgba(0,0,0,0.12)";
  const line = dark ? "rgba(255,255,255,0.4)" : "rgba(0,0,0,0.35)";
  const axis = { gridcolor: faint, linecolor: line, zerolinecolor: line, tickcolor: line };
  const scene = { ...axis, backgroundcolor: CLEAR, showbackground: false };
  return {
    paper_bgcolor: CLEAR,
    plot_bgcolor: CLEAR,
    font: { color: ink, family: css.getPropertyValue("--jp-ui-font-family").trim() || "system-ui, sans-serif" },
    xaxis: axis,
    yaxis: axis,
    polar: { bgcolor: CLEAR, angularaxis: axis, radialaxis: axis },
    ternary: { bgcolor: CLEAR, aaxis: axis, baxis: axis, caxis: axis },
    scene: { bgcolor: CLEAR, xaxis: scene, yaxis: scene, zaxis: scene },
    legend: { bgcolor: CLEAR },
    hoverlabel: { bgcolor: paper, bordercolor: line, font: { color: ink } },
    modebar: { bgcolor: CLEAR, color: line, activecolor: ink },
    annotationdefaults: { arrowcolor: ink },
    shapedefaults: { line: { color: ink } },
  };
}

function merge(below, above) {
  const merged = { ...below };
  for (const [key, value] of Object.entries(above)) {
    const nested = value?.constructor === Object && merged[key]?.constructor === Object;
    merged[key] = nested ? merge(merged[key], value) : value;
  }
  return merged;
}

function themedFigure(model, width) {
  const figure = JSON.parse(model.get("figure"));
  const template = JSON.parse(model.get("template"));
  // Through the template, the theme gives way to every colour that the figure itself asks for.
  template.layout = merge(merge(SPACING, template.layout ?? {}), themeLayout());
  // One uirevision keeps the reader's zoom and camera while the data change under them.
  const layout = { uirevision: "rlbook", ...figure.layout, template, width, height: model.get("height") };
  return { ...figure, layout, config: CONFIG };
}

// plotly.js brings back the range that an axis with square cells had at first, where the new one is shorter: a grid with
// fewer rows would leave the rows of the last one blank.
function forgetRanges(plot) {
  for (const [name, axis] of Object.entries(plot._fullLayout ?? {})) {
    if (/^[xy]axis\d*$/.test(name)) delete axis._inputRange;
  }
}

function render({ model, el }) {
  const plot = document.createElement("div");
  el.classList.add("rlbook-figure");
  el.setAttribute("role", "img");
  el.style.width = "100%";
  el.style.minWidth = "0";
  el.append(plot);

  let plotly = null;
  let width = 0;
  let widthDrawn = 0;
  let frame = 0;
  let due = false;
  let drawing = false;
  let drawn = false;
  let gone = false;

  function request() {
    due = true;
    if (plotly && width && !frame && !drawing && !gone) frame = requestAnimationFrame(draw);
  }

  async function draw() {
    frame = 0;
    const revision = model.get("revision");
    // Out of the page or hidden there is nothing to measure; the resize observer asks again.
    if (gone || !width || !revision) return;
    due = false;
    drawing = true;
    try {
      widthDrawn = width;
      if (!drawn) plot.replaceChildren();
      else forgetRanges(plot);
      await plotly[drawn ? "react" : "newPlot"](plot, themedFigure(model, width));
      drawn = true;
      // The frame after the drawing comes only when the drawing is on the screen.
      requestAnimationFrame(() => {
        if (!gone) el.dataset.revision = revision;
      });
    } catch (error) {
      fail(error);
    } finally {
      drawing = false;
      if (due) request();
    }
  }

  function fail(error) {
    if (gone) return;
    if (drawn) plotly.purge(plot);
    drawn = false;
    delete el.dataset.revision;
    console.error(error);
    plot.textContent = `This figure could not be drawn: ${error?.message ?? error}. Run its cell again.`;
  }

  function describe() {
    el.setAttribute("aria-label", model.get("alt_text"));
  }

  function reserve() {
    plot.style.height = `${model.get("height")}px`;
    request();
  }

  const resizing = new ResizeObserver(() => {
    width = Math.floor(el.clientWidth);
    // A view that was scrolled out of the page and comes back as it was needs no new drawing.
    if (width && (due || width !== widthDrawn)) request();
  });
  const theming = new MutationObserver(request);
  const scheme = matchMedia("(prefers-color-scheme: dark)");

  describe();
  reserve();
  model.on("change:revision", request);
  model.on("change:alt_text", describe);
  model.on("change:height", reserve);
  resizing.observe(el);
  theming.observe(document.body, {
    attributeFilter: ["data-jp-theme-light", "data-jp-theme-name", "data-vscode-theme-kind"],
  });
  scheme.addEventListener("change", request);
  loadPlotly(model).then((loaded) => {
    plotly = loaded;
    request();
  }, fail);

  return () => {
    gone = true;
    cancelAnimationFrame(frame);
    model.off("change:revision", request);
    model.off("change:alt_text", describe);
    model.off("change:height", reserve);
    resizing.disconnect();
    theming.disconnect();
    scheme.removeEventListener("change", request);
    if (drawn) plotly.purge(plot);
    plot.remove();
  };
}

export default { render };
