"use strict";
(async () => {
  const form = document.getElementById("controls");
  const plot = document.getElementById("figure");
  const caption = document.getElementById("caption");
  // Without showSendToCloud: false, plotly offers to upload the reader's figure.
  const CONFIG = { displaylogo: false, responsive: false, showSendToCloud: false };
  const CLEAR = "rgba(0,0,0,0)";
  const PLAY_SECONDS = 8;

  async function unpack(id) {
    const carrier = document.getElementById(id);
    const bytes = Uint8Array.from(atob(carrier.textContent), (letter) => letter.charCodeAt(0));
    carrier.remove();
    const inflated = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(inflated).text();
  }

  // plotly writes into layouts: every drawing gets a tree of its own.
  function build(pool, place) {
    const [kind, part] = pool[place];
    if (kind === 0) return part;
    if (kind === 2) return part.map((inner) => build(pool, inner));
    return Object.fromEntries(Object.entries(part).map(([key, inner]) => [key, build(pool, inner)]));
  }

  function merge(below, above) {
    const merged = { ...below };
    for (const [key, value] of Object.entries(above)) {
      const nested = value?.constructor === Object && merged[key]?.constructor === Object;
      merged[key] = nested ? merge(merged[key], value) : value;
    }
    return merged;
  }

  function theme() {
    const css = getComputedStyle(document.documentElement);
    const colour = (name) => css.getPropertyValue(name).trim();
    const [ink, line, paper] = [colour("--ink"), colour("--line"), colour("--paper")];
    const axis = { gridcolor: line, linecolor: line, zerolinecolor: line, tickcolor: line };
    const scene = { ...axis, backgroundcolor: CLEAR, showbackground: false };
    return {
      paper_bgcolor: CLEAR,
      plot_bgcolor: CLEAR,
      font: { color: ink, family: "system-ui, sans-serif" },
      xaxis: axis,
      yaxis: axis,
      polar: { bgcolor: CLEAR, angularaxis: axis, radialaxis: axis },
      scene: { bgcolor: CLEAR, xaxis: scene, yaxis: scene, zaxis: scene },
      legend: { bgcolor: CLEAR },
      hoverlabel: { bgcolor: paper, bordercolor: line, font: { color: ink } },
      modebar: { bgcolor: CLEAR, color: line, activecolor: ink },
      annotationdefaults: { arrowcolor: ink },
      shapedefaults: { line: { color: ink } },
    };
  }

  try {
    const script = document.createElement("script");
    script.textContent = await unpack("plotly");
    document.head.append(script);
    start(JSON.parse(await unpack("movie")));
  } catch (error) {
    console.error(error);
    caption.textContent = `This figure could not be drawn: ${error.message}. Open the page in a newer browser.`;
  }

  function start(movie) {
    const places = movie.axes.map((axis) => axis.start);
    let drawing = false;
    let due = false;

    function frame() {
      return movie.axes.reduce((total, axis, i) => total * axis.texts.length + places[i], 0);
    }

    async function draw() {
      due = true;
      if (drawing) return;
      drawing = true;
      // However many moves arrive meanwhile, only the last is drawn.
      while (due) {
        await new Promise(requestAnimationFrame);
        due = false;
        const now = frame();
        const figure = build(movie.pool, movie.figures[now]);
        const template = figure.layout.template ?? {};
        const layout = {
          uirevision: "rlbook",
          height: 420,
          ...figure.layout,
          template: { ...template, layout: merge(template.layout ?? {}, theme()) },
          width: Math.floor(plot.clientWidth),
        };
        await Plotly.react(plot, figure.data ?? [], layout, CONFIG);
        const words = build(movie.pool, movie.alts[now]);
        plot.setAttribute("aria-label", words);
        caption.textContent = words;
        plot.dataset.frame = now;
      }
      drawing = false;
    }

    movie.axes.forEach((axis, i) => form.append(control(axis, i)));
    new ResizeObserver(draw).observe(plot.parentElement);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    draw();

    function control(axis, i) {
      const box = document.createElement("div");
      const label = document.createElement("label");
      const input = document.createElement(axis.kind === "select" ? "select" : "input");
      box.className = "control";
      box.title = axis.description;
      input.id = `view-${i}`;
      label.htmlFor = input.id;
      label.textContent = axis.label;
      box.append(label, input);
      if (axis.kind === "select") {
        axis.texts.forEach((text, place) => input.add(new Option(text, place)));
        input.value = places[i];
        input.addEventListener("change", () => go(Number(input.value)));
      } else if (axis.kind === "checkbox") {
        input.type = "checkbox";
        input.checked = places[i] === 1;
        input.addEventListener("change", () => go(Number(input.checked)));
      } else {
        box.append(...slider(axis, i, input));
      }
      function go(place) {
        places[i] = place;
        draw();
      }
      return box;
    }

    function slider(axis, i, input) {
      const last = axis.texts.length - 1;
      const output = document.createElement("output");
      const button = document.createElement("button");
      let timer = 0;
      Object.assign(input, { type: "range", min: 0, max: last, step: 1, value: places[i] });
      output.htmlFor = input.id;
      button.type = "button";

      function go(place) {
        places[i] = place;
        input.value = place;
        output.textContent = axis.texts[place];
        input.setAttribute("aria-valuetext", axis.texts[place]);
        draw();
      }
      function tell(playing) {
        button.textContent = playing ? "II" : "▶";
        button.setAttribute("aria-label", `${playing ? "Pause" : "Play"} ${axis.label}`);
      }
      function pause() {
        clearInterval(timer);
        timer = 0;
        tell(false);
      }
      button.addEventListener("click", () => {
        if (timer) return pause();
        tell(true);
        if (places[i] === last) go(0);
        const step = Math.min(Math.max((1000 * PLAY_SECONDS) / axis.texts.length, 60), 500);
        timer = setInterval(() => {
          if (places[i] < last) go(places[i] + 1);
          if (places[i] === last) pause();
        }, step);
      });
      input.addEventListener("input", () => {
        pause();
        go(Number(input.value));
      });
      output.textContent = axis.texts[places[i]];
      input.setAttribute("aria-valuetext", axis.texts[places[i]]);
      tell(false);
      return [output, button];
    }
  }
})();
